"""The runtime's C sources as data: where they are, and what native's own lists say about them."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

OP_ROW = re.compile(r"^X\((\w+), .*\)$", re.MULTILINE)
ISA_ROW = re.compile(r"^X\((\w+),\s*(\w+),\s*(\d+)\)", re.MULTILINE)
FLAGS_ROW = re.compile(r"^set\(FIL_FLAGS_(\w+)([^)]*)\)", re.MULTILINE)
FILES_ROW = re.compile(r"^set\(FIL_FILES_(\w+)([^)]*)\)", re.MULTILINE)
ISAS_ROW = re.compile(r"^set\(FIL_ISAS_(\w+)([^)]*)\)", re.MULTILINE)

CORE = ("runtime/*.c", "runtime/ops/*.c", "kernels/*.c", "kernels/*/ref.c")
SIMD = ("kernels/*/simd.c",)
HOSTED = ("hosted/*.c",)
DATA = ("include/filigree/*", "*/*.h", "*/*.def", "*/*/*.h", "*/*/*.def")


@cache
def native() -> Path:
    """The folder of filigree.native, whose sources an installed filigree carries."""
    spec = importlib.util.find_spec("filigree.native")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("filigree.native is not installed", name="filigree.native")
    return Path(spec.origin).parent


def core() -> list[Path]:
    """The C files compiled once per library, sorted."""
    return _glob(CORE)


def simd(isa: str | None = None) -> list[Path]:
    """The C files compiled for an instruction set, or for any, sorted."""
    kernels = _cmake_rows(FILES_ROW).get(isa or "")
    return [path for path in _glob(SIMD) if kernels is None or path.parent.name in kernels]


def hosted() -> list[Path]:
    """The C files for systems that have a C library and threads, sorted."""
    return _glob(HOSTED)


def headers() -> list[Path]:
    """Every header and list that the library and the team of threads read, sorted."""
    return [path for path in _glob(DATA) if "probe" not in path.parts]


def ops() -> dict[str, str]:
    """Operations and their rows of op.def, in order."""
    text = (native() / "include" / "filigree" / "op.def").read_text(encoding="utf-8")
    return {row[1]: row[0] for row in OP_ROW.finditer(text)}


def isas() -> dict[str, int]:
    """Instruction sets and their float32 lanes, slowest first (isa.def)."""
    text = (native() / "include" / "filigree" / "isa.def").read_text(encoding="utf-8")
    return {name: int(lanes) for _, name, lanes in ISA_ROW.findall(text)}


def isa_flags(isa: str) -> tuple[str, ...]:
    """The compiler flags of an instruction set's files; none if CMakeLists.txt names none."""
    return _cmake_rows(FLAGS_ROW).get(isa, ())


def processors() -> dict[str, tuple[str, ...]]:
    """The instruction sets, beside scalar, of each processor family that CMakeLists.txt names."""
    return _cmake_rows(ISAS_ROW)


def isa_defines(isa: str) -> tuple[str, ...]:
    """What the SIMD files of an instruction set are compiled with."""
    return (f"-DFIL_ISA_TARGET={isa}", f"-DFIL_TARGET_{isa.upper()}=1")


def have_define(isa: str) -> str:
    """What tells the rest of the library that an instruction set's files are linked in."""
    return f"-DFIL_HAVE_{isa.upper()}=1"


@cache
def _cmake_rows(pattern: re.Pattern[str]) -> dict[str, tuple[str, ...]]:
    text = (native() / "CMakeLists.txt").read_text(encoding="utf-8")
    return {name: tuple(words.split()) for name, words in pattern.findall(text)}


def _glob(patterns: tuple[str, ...]) -> list[Path]:
    found = {path for pattern in patterns for path in native().glob(pattern)}
    return sorted(path for path in found if path.is_file())
