"""Build the runner for a target from the runtime's sources, once: artefacts are kept in the user's
cache folder under a hash of everything that goes into them.

native/CMakeLists.txt states the rules (which files, per-ISA files, definitions); this follows them
for machines that CMake would need a toolchain file for.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from filigree.packaging import sources, toolchains
from filigree.packaging.errors import BuildFailed
from filigree.packaging.targets import Target
from filigree.packaging.toolchains import Toolchain

JOBS = 2
RUNTIME, RUNNER, ARITHMETIC = "runtime.o", "runner.o", "libarithmetic.a"
REGISTRY = "runtime-registry.o"
FLAGS = (
    *("-std=c11", "-O3", "-ffreestanding", "-fno-stack-protector", "-fno-math-errno"),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fvisibility=hidden"),
)
HOSTED = ("-std=c11", "-O2", "-pthread")
# One image, for one model: small but for the kernels, and what it does not use left out.
BARE = (
    *("-Os", "-ffunction-sections", "-fdata-sections"),
    *("-DFIL_NO_SELFTEST=1", "-DFIL_NO_CRC_TABLES=1"),
)
# The stack lies first, so that overflowing it traps instead of overwriting data.
WASM_LINK = ("--no-entry", "--stack-first", "-z", "stack-size=262144", "--gc-sections")


@dataclass(frozen=True)
class Unit:
    """One C file and the flags that it alone gets; ``isa`` is empty for the core."""

    source: Path
    flags: tuple[str, ...]
    isa: str = ""

    @property
    def object_name(self) -> str:
        path = self.source.relative_to(sources.native()).with_suffix(".o")
        return "-".join([self.isa, *path.parts] if self.isa else path.parts)


def cache_folder() -> Path:
    """Where artefacts are kept: $XDG_CACHE_HOME/filigree, else ~/.cache/filigree."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "filigree"


def runner(target: Target, *, toolchain: Toolchain | None = None) -> Path:
    """The built runner of ``target``, an executable, a .wasm module or, of a microcontroller, a
    folder of what firmware.py links with a model; made if it is not cached. Raises ToolMissing,
    BuildFailed."""
    chain = toolchain or toolchains.find(target)
    suffix = ".wasm" if target.is_wasm else ""
    path = Path(f"{target.name}-{key(target, chain)}") / f"runner{suffix}"
    return cached(path, lambda made: _build(target, chain, made))


def cached(path: Path, make: Callable[[Path], None]) -> Path:
    """``path`` in the cache folder; ``make`` writes it, if it is not there, to a path in a
    temporary folder of its own, from where it is moved into place."""
    made = cache_folder() / path
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        fresh = Path(folder) / made.name
        make(fresh)
        fresh.replace(made)
    return made


def call(command: list[str], what: str) -> None:
    """Run a compiler or linker. Raises BuildFailed with the last lines that it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildFailed(f"{what} failed", (done.stderr or done.stdout).strip().splitlines()[-20:])


def key(target: Target, chain: Toolchain) -> str:
    """A hash of the sources, their paths, every flag and the compiler's version."""
    flags = (FLAGS, WASM_LINK, BARE) if target.board else (FLAGS, WASM_LINK)
    digest = hashlib.sha256(repr((target, chain, chain.version(), flags)).encode())
    for path in sorted({*sources.headers(), *hosted(target), *(u.source for u in units(target))}):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(sources.native())} {len(data)}\n".encode() + data)
    digest.update(repr([unit.flags for unit in units(target)]).encode())
    return digest.hexdigest()[:20]


def units(target: Target) -> list[Unit]:
    """Every file without a C library: the runtime's, and all of the runner unless it is hosted."""
    have = tuple(sources.have_define(isa) for isa in target.isas)
    core = [Unit(path, (*have, *_fast(target, path))) for path in sources.core()]
    simd = [
        Unit(path, (*sources.isa_defines(isa), *sources.isa_flags(isa)), isa)
        for isa in target.isas
        for path in sources.simd(isa)
    ]
    return [*core, *simd, *(Unit(path, have) for path in _bare_runner(target))]


def _fast(target: Target, path: Path) -> tuple[str, ...]:
    kernel = path.relative_to(sources.native()).parts[0] == "kernels"
    return ("-O2",) if target.board and kernel else ()


def hosted(target: Target) -> list[Path]:
    """The files with a C library: the rest."""
    return [] if _bare_runner(target) else [*_runner(target), *sources.hosted()]


def _bare_runner(target: Target) -> list[Path]:
    return _runner(target) if target.is_wasm or target.board else []


def _runner(target: Target) -> list[Path]:
    return [sources.native() / "runner" / name for name in target.runner]


def _build(target: Target, chain: Toolchain, made: Path) -> None:
    with ThreadPoolExecutor(JOBS) as pool:
        compiled = pool.map(lambda unit: _compile(target, chain, unit, made.parent), units(target))
        objects = list(compiled)
    if target.board:
        return _build_parts(target, chain, made, objects)
    files = map(str, hosted(target))
    rest = (*WASM_LINK, *target.link) if target.is_wasm else (*HOSTED, *_includes(), *files)
    call([*chain.link, *rest, *objects, "-o", str(made)], f"linking for {target.name}")


def _build_parts(target: Target, chain: Toolchain, made: Path, objects: list[str]) -> None:
    """RUNTIME but for the registry, RUNNER, ARITHMETIC: what firmware.py links."""
    made.mkdir()
    runner = [name for name in objects if Path(name).name.startswith("runner-")]
    runtime = [name for name in objects if name not in runner and not name.endswith(REGISTRY)]
    for part, files in ((RUNTIME, runtime), (RUNNER, runner)):
        call([*chain.link, "-r", *files, "-o", str(made / part)], f"linking for {target.name}")
    cache = str(made.parent / "zig")
    where = ("--cache-dir", cache, "--global-cache-dir", cache, f"-femit-bin={made / ARITHMETIC}")
    call([*chain.arithmetic, *where], f"compiling arithmetic for {target.name}")


def compile(target: Target, chain: Toolchain, source: Path, made: Path, *flags: str) -> None:
    """One file of the runtime, with more flags than its own. Raises BuildFailed."""
    own = BARE if target.board else ()
    all_flags = [*FLAGS, *own, *target.flags, *flags, *_includes()]
    command = [*chain.compile, *all_flags, "-c", str(source), "-o", str(made)]
    call(command, f"compiling {source.name} for {target.name}")


def _compile(target: Target, chain: Toolchain, unit: Unit, folder: Path) -> str:
    made = folder / unit.object_name
    compile(target, chain, unit.source, made, *unit.flags)
    return str(made)


def _includes() -> Iterator[str]:
    yield from ("-I", str(sources.native()), "-I", str(sources.native() / "include"))
