"""Random int8 kernel calls, FILIGREE_SHAPES of them (100,000 here, 10,000 where emulated), on every
instruction set that this machine has or emulates: shapes.c says what is compared and guarded."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from filigree.packaging import build, emulate, sources, targets, toolchains
from filigree.packaging.engines import Job, qemu
from filigree.packaging.targets import DSP, SCALAR, Target, target
from tests.conftest import need
from tests.kernels import library
from tests.packaging.conftest import need_engine

SOURCE = Path(__file__).with_name("shapes.c")
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")
WASI = ("-target", "wasm32-wasi", "-Wl,-z,stack-size=1048576")
HERE = int(os.environ.get("FILIGREE_SHAPES", "100000"))
EMULATED = int(os.environ.get("FILIGREE_SHAPES", "10000"))
MOVED = {"wasm-wasmtime": "wasm", "wasm-relaxed-wasmtime": "wasm-relaxed"}
NAMES = ("arm64", "armv7", "riscv64", *MOVED)
CASES = [(name, isa) for name in NAMES for isa in (SCALAR, *targets.engine(name).target.isas)]
THUMB = replace(target("armv7"), name="thumb", isas=DSP, flags=(*target("armv7").flags, "-mthumb"))
SMALL = ("-DFIL_SOFT_FLOAT=1", "-DFIL_SMALL=1")
THUMB1 = replace(THUMB, name="thumb1", isas=(), flags=(*THUMB.flags, *SMALL, "-DFIL_THUMB1=1"))


@cache
def here(*defines: str) -> Path:
    """The program; isa.c, which looks at the processor, with ``defines``."""
    objects = [str(path) for path in library.objects() if path.name != library.ISA_OBJECT]
    made = library.folder() / "-".join(["shapes", *defines])
    flags = (*FLAGS, *library.includes(), *map(sources.have_define, library.built_isas()))
    files = (str(SOURCE), str(sources.native() / "runtime" / "isa.c"), *objects)
    library.call(str(library.compiler()), *flags, *defines, *files, "-lm", "-o", str(made))
    return made


@cache
def here_small() -> Path:
    """The program with the scalar kernels that Cortex-M0+ and M3 get."""
    library.objects()
    made = library.folder() / "shapes-small"
    units = [unit.source for unit in library.kernel_units(())]
    files = map(str, (SOURCE, sources.native() / "runtime" / "isa.c", *units))
    flags = (*FLAGS, *library.includes(), *SMALL)
    library.call(str(library.compiler()), *flags, *files, "-lm", "-o", str(made))
    return made


@cache
def there(target: Target) -> Path:
    """The program for another processor."""
    chain = toolchains.find(target)
    key = hashlib.sha256(SOURCE.read_bytes() + build.key(target, chain).encode()).hexdigest()[:20]
    return build.cached(Path(f"shapes-{target.name}-{key}") / "shapes", lambda p: make(target, p))


def make(target: Target, made: Path) -> None:
    chain = toolchains.find(target)
    units = [u for u in build.units(target) if "runner" not in u.source.parts]
    for unit in units:
        build.compile(target, chain, unit.source, made.parent / unit.object_name, *unit.flags)
    objects = [str(made.parent / unit.object_name) for unit in units]
    zig = toolchains.zig()
    link = (str(zig), "cc", *WASI, *target.flags) if target.is_wasm else chain.link
    have = map(sources.have_define, target.isas)
    flags = (*FLAGS, *library.includes(), *have, str(SOURCE), *objects, "-lm")
    build.call([*link, *flags, "-o", str(made)], f"linking shapes for {target.name}")


def said(command: list[str], isa: str, count: int) -> str:
    done = subprocess.run(
        [*command, isa, "0", str(count)], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("isa", [SCALAR, *library.built_isas()])
def test_here(isa: str) -> None:
    need("gcc", library.compiler() is not None, "no C compiler (apt-get install gcc)")
    if not library.present(isa):
        pytest.skip(f"this processor has no {isa}")
    assert said([str(here())], isa, HERE) == f"{HERE}\n"


def test_without_vnni() -> None:
    need("gcc", library.compiler() is not None, "no C compiler (apt-get install gcc)")
    if "avx512" not in library.host_isas() or not library.present("avx512"):
        pytest.skip("this processor has no avx512")
    assert said([str(here("-DFIL_NO_VNNI=1"))], "avx512", HERE) == f"{HERE}\n"


def test_small_cores_kernels() -> None:
    need("gcc", library.compiler() is not None, "no C compiler (apt-get install gcc)")
    assert said([str(here_small())], SCALAR, HERE) == f"{HERE}\n"


@pytest.mark.parametrize(("name", "isa"), CASES)
def test_there(name: str, isa: str) -> None:
    if isa == qemu.F16_ISA:
        pytest.skip("its int8 kernels are neon's")
    need_engine(name)
    row = targets.engine(name).target
    if row.is_wasm:
        return in_wasmtime(there(row), isa)
    in_qemu(row, isa, targets.engine(name).program)


@pytest.mark.parametrize(("row", "isa"), [*((THUMB, isa) for isa in DSP), (THUMB1, SCALAR)])
def test_microcontrollers_code_on_a_larger_core(row: Target, isa: str) -> None:
    """It has the instructions of Cortex-M4 and M0+, and pages to guard."""
    need_engine("armv7")
    in_qemu(row, isa, targets.engine("armv7").program)


def in_qemu(row: Target, isa: str, program: str) -> None:
    user = emulate.PROGRAMS[program]
    assert isinstance(user, qemu.User)
    command = user.command(Job(row, there(row), b"", [], isa=isa))
    assert said([*command, str(there(row))], isa, EMULATED) == f"{EMULATED}\n"


def test_dot_products_are_looked_for() -> None:
    """All that runs on the core of the other tests, which traps them, executes none."""
    need_engine("arm64")
    target = targets.target("arm64")
    command = qemu.AARCH64.command(Job(target, there(target), b"", [], isa="neon"))
    if not command:
        pytest.skip("this is the processor itself")
    assert command[-1] == "cortex-a53"
    run = [*command, str(there(target)), "neon_dotprod", "0", "1"]
    assert subprocess.run(run, check=False).returncode == 3


def in_wasmtime(program: Path, isa: str) -> None:
    """WASI gives the program its words and takes what it prints."""
    import wasmtime

    store = wasmtime.Store()
    linker = wasmtime.Linker(store.engine)
    linker.define_wasi()
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["shapes", isa, "0", str(EMULATED)]
    output = program.with_name(f"{isa}.{os.getpid()}.txt")
    wasi.stdout_file = str(output)
    store.set_wasi(wasi)
    module = wasmtime.Module.from_file(store.engine, str(program))
    start = linker.instantiate(store, module).exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    try:
        start(store)
    except wasmtime.ExitTrap as done:
        assert done.code == 0, output.read_text()
    assert output.read_text() == f"{EMULATED}\n"
    output.unlink()
