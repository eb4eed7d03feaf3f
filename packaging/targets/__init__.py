"""The one list of emulated targets: how each is compiled, and which engines run it."""

from __future__ import annotations

from dataclasses import dataclass

from filigree.packaging.errors import PackagingError

SCALAR = "scalar"


@dataclass(frozen=True)
class Target:
    """One build of the runner. ``triple`` is clang's name of the machine; ``isas`` are linked in
    beside scalar, slowest first; ``runner`` are files of native/runner; ``flags`` go to every file,
    ``link`` to wasm-ld; ``cpu`` is what QEMU pretends to be: the oldest that the build promises to
    run on, and ``cpus`` the oldest with an instruction set that this one lacks."""

    name: str
    family: str
    triple: str
    isas: tuple[str, ...]
    runner: tuple[str, ...]
    flags: tuple[str, ...] = ()
    cpu: str = ""
    link: tuple[str, ...] = ()
    cpus: tuple[tuple[str, str], ...] = ()

    def cpu_for(self, isa: str) -> str:
        """What QEMU pretends to be for an instruction set."""
        return dict(self.cpus).get(isa, self.cpu)

    @property
    def is_wasm(self) -> bool:
        return self.triple == "wasm32"

    @property
    def has_threads(self) -> bool:
        return not self.is_wasm or ATOMICS in self.flags

    def has(self, isa: str) -> bool:
        return isa in (SCALAR, *self.isas)


@dataclass(frozen=True)
class Engine:
    """A name that users give: a target and what runs it ("qemu", "node", "wasmtime")."""

    name: str
    target: Target
    program: str


ATOMICS = "-matomics"
WASM_FLAGS = ("-msimd128", "-mbulk-memory")
WASM_THREADS = ("--import-memory", "--shared-memory", "--max-memory=2147483648")

TARGETS = (
    Target(
        *("arm64", "arm64", "aarch64-linux-gnu", ("neon", "neon_fp16"), ("main.c",)),
        cpu="cortex-a53",
        cpus=(("neon_fp16", "cortex-a76"),),
    ),
    Target("wasm", "wasm", "wasm32", ("wasm",), ("wasm.c",), WASM_FLAGS),
    Target("wasm-relaxed", "wasm", "wasm32", ("wasm", "wasm_relaxed"), ("wasm.c",), WASM_FLAGS),
    Target(
        *("wasm-threads", "wasm-threads", "wasm32", ("wasm",), ("wasm.c", "wasm_threads.c")),
        (*WASM_FLAGS, ATOMICS, "-mmutable-globals"),
        link=(*WASM_THREADS, "--export=__stack_pointer"),
    ),
)


def target(name: str) -> Target:
    """A row of TARGETS by name."""
    return next(t for t in TARGETS if t.name == name)


# "wasm" alone is whatever is present, node first.
ENGINES = (
    Engine("arm64", target("arm64"), "qemu"),
    Engine("wasm-node", target("wasm"), "node"),
    Engine("wasm-wasmtime", target("wasm"), "wasmtime"),
    Engine("wasm-relaxed-node", target("wasm-relaxed"), "node"),
    Engine("wasm-relaxed-wasmtime", target("wasm-relaxed"), "wasmtime"),
    Engine("wasm-threads-node", target("wasm-threads"), "node"),
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
