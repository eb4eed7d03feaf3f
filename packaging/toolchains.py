"""Find compilers and linkers. Nothing is installed or downloaded; what is missing is a ToolMissing
that says how to get it.

ziglang (the ``cross`` extra) has clang, its linkers and a C library in one package; Debian's clang,
lld and aarch64-linux-gnu-gcc are the alternatives.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filigree.packaging.errors import ToolMissing
from filigree.packaging.targets import Target

CLANG_VERSIONS = ("-22", "-21", "-20", "-19", "-18", "-17", "")  # older ones lack relaxed SIMD
PIP = 'pip install "filigree[cross]"'


@dataclass(frozen=True)
class Toolchain:
    """``compile`` and ``link`` are command lines to append files and -o to. ``link`` drives a C
    library for executables and is wasm-ld for WebAssembly, ld.lld for microcontrollers, where
    ``arithmetic`` makes an archive of what the core has no instructions for."""

    name: str
    compile: tuple[str, ...]
    link: tuple[str, ...]
    arithmetic: tuple[str, ...] = ()

    def version(self) -> str:
        """The first line of the compiler's and the linker's ``--version``."""
        return f"{_version(*self.compile[:2])} | {_version(*self.link[:2])}"


def find(target: Target) -> Toolchain:
    """The first toolchain that can build ``target``. Raises ToolMissing."""
    for toolchain in candidates(target):
        return toolchain
    if target.board:
        raise ToolMissing(f"no compiler for {target.name}", ["looked for ziglang"], hint=PIP)
    apt = "clang-19 lld-19" if target.is_wasm else f"gcc-{target.triple}"
    raise ToolMissing(
        f"no compiler for {target.name}",
        [f"looked for ziglang and {'clang with wasm-ld' if target.is_wasm else 'a C compiler'}"],
        hint=f"{PIP}   or: apt-get install {apt}",
    )


def candidates(target: Target) -> Iterator[Toolchain]:
    """Every toolchain of this machine that can build ``target``, best first."""
    if target.board:
        return _bare(target)
    return _wasm(target) if target.is_wasm else _linux(target)


def zig() -> Path | None:
    """The zig program inside the ziglang package."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        return None
    program = shutil.which("zig", path=str(Path(spec.origin).parent))
    return Path(program) if program else None


def _wasm(target: Target) -> Iterator[Toolchain]:
    program = zig()
    if program:
        yield Toolchain("ziglang", _zig_clang(program, target), (str(program), "wasm-ld"))
    for version in CLANG_VERSIONS:
        clang, linker = shutil.which(f"clang{version}"), shutil.which(f"wasm-ld{version}")
        if clang and linker:
            yield Toolchain(f"clang{version}", (clang, f"--target={target.triple}"), (linker,))


def _linux(target: Target) -> Iterator[Toolchain]:
    """Executables need a C library: GCC's cross compiler has one, and so has zig (which compiles it
    at first use: half a minute, once)."""
    gcc, program = shutil.which(f"{target.triple}-gcc"), zig()
    if program and gcc:
        yield Toolchain("ziglang", _zig_clang(program, target), (gcc, "-static"))
    if program:
        musl = target.triple.replace("-gnu", "-musl")
        link = (str(program), "cc", "-target", musl, *target.link, "-static")
        yield Toolchain("ziglang", _zig_clang(program, target), link)
    if gcc:
        yield Toolchain("gcc", (gcc,), (gcc, "-static"))


def _bare(target: Target) -> Iterator[Toolchain]:
    """Microcontrollers need no C library, but division and floats for cores without them: zig has
    their sources."""
    program = zig()
    if program:
        core = target.name.replace("-", "_")
        abi = "eabihf" if target.triple.endswith("hf") else "eabi"
        flags = ("-target", f"thumb-freestanding-{abi}", f"-mcpu={core}", "-OReleaseSmall")
        arithmetic = (str(program), "build-lib", *flags, "-ffunction-sections", "-fdata-sections")
        source = str(program.parent / "lib" / "compiler_rt.zig")
        compile = _zig_clang(program, target)
        yield Toolchain("ziglang", compile, (str(program), "ld.lld"), (*arithmetic, source))


def _zig_clang(program: Path, target: Target) -> tuple[str, ...]:
    library = program.parent / "lib"
    return (str(program), "clang", "-resource-dir", str(library), f"--target={target.triple}")


@cache
def _version(*command: str) -> str:
    plain = [word for word in command if not word.startswith("-")]
    done = subprocess.run([*plain, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]
