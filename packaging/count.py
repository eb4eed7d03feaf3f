"""Count the instructions that a run under QEMU executes, per symbol and per
operation.

Emulated time means nothing, but instruction counts under QEMU repeat exactly. The counter is a
small QEMU plugin (native/runner/insn_count.c), compiled for this machine at first use.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filigree.packaging import build, emulate, sources, targets
from filigree.packaging.engines import AUTO, Job, Result, elements, qemu, wasmtime
from filigree.packaging.errors import TargetFailed, ToolMissing

COMPILERS = ("cc", "gcc", "clang", "clang-19")
DEFAULT = "arm64"
FLAGS = ("-std=c11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")
UNNAMED = "?"
MARK = "runner_mark"  # the runners call it before the first operation and after each


@dataclass(frozen=True)
class Measured:
    """Instructions of one inference: of each operation of the packed model, in its order, and where
    the target is a microcontroller its memory (engines.Result)."""

    instructions: list[int]
    memory: dict[str, int]


@dataclass(frozen=True)
class _Counts:
    """Instructions per symbol of the run, how many had been executed at each mark, and the
    operation that ended at each but the first."""

    symbols: dict[str, int]
    marks: tuple[int, ...]
    said: Result


def available(target: str = DEFAULT) -> str | None:
    """None if instructions of runs on ``target`` can be counted here, else why not and how to
    install what is missing. Raises UnknownTarget."""
    program = emulate.PROGRAMS[targets.engine(target).program]
    user = isinstance(program, qemu.User)
    missing: str | None = program.plugins_missing() if user else program.missing()
    if missing:
        return missing
    if _compiler() is None:
        return "no C compiler for this machine (apt-get install gcc)"
    return None


def count(
    fil: bytes,
    inputs: Sequence[NDArray[np.generic]],
    *,
    isa: str | None = None,
    target: str = DEFAULT,
) -> dict[str, int]:
    """Instructions of one inference per symbol, most first; code without a symbol is "?".

    Opening the file and the self-test are left out. Raises ToolMissing, BuildFailed, and what
    emulate.run raises.
    """
    symbols = _counted(_job(fil, inputs, isa=isa, target=target)).symbols
    return dict(sorted(symbols.items(), key=lambda row: (-row[1], row)))


def count_ops(
    fil: bytes, inputs: Sequence[NDArray[np.generic]], *, isa: str | None = None
) -> list[int]:
    """Instructions on arm64 per operation: see measure."""
    return measure(fil, inputs, isa=isa).instructions


def measure(
    fil: bytes,
    inputs: Sequence[NDArray[np.generic]],
    *,
    isa: str | None = None,
    target: str = DEFAULT,
) -> Measured:
    """One inference, per operation of the packed model: instructions from the end of the operation
    before to its own. They add up to the whole run. Raises what count raises."""
    counts = _counted(_job(fil, inputs, isa=isa, target=target))
    ops = counts.said.ops
    if len(counts.marks) != len(ops) + 1:
        raise TargetFailed(f"a run of more than {len(ops)} operations cannot be counted")
    total = [0] * (max(ops) + 1)
    for op, (before, after) in zip(ops, itertools.pairwise(counts.marks), strict=True):
        total[op] += after - before
    return Measured(total, counts.said.memory)


def fuel(fil: bytes, inputs: Sequence[NDArray[np.generic]], *, isa: str | None = None) -> int:
    """WebAssembly instructions of one inference, as wasmtime meters them. Raises ToolMissing,
    BuildFailed, and what emulate.run raises."""
    row = targets.with_isa(targets.target("wasm"), isa)
    arrays = elements(inputs)
    return wasmtime.fuel(Job(row, build.runner(row), fil, arrays, isa=isa or AUTO))


def _job(fil: bytes, inputs: Sequence[NDArray[np.generic]], *, isa: str | None, target: str) -> Job:
    """One run. Raises ToolMissing, BuildFailed, UnknownTarget."""
    missing = available(target)
    if missing:
        raise ToolMissing(missing)
    row = targets.with_isa(targets.engine(target).target, isa)
    arrays = elements(inputs)
    return Job(row, build.runner(row), fil, arrays, isa=isa or AUTO, repeats=1)


def _counted(job: Job) -> _Counts:
    with tempfile.TemporaryDirectory(prefix="filigree-") as folder:
        out = Path(folder) / "counts"
        name = next(row.program for row in targets.ENGINES if row.target is job.target)
        said = emulate.PROGRAMS[name].run(
            job, options=("-plugin", f"{_plugin()},out={out},mark={MARK}")
        )
        if not out.exists():
            raise ToolMissing("this QEMU does not take plugins", hint="QEMU 6 to 8 do")
        return _parsed(out.read_text(encoding="utf-8"), said)


def _parsed(text: str, said: Result) -> _Counts:
    rows = [line.split(" ", 1) for line in text.splitlines()]
    symbols = {name: int(n) for n, name in rows if name != "@"}
    return _Counts(symbols, tuple(int(n) for n, name in rows if name == "@"), said)


def _plugin() -> Path:
    """The compiled plugin, made if it is not cached."""
    source = sources.native() / "runner" / "insn_count.c"
    digest = hashlib.sha256(source.read_bytes() + repr(FLAGS).encode()).hexdigest()[:20]
    path = Path(f"insn_count-{digest}") / "libinsn_count.so"
    return build.cached(path, lambda made: _compile(source, made))


def _compile(source: Path, made: Path) -> None:
    command = [str(_compiler()), *FLAGS, str(source), "-o", str(made)]
    build.call(command, "compiling the instruction counter")


def _compiler() -> str | None:
    return next((path for name in COMPILERS if (path := shutil.which(name))), None)
