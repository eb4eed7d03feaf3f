"""Compare a packed model with its original in another runtime, on every target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks.litert import TfliteModel
from filigree.cli.tasks.packed import (
    F32,
    OnnxModel,
    as_integers,
    fours,
    halves,
    is_bytes,
    many,
    open_packed,
    random_inputs,
    whole_int8,
)
from filigree.converter.errors import BadFile, UsageError
from filigree.converter.frontends import is_tflite
from filigree.native.model import Port
from filigree.packaging.targets import MCUS, SCALAR

if TYPE_CHECKING:
    from filigree.converter.lowering.program import Program

TOLERANCE = 1e-4  # of the output range: what float32 arithmetic may differ by
STEP = 1.001  # a step, of outputs that are floats again
CORES = tuple(row.name for row in MCUS)
TARGETS = ("host", "arm64", "armv7", "riscv64", "wasm", "wasm-threads-node", *CORES)
ENGINES = {
    "arm64": ("arm64",),
    "armv7": ("armv7",),
    "riscv64": ("riscv64",),
    "wasm": ("wasm-node", "wasm-wasmtime"),
    "wasm-threads-node": ("wasm-threads-node",),
    **{name: (name,) for name in CORES},
}
NARROW = {"arm64": ("neon_fp16",)}  # of packed models with activations of float16
BYTES = {"arm64": ("neon", "neon_dotprod")}  # of int8 models
ISAS = {
    "arm64": ("neon",),
    "armv7": ("neon",),
    "riscv64": (SCALAR,),
    "wasm": ("wasm", "wasm_relaxed"),
    "wasm-threads-node": ("wasm",),
    **{row.name: row.isas or (SCALAR,) for row in MCUS},
}
LEAST_THREADS = {"wasm-threads-node": 2}  # what it is there to check


@dataclass(frozen=True)
class Row:
    """One target and instruction set: the largest difference relative to the output range, or
    why it was skipped. ``wanted`` is whether the user named the target. ``arithmetic``: with
    float16 or int4 weights, the same against the packed model's own weights in float64; ``exact``:
    that is float32 arithmetic, not float16. Of an int8 model ``same_bits``: whether outputs are
    those of this machine's scalar kernels, bit for bit; and if all its outputs are int8 at last,
    ``difference`` is in steps of the output's scale, ``close`` the share of the outputs that are at
    most a step away."""

    target: str
    isa: str
    difference: float | None = None
    output: str = ""
    skipped: str | None = None
    wanted: bool = True
    arithmetic: float | None = None
    exact: bool = True
    same_bits: bool | None = None
    close: float | None = None

    def agrees(self, tolerance: float) -> bool:
        if self.same_bits is False:
            return False
        most = TOLERANCE if self.exact else tolerance
        if self.arithmetic is not None and not self.arithmetic <= most:
            return False
        return self.difference is not None and self.difference <= tolerance


@dataclass(frozen=True)
class Blame:
    """The first op whose result is wrong: ``difference`` is relative to the range of its output,
    ``side`` says whether the runtime or the conversion made it."""

    op: int
    node: str
    kind: str
    difference: float
    side: str


@dataclass(frozen=True)
class Case:
    """What to compare with: ``inputs[i]`` gives ``expected[i]``, outputs in the model's order, and
    ``rounded[i]`` with the packed model's rounded weights; empty if it has none. ``engine``: what
    ran the original. ``bits[i]``: what the scalar kernels of this machine make of an int8 model;
    empty for others. ``steps``: of each output, if all are int8 at last, to measure differences in;
    ``spread``: how many of them the original's own runtime differs from itself by, at most, from
    one set of kernels to another."""

    inputs: list[list[F32]]
    expected: list[list[F32]]
    outputs: list[str]
    rounded: list[list[F32]]
    engine: str
    narrow: bool = False  # activations of float16
    bits: list[list[F32]] = field(default_factory=list)
    steps: tuple[float, ...] = ()
    spread: float = 0.0

    def gaps(self, got: list[F32], want: list[F32]) -> list[float]:
        """Per output: the largest difference, in steps or relative to the output's range."""
        return in_steps(got, want, self.steps) if self.steps else worst(got, want)


def relative(got: list[F32], want: list[F32]) -> float:
    """The largest difference over all outputs, each relative to the range of ``want``."""
    return max(worst(got, want))


def worst(got: list[F32], want: list[F32]) -> list[float]:
    """Per output: the largest difference relative to the output's range; inf if shapes differ or
    a value is not finite where it should be."""
    return [_difference(a, b) for a, b in zip(got, want, strict=True)]


def in_steps(got: list[F32], want: list[F32], steps: Sequence[float]) -> list[float]:
    """Per output: the largest difference in steps of its own; inf if shapes differ."""
    return [
        float(_apart(a, b, step).max(initial=0.0)) if a.size == b.size else float("inf")
        for a, b, step in zip(got, want, steps, strict=True)
    ]


