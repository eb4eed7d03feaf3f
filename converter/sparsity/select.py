"""Choose how each layer is stored, and say why.

Rules, per weight matrix:
1. depthwise kernels stay dense;
2. a pattern that the user asked for is taken, unless none of its blocks is zero;
3. ``auto`` takes the pattern with the least predicted time (objective "time") or stored bytes
   ("size"); ties go to dense, then to the taller block;
4. "time" leaves dense only for a predicted gain of at least 5 %, the accuracy of the tables;
5. values are float32, float16 or int4 as asked, but where that cannot hold them (``rounding``);
   times are predicted as for float32;
6. weights of int8 layers are int8; their times, too, are predicted as for float32.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from filigree.converter.errors import UsageError
from filigree.converter.lowering.program import (
    INT4,
    INT4_KINDS,
    Packing,
    Program,
    Weights,
    float_kind,
)
from filigree.converter.sparsity import pattern as patterns
from filigree.converter.sparsity import rounding
from filigree.converter.sparsity.cost import DENSE, SPARSE, CostTable, Shape
from filigree.converter.sparsity.pattern import Stats
from filigree.converter.sparsity.rounding import Rounded
from filigree.converter.sparsity.work import cold_share
from filigree.native import enums as c

PATTERNS = ("auto", DENSE, *SPARSE)
OBJECTIVES = ("time", "size")
KIND_NAMES: Mapping[int, str] = {
    c.FIL_OP_SPMM: "spmm",
    c.FIL_OP_CONV: "conv",
    c.FIL_OP_DWCONV: "dwconv",
    c.FIL_OP_SPMV: "spmv",
    c.FIL_OP_SPMM4: "spmm4",
    c.FIL_OP_SPMV4: "spmv4",
    c.FIL_OP_QSPMM: "qspmm",
    c.FIL_OP_QCONV: "qconv",
    c.FIL_OP_QDWCONV: "qdwconv",
    c.FIL_OP_QSPMV: "qspmv",
}
CODING_NAMES: Mapping[int, str] = {
    c.FIL_CODING_NONE: "dense",
    c.FIL_CODING_D8: "d8",
    c.FIL_CODING_U16: "u16",
}
SMALLEST_GAIN = 1.05


@dataclass(frozen=True)
class Choice:
    """How one layer's weights are stored and why.

    ``sparsity``: share of zeros in the weights; ``fill``: share of the stored values that are
    zeros kept for another row of their group; ``stored_bytes``: values, indices and counts;
    ``dense_bytes``: the float32 matrix; times in nanoseconds by the cost table; ``dtype``: of the
    stored values; ``rounding``: what was lost by it, or why it is not the one asked for.
    """

    layer: str
    kind: str
    rows: int
    cols: int
    positions: int
    pattern: str
    sparsity: float
    fill: float
    stored_bytes: int
    dense_bytes: int
    kernel: str
    predicted_ns: float
    predicted_dense_ns: float
    reason: str
    dtype: str
    rounding: str


@dataclass(frozen=True)
class _Layer:
    """Weights, rounded, where they are used, and how their time is predicted."""

    weights: Weights
    shape: Shape
    stored: Rounded
    costs: CostTable
    cold: float

    def ns(self, pattern: str, *, blocks: int, block_rows: int) -> float:
        return self.costs.predict(
            self.shape, pattern, blocks=blocks, block_rows=block_rows, cold=self.cold
        )


@dataclass(frozen=True)
class _Candidate:
    pattern: str
    stats: Stats
    ns: float


def pack(
    program: Program,
    *,
    costs: CostTable,
    pattern: str = "auto",
    objective: str = "time",
    dtype: str = "float32",
    keep_float: tuple[str, ...] = (),
) -> tuple[Program, list[Choice]]:
    """``program`` with every weights rounded to ``dtype`` and packed, and a choice for each, in the
    order of ``program.weights``. ``keep_float``: layers (fnmatch) that int4 leaves float32. Raises
    UsageError for an unknown ``pattern``, ``objective``, ``dtype`` or layer."""
    if pattern not in PATTERNS or objective not in OBJECTIVES:
        raise UsageError(
            f'no way of packing "{pattern}" for "{objective}"',
            [f"patterns: {', '.join(PATTERNS)}", f"objectives: {', '.join(OBJECTIVES)}"],
        )
    shapes, cold = _shapes(program), cold_share(program, costs)
    forms = _stored(program, dtype, keep_float)
    packed: dict[str, Weights] = {}
    choices = []
    for name, given in program.weights.items():
        weights = dataclasses.replace(given, matrix=forms[name].matrix)
        layer = _Layer(weights, shapes[name], forms[name], costs, cold)
        packed[name], choice = _packed(layer, pattern, objective)
        choices.append(choice)
    ops = tuple(
        dataclasses.replace(op, kind=INT4_KINDS[op.kind])
        if op.weights is not None and _is_int4(packed[op.weights])
        else op
        for op in program.ops
    )
    return dataclasses.replace(program, weights=packed, ops=ops), choices


def _stored(program: Program, dtype: str, keep_float: tuple[str, ...]) -> dict[str, Rounded]:
    """What every weights are to be stored as."""
    layers = {w.layer for w in program.weights.values()}
    unknown = [name for name in keep_float if not fnmatch.filter(layers, name)]
    if dtype == INT4 and unknown:
        raise UsageError("no such layer", [f'no layer is called "{name}"' for name in unknown])
    kinds: dict[str, set[int]] = {name: set() for name in program.weights}
    for op in program.ops:
        if op.weights is not None:
            kinds[op.weights].add(op.kind)
    found = {}
    for name, w in program.weights.items():
        kept = any(fnmatch.fnmatchcase(w.layer, pattern) for pattern in keep_float)
        if w.multipliers is not None:
            found[name] = Rounded(w.matrix, "int8")
        elif dtype == INT4:
            found[name] = rounding.for_int4(w.matrix, kinds[name], kept=kept)
        else:
            found[name] = rounding.rounded(w.matrix, dtype)
    return found


def _is_int4(weights: Weights) -> bool:
    return weights.packing is not None and weights.packing.dtype == INT4


def _packed(layer: _Layer, pattern: str, objective: str) -> tuple[Weights, Choice]:
    weights = layer.weights
    choice = _choose(layer, asked=pattern, objective=objective)
    packing = _encode(layer, choice.pattern)
    if weights.multipliers is not None:
        packing = patterns.with_multipliers(packing, weights.multipliers)
    if packing.dtype != INT4:
        return dataclasses.replace(weights, packing=packing), choice
    half = rounding.stays_float16(weights.matrix, "int4 would not be smaller")
    if packing.nbytes >= _in_float16(layer, choice.pattern):
        halved = dataclasses.replace(weights, matrix=half.matrix)
        return _packed(dataclasses.replace(layer, weights=halved, stored=half), pattern, objective)
    matrix = patterns.decode(packing, rows=weights.rows, cols=weights.cols)
    note = rounding.level(weights.matrix, matrix)
    choice = dataclasses.replace(choice, rounding=note)
    return dataclasses.replace(weights, matrix=matrix, packing=packing), choice


def _in_float16(layer: _Layer, pattern: str) -> int:
    """Bytes that ``pattern`` takes then."""
    half = dataclasses.replace(layer, stored=Rounded(layer.weights.matrix, "float16"))
    return (_dense(half) if pattern == DENSE else _sparse(half, pattern)).stats.nbytes


def _shapes(program: Program) -> dict[str, Shape]:
    """The shape of each weights' first use."""
    return {
        op.weights: Shape.of(op, program.weights[op.weights])
        for op in reversed(program.ops)
        if op.weights is not None
    }


