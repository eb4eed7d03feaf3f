"""Predicted times of whole programs: layers by their stored form, other work by the vector."""

from __future__ import annotations

import dataclasses
import math

from filigree.converter.lowering import bands
from filigree.converter.lowering.program import (
    ConvParams,
    MapParams,
    MatmulParams,
    Op,
    PoolParams,
    Program,
    ReduceParams,
    SoftmaxParams,
)
from filigree.converter.sparsity.cost import DENSE, CostTable, Shape
from filigree.native import enums as c

HORIZONTAL = 4  # vectors that adding up the lanes of one takes


def pattern_of(op: Op, program: Program) -> str | None:
    """``4x1`` or ``dense``; None without weights. The program must be packed."""
    packing = program.weights[op.weights].packing if op.weights is not None else None
    if packing is None:
        return None
    return DENSE if packing.coding == c.FIL_CODING_NONE else f"{packing.block_rows}x1"


def predict(program: Program, table: CostTable) -> list[float]:
    """Nanoseconds of every operation of a packed program."""
    cold = cold_share(program, table)
    rows = rows_at_a_time(program)
    pairs = zip(program.ops, rows, strict=True)
    return [_op_ns(op, program, table, cold, band=band) for op, band in pairs]


def rows_at_a_time(program: Program) -> list[int]:
    """For each operation, how many rows of its output a step of its band makes; 0: no band."""
    found = []
    for i, (first, last) in enumerate(bands.spans(program)):
        params, head = program.ops[i].params, program.ops[first].params
        if first == last or not (isinstance(params, ConvParams) and isinstance(head, ConvParams)):
            found.append(0)
            continue
        ops = program.ops[first : last + 1]
        count = sum(1 for _ in bands.steps(ops, head.band_rows, program.lanes))
        found.append(-(-params.out_h // count))
    return found


def cold_share(program: Program, table: CostTable) -> float:
    """Share of the weights that have left what is near the core by the next run: none if all of
    them fit there, all if not half of them do."""
    total = sum(_stored_bytes(name, program) for name in program.weights)
    return min(1.0, max(0.0, total / table.near_bytes - 1))


def _stored_bytes(name: str, program: Program) -> int:
    """Of a layer's values; before it is packed, of the nonzero ones."""
    weights = program.weights[name]
    if weights.packing is not None:
        return weights.packing.values.nbytes
    return 4 * int((weights.matrix != 0).sum())


def _op_ns(op: Op, program: Program, table: CostTable, cold: float, *, band: int) -> float:
    pattern = pattern_of(op, program)
    if pattern is None or op.weights is None:
        kind, vectors = vectors_of(op, table.lanes)
        return table.overhead_ns + table.rates[kind] * vectors
    weights = program.weights[op.weights]
    packing = weights.packing
    assert packing is not None  # pattern_of
    shape = dataclasses.replace(Shape.of(op, weights), band=band)
    if pattern not in table.panel:  # 16x1: as two of 8x1
        blocks = packing.blocks * packing.block_rows // 8
        return table.predict(shape, "8x1", blocks=blocks, block_rows=8, cold=cold)
    return table.predict(
        shape, pattern, blocks=packing.blocks, block_rows=packing.block_rows, cold=cold
    )


def vectors_of(op: Op, lanes: int) -> tuple[str, float]:
    """The kind of work in RATES and how many vectors of it; for a pool, vectors x taps."""
    p = op.params
    if isinstance(p, MapParams):
        together = all(walk[-1] in (0, 1) for walk in (p.sa, p.sb, p.so))
        return "map" if together else "map_apart", math.prod(p.dim) / lanes
    if isinstance(p, ConvParams):  # PIXELS
        return "map" if p.xs == 1 else "map_apart", p.channels * p.out_h * p.out_w / lanes
    if isinstance(p, PoolParams):
        return "pool", p.channels * p.out_h * -(-p.out_w // lanes) * p.kh * p.kw
    if isinstance(p, ReduceParams):
        return "reduce", p.outer * p.inner * (HORIZONTAL + -(-p.reduce // lanes))
    if isinstance(p, SoftmaxParams):
        return "softmax", p.outer * p.axis * p.inner / lanes
    assert isinstance(p, MatmulParams)  # lowering.check: all other kinds have weights
    return "matmul", p.batch * p.m * p.k * -(-p.n // lanes)
