"""Run a packed model on other targets than this machine: arm64, 32-bit ARM, RISC-V and
microcontrollers under QEMU, WebAssembly in node and wasmtime. The runtime is compiled for the
target at first use and kept in the user's cache folder.

Target names: "arm64", "armv7", "riscv64", "wasm" (node if present, else wasmtime), "wasm-node",
"wasm-wasmtime", "wasm-relaxed-node", "wasm-relaxed-wasmtime", "wasm-threads-node",
"cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55".
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from filigree.packaging import build, targets, toolchains
from filigree.packaging.engines import AUTO, F32, Job, Result, board, elements, node, qemu, wasmtime
from filigree.packaging.errors import ToolMissing
from filigree.packaging.targets import EITHER, Engine

PROGRAMS: dict[str, ModuleType | qemu.User] = {
    **{user.name: user for user in (qemu.AARCH64, qemu.ARM, qemu.RISCV64)},
    "node": node,
    "wasmtime": wasmtime,
    "board": board,
}


def available(target: str) -> str | None:
    """None if ``target`` can be used here, else why not and how to install what is missing.
    Raises UnknownTarget."""
    engine = _engine(target)
    missing: str | None = PROGRAMS[engine.program].missing()
    if missing:
        return missing
    try:
        toolchains.find(engine.target)
    except ToolMissing as error:
        return f"{error.headline} ({error.hint})"
    return None


def run(
    target: str,
    fil: bytes,
    inputs: Sequence[NDArray[np.generic]],
    isa: str | None = None,
    *,
    threads: int = 1,
) -> list[F32]:
    """One run: outputs in port order, with the ports' shapes. ``inputs`` are converted to
    float32, those of int8 and uint8 are not.

    ``isa`` forces an instruction set of the target's family ("neon", "wasm", "wasm_relaxed",
    "scalar"). ``threads`` is one where the target has no more: WebAssembly, other than
    "wasm-threads-node". Raises ToolMissing, BuildFailed, BadFile, UnknownTarget, TargetFailed, and
    ValueError for inputs that do not fit the model.
    """
    return _run(target, fil, inputs, isa=isa, repeats=1, threads=threads).outputs


def time(
    target: str,
    fil: bytes,
    inputs: Sequence[NDArray[np.generic]],
    repeats: int,
    *,
    isa: str | None = None,
) -> list[float]:
    """Milliseconds of each of ``repeats`` runs of one WebAssembly instance; the first ones include
    what the engine does lazily. Raises what run raises, and UnknownTarget where time is emulated
    and means nothing: count instructions there (packaging/count.py)."""
    if not _engine(target).target.is_wasm:
        raise targets.UnknownTarget(f"{target} is emulated: its times mean nothing")
    return _run(target, fil, inputs, isa=isa, repeats=repeats).ms


def _run(
    target: str,
    fil: bytes,
    inputs: Sequence[NDArray[np.generic]],
    *,
    isa: str | None,
    repeats: int,
    threads: int = 1,
) -> Result:
    engine = _engine(target)
    row = targets.with_isa(engine.target, isa)
    arrays = elements(inputs)
    missing = PROGRAMS[engine.program].missing()
    if missing:
        raise ToolMissing(missing)
    count = threads if row.has_threads else 1
    job = Job(row, build.runner(row), fil, arrays, isa or AUTO, repeats, count)
    result: Result = PROGRAMS[engine.program].run(job)
    return result


def _engine(name: str) -> Engine:
    """The engine of that name; for "wasm" the first that is present, or else the first."""
    names = EITHER.get(name, (name,))
    rows = [targets.engine(one) for one in names]
    return next((row for row in rows if not PROGRAMS[row.program].missing()), rows[0])