def _encode(layer: _Layer, pattern: str) -> Packing:
    w, dtype = layer.weights, layer.stored.dtype
    if pattern == DENSE:
        height = patterns.dense_block_rows(layer.shape.kind, layer.shape.rows)
        return patterns.encode_dense(w.matrix, w.bias, block_rows=height, dtype=dtype)
    return patterns.encode(w.matrix, w.bias, block_rows=SPARSE[pattern], dtype=dtype)


def _choose(layer: _Layer, *, asked: str, objective: str) -> Choice:
    dense = _dense(layer)
    matrix = layer.weights.matrix
    zeros = 1 - np.count_nonzero(matrix) / matrix.size
    if float_kind(layer.shape.kind) == c.FIL_OP_DWCONV:
        return _made(layer, dense, dense, "depthwise: kernels are dense")
    if asked == DENSE:
        return _made(layer, dense, dense, "dense asked for")
    if zeros == 0:
        return _made(layer, dense, dense, "no weight is zero")
    names = list(SPARSE) if asked == "auto" else [asked]
    found = [_sparse(layer, name) for name in names]
    if asked != "auto":
        return _as_asked(layer, found[0], dense)
    best = min(reversed(found), key=lambda x: x.ns if objective == "time" else x.stats.nbytes)
    gains = {"time": dense.ns / best.ns, "size": dense.stats.nbytes / best.stats.nbytes}
    if gains[objective] < (SMALLEST_GAIN if objective == "time" else 1):
        return _made(layer, dense, dense, _why_dense(layer, best, dense, zeros))
    gain = f"{gains[objective]:.1f}x {'faster' if objective == 'time' else 'smaller'}"
    return _made(layer, best, dense, f"predicted {gain} than dense")


