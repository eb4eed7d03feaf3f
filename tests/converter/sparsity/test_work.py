"""Predictions for whole programs."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from filigree.converter import ConvertOptions, convert
from filigree.converter.lowering import bands
from filigree.converter.lowering.program import (
    MapParams,
    MatmulParams,
    Op,
    Params,
    PoolParams,
    ReduceParams,
    SoftmaxParams,
)
from filigree.converter.sparsity import CostTable, work
from filigree.native import enums as c

TABLE = CostTable.load("arm64-n1")
WALK, APART = (0, 0, 0, 1), (0, 0, 0, 8)


def op(kind: int, params: Params) -> Op:
    return Op(kind, "node", ("x",), "y", params)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (op(c.FIL_OP_MAP, MapParams((1, 1, 2, 40), WALK, (0,) * 4, WALK)), ("map", 20)),
        (op(c.FIL_OP_MAP, MapParams((1, 1, 2, 40), APART, (0,) * 4, WALK)), ("map_apart", 20)),
        (op(c.FIL_OP_POOL, PoolParams(8, 6, 6, 5, 5, 2, 2)), ("pool", 8 * 5 * 2 * 4)),
        (op(c.FIL_OP_REDUCE, ReduceParams(1, 49, 8, 0, 1, 64, 0, 1)), ("reduce", 8 * (13 + 4))),
        (op(c.FIL_OP_SOFTMAX, SoftmaxParams(2, 10, 1, 10, 1, 0)), ("softmax", 5)),
        (
            op(c.FIL_OP_MATMUL, MatmulParams(1, 3, 5, 7, 0, 7, 1, 0, 5, 0, 5)),
            ("matmul", 3 * 7 * 2),
        ),
    ],
)
def test_vectors_of_work(one: Op, expected: tuple[str, float]) -> None:
    assert work.vectors_of(one, 4) == expected


def test_every_operation_has_a_prediction(digits: Path) -> None:
    program = convert(digits / "digits_sparse80.onnx", options=ConvertOptions()).program
    times = work.predict(program, TABLE)
    assert len(times) == len(program.ops)
    assert all(0 < ns < math.inf for ns in times)
    patterns = {work.pattern_of(one, program) for one in program.ops}
    assert patterns == {None, "dense", "4x1"}


def test_tall_blocks_count_as_two_of_eight_rows(digits: Path) -> None:
    program = convert(digits / "digits_sparse80.onnx", options=ConvertOptions()).program
    name, weights = next(
        (n, w) for n, w in program.weights.items() if w.packing and w.packing.block_rows == 4
    )
    assert weights.packing is not None
    tall = dataclasses.replace(weights.packing, block_rows=16, blocks=weights.packing.blocks // 4)
    other = {**program.weights, name: dataclasses.replace(weights, packing=tall)}
    times = work.predict(dataclasses.replace(program, weights=other), TABLE)
    assert all(0 < ns < math.inf for ns in times)


def test_a_step_of_a_band_makes_some_rows(digits: Path) -> None:
    options = ConvertOptions(bands="off")
    program = convert(digits / "digits_dense.onnx", options=options).program
    assert set(work.rows_at_a_time(program)) == {0}
    banded = bands.band(program, bands.Cache(spill=1 << 10, room=0))
    rows = work.rows_at_a_time(banded)
    heights = [getattr(op.params, "out_h", 0) for op in banded.ops]
    assert any(rows) and rows[-1] == 0
    assert all(n <= height for n, height in zip(rows, heights, strict=True))
    assert all(0 < ns < math.inf for ns in work.predict(banded, TABLE))


def test_weights_are_near_where_all_of_them_fit(digits: Path) -> None:
    program = convert(digits / "digits_dense.onnx", options=ConvertOptions()).program
    total = sum(w.packing.values.nbytes for w in program.weights.values() if w.packing)
    for near, share in ((2 * total, 0.0), (total, 0.0), (total / 1.5, 0.5), (total / 4, 1.0)):
        table = dataclasses.replace(TABLE, near_bytes=near)
        assert work.cold_share(program, table) == pytest.approx(share)