def _apart(got: NDArray[Any], want: NDArray[Any], step: float) -> NDArray[np.float64]:
    gap = np.abs(got.ravel().astype(np.float64) - want.ravel().astype(np.float64)) / step
    return np.where(np.isfinite(gap), gap, np.inf)


def _difference(got: NDArray[np.floating], want: NDArray[np.floating]) -> float:
    if got.size != want.size:
        return float("inf")
    if not want.size:
        return 0.0
    a, b = got.ravel().astype(np.float64), want.ravel().astype(np.float64)
    span = float(b.max() - b.min())
    scale = span if span > 0 else max(1.0, float(np.abs(b).max()))
    gap = float(np.abs(a - b).max()) / scale
    return gap if np.isfinite(gap) else float("inf")


def make_case(
    source: Path,
    ports: Sequence[Port],
    *,
    count: int,
    data: Path | None,
    steps: tuple[float, ...] = (),
) -> Case:
    """Inputs (seeded, or the first ``count`` rows of an .npz) and the original's results.
    ``steps``: the packed model's, see Case."""
    session = TfliteModel(source) if is_tflite(source) else OnnxModel(source)
    inputs = (
        _from_data(data, ports, count)
        if data
        else [random_inputs(ports, seed=seed) for seed in range(count)]
    )
    expected = [session.run(arrays) for arrays in inputs]
    case = Case(inputs, expected, session.outputs, [], session.engine, steps=steps)
    if not steps or not isinstance(session, TfliteModel):
        return case
    plain = TfliteModel(source, plain=True)
    pairs = zip(inputs, expected, strict=True)
    return replace(case, spread=max(max(case.gaps(plain.run(x), want)) for x, want in pairs))


def with_rounded(case: Case, program: Program) -> Case:
    """``case`` with the float64 results of ``program``, if it has float16 or int4 weights."""
    from filigree.converter import reference
    from filigree.converter.lowering.halves import is_narrow

    if not halves(program) and not fours(program):
        return case
    results = [reference.run(program, *arrays) for arrays in case.inputs]
    narrow = is_narrow(program)
    return replace(
        case, narrow=narrow, rounded=[[y.astype(np.float32) for y in ys] for ys in results]
    )


def with_bits(case: Case, path: Path, program: Program) -> Case:
    """``case`` with the outputs of this machine's scalar kernels, if all of ``program`` is int8."""
    if not whole_int8(program):
        return case
    model = open_packed(path, isa=SCALAR)
    return replace(case, bits=[many(model.run(*arrays)) for arrays in case.inputs])


def _from_data(path: Path, ports: Sequence[Port], count: int) -> list[list[NDArray[Any]]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, AttributeError) as error:
        raise BadFile(f"{path.name} is not an .npz file that can be read", [str(error)]) from error
    pools = [_pool(arrays, port, path) for port in ports]
    rows = min(count, *(len(pool) for pool in pools))
    return [[pool[i] for pool in pools] for i in range(rows)]


def _pool(arrays: dict[str, NDArray[np.generic]], port: Port, path: Path) -> list[NDArray[Any]]:
    """The first array whose rows hold as many numbers as the port, cut into such rows."""
    wanted = int(np.prod(port.shape))
    for array in arrays.values():
        fits = array.ndim > 1 and len(array) > 0 and array[0].size == wanted
        if fits and array.dtype.kind in "fiu" and _is_held(array, port):
            return [_as_held(row, port).reshape(port.shape) for row in array]
    text = "x".join(str(dim) for dim in port.shape)
    raise UsageError(f"no array in {path.name} has rows that fit the input {text}")


def _is_held(array: NDArray[Any], port: Port) -> bool:
    """Floats, or integers within the range of a port of such; of bytes none but bytes."""
    if port.dtype == "float32":
        return True
    if array.dtype.kind == "f":
        return not is_bytes(port)
    info = np.iinfo(port.dtype)
    return info.min <= int(array.min()) and int(array.max()) <= info.max


def _as_held(row: NDArray[Any], port: Port) -> NDArray[Any]:
    if port.dtype == "float32" or row.dtype.kind in "iu":
        return np.asarray(row, port.dtype)
    return as_integers(row, port)


