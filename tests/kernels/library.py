"""The kernels of this machine as a shared library, built once, and how a test calls them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cffi import FFI

from filigree.native import enums as c
from filigree.packaging import sources

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
FLAGS = (
    *("-std=c11", "-O3", "-fPIC", "-ffreestanding", "-fno-math-errno", "-Wall", "-Werror"),
    *os.environ.get("CFLAGS", "").split(),
)
ISA_OBJECT = "-native-runtime-isa.c.o"
PORTABLE = ("dsp",)  # int8 alone
HOSTED = ("-std=c11", "-O2", "-fPIC", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True)
class Unit:
    """One C file and the flags that it alone gets."""

    source: Path
    flags: tuple[str, ...]
    isa: str = ""


def compiler() -> str | None:
    """A C compiler for this machine: $CC, else the first that is installed."""
    named = os.environ.get("CC", "")
    return next((p for n in (named, "gcc", "clang") if (p := shutil.which(n))), None)


@cache
def load() -> tuple[FFI, Any]:
    """The library and the declarations of kernels.h and support.h."""
    made = _made()
    if isinstance(made, RuntimeError):
        raise made
    ffi = FFI()
    ffi.cdef(_declarations())
    return ffi, ffi.dlopen(str(made))


def present(isa: str) -> bool:
    """This processor has the instruction set."""
    _, lib = load()
    return bool(lib.fil_isa_present(list(sources.isas()).index(isa)))


def lanes(isa: str) -> int:
    return sources.isas()[isa]


def kernel(name: str, isa: str) -> Any:
    """The function pointer fil_<name>_<isa>."""
    _, lib = load()
    return getattr(lib, f"fil_{name}_by_isa")[getattr(c, f"FIL_ISA_{isa.upper()}")]


def host_isas() -> tuple[str, ...]:
    """The instruction sets that this machine's processor family compiles, beside scalar."""
    machine = os.uname().machine
    return sources.processors().get({"arm64": "aarch64"}.get(machine, machine), ())


def built_isas() -> tuple[str, ...]:
    """Those, and the ones whose kernels are C without their processor."""
    return (*host_isas(), *PORTABLE)


def kernel_units(isas_built: tuple[str, ...]) -> list[Unit]:
    """Every file of native/kernels, for a build that has these instruction sets."""
    have = tuple(sources.have_define(isa) for isa in isas_built)
    core = [path for path in sources.core() if "kernels" in path.parts[-3:]]
    return [Unit(path, have) for path in core] + [
        Unit(path, (*sources.isa_defines(isa), *sources.isa_flags(isa)), isa)
        for isa in isas_built
        for path in sources.simd(isa)
    ]


def includes() -> tuple[str, ...]:
    return ("-I", str(sources.native()), "-I", str(sources.native() / "include"))


def _units() -> list[Unit]:
    isa_c = sources.native() / "runtime" / "isa.c"
    have = tuple(sources.have_define(isa) for isa in built_isas())
    return [*kernel_units(built_isas()), Unit(isa_c, have)]


def _declarations() -> str:
    """kernels.h through the preprocessor, as native/build_ffi.py does, and our own functions."""
    header = str(sources.native() / "kernels" / "kernels.h")
    command = [str(compiler()), "-E", "-P", "-DFIL_CDEF", "-x", "c", *includes(), header]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return "\n".join([done.stdout, (HERE / "support.h").read_text(encoding="utf-8")])


@cache
def _made() -> Path | RuntimeError:
    """The library, or why it cannot be built: not found out anew by each of thousands of tests."""
    try:
        return _built()
    except RuntimeError as error:
        return error


@cache
def folder() -> Path:
    """Where the library and its object files are, under a hash of all that they are made of."""
    digest = hashlib.sha256(repr((compiler(), FLAGS, HOSTED, _units())).encode())
    local = [HERE / name for name in ("support.c", "support.h")]
    for path in [*sources.headers(), *(u.source for u in _units()), *local]:
        digest.update(path.read_bytes())
    return ROOT / "build" / f"kernels-{digest.hexdigest()[:16]}"


def objects() -> list[Path]:
    """The object files of the library, built if they are not there."""
    load()
    return [_object(unit) for unit in _units()]


def _built() -> Path:
    made = folder() / "libkernels.so"
    if made.exists():
        return made
    folder().mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(_compile, _units()))
    part = folder() / f"libkernels.{os.getpid()}"
    call(str(compiler()), *HOSTED, "-shared", str(HERE / "support.c"), *objects, "-o", str(part))
    part.replace(made)
    return made


def _object(unit: Unit) -> Path:
    name = "-".join([unit.isa, *unit.source.parts[-3:]])
    return folder() / f"{name}.o"


def _compile(unit: Unit) -> str:
    made = str(_object(unit))
    call(str(compiler()), *FLAGS, *includes(), *unit.flags, "-c", str(unit.source), "-o", made)
    return made


def call(*command: str) -> None:
    """Run a compiler. Raises RuntimeError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
