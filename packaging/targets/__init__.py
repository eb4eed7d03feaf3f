"""The one list of emulated targets: how each is compiled, and which engines run it."""

from __future__ import annotations

from dataclasses import dataclass

from filigree.packaging.errors import PackagingError

SCALAR = "scalar"
KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Board:
    """A microcontroller: what QEMU calls the board that has its core, and the memory of a part that
    a project would choose. The linker and the memory protection unit hold a run to ``flash_bytes``
    from ``flash`` and ``ram_bytes`` from ``ram`` (powers of two); ``harness`` is where the board
    has more, for what stands for the host. ``options`` are QEMU's."""

    machine: str
    flash_bytes: int = MIB
    ram_bytes: int = 256 * KIB
    flash: int = 0
    ram: int = 0x20000000
    harness: int = 0x20200000
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """One build of the runner. ``triple`` is clang's name of the machine; ``isas`` are linked in
    beside scalar, slowest first; ``runner`` are files of native/runner; ``flags`` go to every file,
    ``link`` to wasm-ld or zig cc; ``cpu`` is what QEMU pretends to be: the oldest that the build
    promises to run on, and ``cpus`` the oldest with an instruction set that this one lacks.
    ``board`` is there for microcontrollers alone, where one image has runtime and model."""

    name: str
    family: str
    triple: str
    isas: tuple[str, ...]
    runner: tuple[str, ...]
    flags: tuple[str, ...] = ()
    cpu: str = ""
    link: tuple[str, ...] = ()
    cpus: tuple[tuple[str, str], ...] = ()
    board: Board | None = None

    def cpu_for(self, isa: str) -> str:
        """What QEMU pretends to be for an instruction set."""
        return dict(self.cpus).get(isa, self.cpu)

    @property
    def is_wasm(self) -> bool:
        return self.triple == "wasm32"

    @property
    def has_threads(self) -> bool:
        return self.board is None and (not self.is_wasm or ATOMICS in self.flags)

    def has(self, isa: str) -> bool:
        return isa in (SCALAR, *self.isas)


@dataclass(frozen=True)
class Engine:
    """A name that users give: a target and what runs it ("qemu-aarch64", "node", "board" ...)."""

    name: str
    target: Target
    program: str


ATOMICS = "-matomics"
DSP = ("dsp",)
WASM_FLAGS = ("-msimd128", "-mbulk-memory")
WASM_THREADS = ("--import-memory", "--shared-memory", "--max-memory=2147483648")


def _core(name: str, triple: str, *flags: str, board: Board, isas: tuple[str, ...] = ()) -> Target:
    """A microcontroller, named as its core."""
    compile = (f"-mcpu={name}", *flags)
    return Target(name, name, triple, isas, ("mcu.c", "mcu_start.c"), compile, board=board)


# Memory as parts with such cores have it (RP2040, SAM3X, STM32F4, F767, U575). QEMU has a v6-M core
# only on a board with less, which is an option there; the other boards have more.
MCUS = (
    _core(
        *("cortex-m0plus", "thumbv6m-none-eabi"),
        board=Board(
            *("microbit", 2 * MIB),
            harness=0x20040000,
            options=(
                *("-global", "nrf51-soc.flash-size=0x200000"),
                *("-global", "nrf51-soc.sram-size=0x60000"),
            ),
        ),
    ),
    _core("cortex-m3", "thumbv7m-none-eabi", board=Board("mps2-an385")),
    _core(
        *("cortex-m4", "thumbv7em-none-eabihf", "-mfpu=fpv4-sp-d16"),
        board=Board("mps2-an386"),
        isas=DSP,
    ),
    _core(
        *("cortex-m7", "thumbv7em-none-eabihf", "-mfpu=fpv5-d16"),
        board=Board("mps2-an500", 2 * MIB, 512 * KIB),
        isas=DSP,
    ),
    _core(
        *("cortex-m33", "thumbv8m.main-none-eabihf", "-mfpu=fpv5-sp-d16"),
        board=Board(
            "mps2-an505", 2 * MIB, 512 * KIB, flash=0x10000000, ram=0x38000000, harness=0x38200000
        ),
        isas=DSP,
    ),
    _core(
        *("cortex-m55", "thumbv8.1m.main-none-eabihf"),
        board=Board("mps3-an547", 512 * KIB, 512 * KIB, harness=0x21000000),
        isas=("helium",),
    ),
)

TARGETS = (
    Target(
        *("arm64", "arm64", "aarch64-linux-gnu"),
        *(("neon", "neon_dotprod", "neon_fp16"), ("main.c",)),
        cpu="cortex-a53",
        cpus=(("neon_dotprod", "cortex-a76"), ("neon_fp16", "cortex-a76")),
    ),
    Target(
        *("armv7", "armv7", "arm-linux-gnueabihf", ("neon",), ("main.c",)),
        ("-march=armv7-a", "-mfpu=neon-vfpv4"),
        cpu="cortex-a7",
        link=("-mcpu=cortex_a7",),
    ),
    Target("riscv64", "riscv64", "riscv64-linux-gnu", (), ("main.c",), cpu="rv64"),
    Target("wasm", "wasm", "wasm32", ("wasm",), ("wasm.c",), WASM_FLAGS),
    Target("wasm-relaxed", "wasm", "wasm32", ("wasm", "wasm_relaxed"), ("wasm.c",), WASM_FLAGS),
    Target(
        *("wasm-threads", "wasm-threads", "wasm32", ("wasm",), ("wasm.c", "wasm_threads.c")),
        (*WASM_FLAGS, ATOMICS, "-mmutable-globals"),
        link=(*WASM_THREADS, "--export=__stack_pointer"),
    ),
    *MCUS,
)


def target(name: str) -> Target:
    """A row of TARGETS by name."""
    return next(t for t in TARGETS if t.name == name)


# "wasm" alone is whatever is present, node first.
ENGINES = (
    Engine("arm64", target("arm64"), "qemu-aarch64"),
    Engine("armv7", target("armv7"), "qemu-arm"),
    Engine("riscv64", target("riscv64"), "qemu-riscv64"),
    Engine("wasm-node", target("wasm"), "node"),
    Engine("wasm-wasmtime", target("wasm"), "wasmtime"),
    Engine("wasm-relaxed-node", target("wasm-relaxed"), "node"),
    Engine("wasm-relaxed-wasmtime", target("wasm-relaxed"), "wasmtime"),
    Engine("wasm-threads-node", target("wasm-threads"), "node"),
    *(Engine(row.name, row, "board") for row in MCUS),
)
EITHER = {"wasm": ("wasm-node", "wasm-wasmtime")}


class UnknownTarget(PackagingError):
    """A target or instruction set that no row of this table has (exit 2)."""

    exit_code = 2


def engine(name: str) -> Engine:
    """A row of ENGINES by name. Raises UnknownTarget."""
    for row in ENGINES:
        if row.name == name:
            return row
    known = ", ".join([*EITHER, *(row.name for row in ENGINES)])
    raise UnknownTarget(f'"{name}" is not a target', [f"targets: {known}"])


def with_isa(row: Target, isa: str | None) -> Target:
    """The first target of the same family whose build has ``isa``: relaxed WebAssembly is a module
    of its own, because engines without it refuse all of it. Raises UnknownTarget."""
    if isa is None or row.has(isa):
        return row
    family = [other for other in TARGETS if other.family == row.family]
    for other in family:
        if other.has(isa):
            return other
    present = dict.fromkeys([SCALAR, *(name for other in family for name in other.isas)])
    raise UnknownTarget(
        f"{row.family} has no instruction set {isa}", [f"it has {', '.join(present)}"]
    )
