"""Choose how each layer is stored, and say why.

Rules, per weight matrix:
1. depthwise kernels stay dense;
2. a pattern that the user asked for is taken, unless none of its blocks is zero;
3. ``auto`` takes the pattern with the least predicted time (objective "time") or stored bytes
   ("size"); ties go to dense, then to the taller block;
4. "time" leaves dense only for a predicted gain of at least 5 %, the accuracy of the tables;
5. values are float32 or float16 as asked, but where float16 cannot hold them (``rounding``); times
   are predicted as for float32;
6. weights of int8 layers are int8; their times, too, are predicted as for float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from filigree.converter.errors import UsageError
from filigree.converter.lowering.program import Packing, Program, Weights, float_kind
from filigree.converter.sparsity import pattern as patterns
from filigree.converter.sparsity.cost import DENSE, SPARSE, CostTable, Shape
from filigree.converter.sparsity.pattern import Stats
from filigree.converter.sparsity.rounding import Rounded, rounded
from filigree.converter.sparsity.work import cold_share
from filigree.native import enums as c

PATTERNS = ("auto", DENSE, *SPARSE)
OBJECTIVES = ("time", "size")
KIND_NAMES: Mapping[int, str] = {
    c.FIL_OP_SPMM: "spmm",
    c.FIL_OP_CONV: "conv",
    c.FIL_OP_DWCONV: "dwconv",
    c.FIL_OP_SPMV: "spmv",
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
) -> tuple[Program, list[Choice]]:
    """``program`` with every weights rounded to ``dtype`` and packed, and a choice for each, in the
    order of ``program.weights``. Raises UsageError for an unknown ``pattern``, ``objective`` or
    ``dtype``."""
    if pattern not in PATTERNS or objective not in OBJECTIVES:
        raise UsageError(
            f'no way of packing "{pattern}" for "{objective}"',
            [f"patterns: {', '.join(PATTERNS)}", f"objectives: {', '.join(OBJECTIVES)}"],
        )
    shapes, cold = _shapes(program), cold_share(program, costs)
    packed: dict[str, Weights] = {}
    choices = []
    for name, given in program.weights.items():
        whole = given.multipliers is not None
        stored = Rounded(given.matrix, "int8") if whole else rounded(given.matrix, dtype)
        weights = dataclasses.replace(given, matrix=stored.matrix)
        layer = _Layer(weights, shapes[name], stored, costs, cold)
        choice = _choose(layer, asked=pattern, objective=objective)
        packing = _encode(layer, choice.pattern)
        if given.multipliers is not None:
            packing = patterns.with_multipliers(packing, given.multipliers)
        packed[name] = dataclasses.replace(weights, packing=packing)
        choices.append(choice)
    return dataclasses.replace(program, weights=packed), choices


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
    kind = KIND_NAMES[shape.kind]
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