def _as_asked(layer: _Layer, found: _Candidate, dense: _Candidate) -> Choice:
    height, shape = found.stats.block_rows, layer.shape
    if found.stats.blocks == -(-shape.rows // height) * shape.cols:
        return _made(layer, dense, dense, f"no {found.pattern} block is zero")
    return _made(layer, found, dense, f"{found.pattern} asked for")


def _dense(layer: _Layer) -> _Candidate:
    shape = layer.shape
    height = patterns.dense_block_rows(shape.kind, shape.rows)
    stats = patterns.dense_stats(
        shape.rows, shape.cols, block_rows=height, dtype=layer.stored.dtype
    )
    return _Candidate(DENSE, stats, layer.ns(DENSE, blocks=stats.blocks, block_rows=height))


def _sparse(layer: _Layer, name: str) -> _Candidate:
    stats = patterns.stats(layer.weights.matrix, SPARSE[name], dtype=layer.stored.dtype)
    return _Candidate(name, stats, layer.ns(name, blocks=stats.blocks, block_rows=SPARSE[name]))


def _why_dense(layer: _Layer, best: _Candidate, dense: _Candidate, zeros: float) -> str:
    """``zeros``: the layer's sparsity. Too few zeros, or enough but not lined up in blocks."""
    shape = layer.shape
    needed = _sparsity_needed(layer, best.pattern, dense.ns)
    if needed is None:
        return f"too small a layer for a gain at any sparsity ({shape.rows}x{shape.cols})"
    if zeros < needed:
        return f"needs {needed:.0%} sparsity at this shape for a gain, has {zeros:.0%}"
    return f"zeros are scattered: {best.pattern} would store {best.stats.fill:.0%} fill"


def _sparsity_needed(layer: _Layer, name: str, dense_ns: float) -> float | None:
    """Least share of zero blocks with a predicted gain, to the percent; None: there is none."""
    height = SPARSE[name]
    blocks = -(-layer.shape.rows // height) * layer.shape.cols
    for percent in range(100):
        stored = round(blocks * (100 - percent) / 100)
        if layer.ns(name, blocks=stored, block_rows=height) * SMALLEST_GAIN <= dense_ns:
            return percent / 100
    return None


def _made(layer: _Layer, chosen: _Candidate, dense: _Candidate, reason: str) -> Choice:
    shape, matrix = layer.shape, layer.weights.matrix
    is_int4 = layer.stored.dtype == INT4
    kind = KIND_NAMES[INT4_KINDS[shape.kind] if is_int4 else shape.kind]
    coding = CODING_NAMES[chosen.stats.coding]
    height = chosen.stats.block_rows
    return Choice(
        layer=layer.weights.layer,
        kind=kind,
        rows=shape.rows,
        cols=shape.cols,
        positions=shape.positions,
        pattern=chosen.pattern,
        sparsity=1 - np.count_nonzero(matrix) / matrix.size,
        fill=chosen.stats.fill,
        stored_bytes=chosen.stats.nbytes,
        dense_bytes=4 * matrix.size,
        kernel=f"{kind}/{height}x1/{coding}",
        predicted_ns=chosen.ns,
        predicted_dense_ns=dense.ns,
        reason=reason,
        dtype=layer.stored.dtype,
        rounding=layer.stored.note,
    )