def compare_host(
    path: Path,
    case: Case,
    *,
    isas: list[str],
    threads: int,
    wanted: bool,
    progress: Callable[[str, float], None],
) -> Iterator[Row]:
    """One row per instruction set, each forced in turn."""
    from filigree.cli.tasks.isas import isa_lanes

    here = _present(narrow=case.narrow)
    if case.narrow and not here:
        name = NARROW["arm64"][0]
        yield Row("host", name, skipped=f"this machine has no {name}", wanted=wanted)
        return
    lanes = open_packed(path).lanes
    for i, isa in enumerate(isas):
        progress(f"host {isa}", i / len(isas))
        if isa in here and lanes % isa_lanes(isa):
            why = f"the packed model's planes are padded to {lanes}, for other vectors"
            yield Row("host", isa, skipped=why, wanted=False)
            continue
        if isa not in here:
            yield Row("host", isa, skipped=f"this machine has {', '.join(here)}")
            continue
        model = open_packed(path, isa=isa, threads=threads)
        yield row_of("host", isa, case, [many(model.run(*arrays)) for arrays in case.inputs])


def compare_emulated(
    data: bytes, case: Case, *, target: str, isas: list[str], threads: int, wanted: bool
) -> Iterator[Row]:
    """Rows of one emulated target ("arm64", "wasm"), one per engine and instruction set."""
    from filigree.packaging import emulate

    threads = max(threads, LEAST_THREADS.get(target, 1))
    for engine in ENGINES[target]:
        missing = emulate.available(engine)
        known = _isas_of(target, case)
        for isa in [isa for isa in known if not isas or isa in isas]:
            if missing:
                yield Row(engine, isa, skipped=missing, wanted=wanted)
                continue
            yield _emulated(engine, isa, data, case, threads=threads, wanted=wanted)


def _isas_of(target: str, case: Case) -> tuple[str, ...]:
    if case.narrow:
        return NARROW.get(target, ())
    return BYTES.get(target, ISAS[target]) if case.bits else ISAS[target]


def _emulated(engine: str, isa: str, data: bytes, case: Case, *, threads: int, wanted: bool) -> Row:
    from filigree.packaging import emulate
    from filigree.packaging.errors import DoesNotFit, ToolMissing

    def run(arrays: list[F32]) -> list[F32]:
        return emulate.run(engine, data, arrays, isa=isa, threads=threads)

    try:
        got = [run(arrays) for arrays in case.inputs]
    except ToolMissing as error:
        return Row(engine, isa, skipped=error.headline, wanted=wanted)
    except DoesNotFit as error:
        if wanted:
            raise
        return Row(engine, isa, skipped=error.headline, wanted=False)
    return row_of(engine, isa, case, got)


def row_of(target: str, isa: str, case: Case, got: list[list[F32]]) -> Row:
    """The row of the outputs ``got``, one list per input of ``case``."""
    gaps = [case.gaps(a, b) for a, b in zip(got, case.expected, strict=True)]
    by_output = [max(column) for column in zip(*gaps, strict=True)]
    index = int(np.argmax(by_output))
    own = [relative(a, b) for a, b in zip(got, case.rounded, strict=True)] if case.rounded else []
    return Row(
        *(target, isa, by_output[index], case.outputs[index]),
        arithmetic=max(own, default=None),
        exact=not case.narrow,
        same_bits=_same(got, case.bits) if case.bits else None,
        close=_close(case, got) if case.steps else None,
    )


def _same(got: list[list[F32]], want: list[list[F32]]) -> bool:
    pairs = [pair for a, b in zip(got, want, strict=True) for pair in zip(a, b, strict=True)]
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def _close(case: Case, got: list[list[F32]]) -> float:
    """The share of all outputs that are at most a step from the original's."""
    found = [
        _apart(a, b, step) <= STEP
        for ours, theirs in zip(got, case.expected, strict=True)
        for a, b, step in zip(ours, theirs, case.steps, strict=True)
        if a.size == b.size
    ]
    return float(np.concatenate(found).mean()) if found else 0.0


def compare(
    path: Path,
    case: Case,
    *,
    targets: tuple[str, ...],
    isas: list[str],
    threads: int = 1,
    named: bool,
    progress: Callable[[str, float], None],
) -> list[Row]:
    """Every row of ``targets``; ``isas`` empty: all. ``named``: the user named the targets, so a
    missing tool matters."""
    rows: list[Row] = []
    if "host" in targets:
        chosen = _host_isas(isas, narrow=case.narrow)
        rows += compare_host(
            path, case, isas=chosen, threads=threads, wanted=named, progress=progress
        )
    data = path.read_bytes()
    for target in targets:
        if target != "host":
            progress(target, 0.5)
            rows += compare_emulated(
                data, case, target=target, isas=isas, threads=threads, wanted=named
            )
    return rows


def _present(*, narrow: bool) -> list[str]:
    from filigree.native.model import isas

    return isas("float16" if narrow else "float32")


def _host_isas(asked: list[str], *, narrow: bool) -> list[str]:
    """Those asked for, less the ones that only an emulated target has; all present if none."""
    here = _present(narrow=narrow)
    elsewhere = {isa for names in (*ISAS.values(), *NARROW.values()) for isa in names}
    chosen = [isa for isa in asked if isa in here or isa not in elsewhere]
    return chosen if asked else here
