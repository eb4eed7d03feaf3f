"""The choice per layer: the fastest by the table, dense where there is no gain, and the reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filigree.converter.errors import UsageError
from filigree.converter.lowering.program import (
    F32,
    ConvParams,
    Op,
    Place,
    Program,
    Tensor,
    Weights,
)
from filigree.converter.sparsity import CostTable, pack, pattern
from filigree.converter.sparsity.select import Choice
from filigree.native import enums as c
from tests.converter import programs
from tests.converter.programs import COSTS, sparse


def one_layer(matrix: F32, kind: int, *, side: int = 14) -> Program:
    """A program of one op with weights; positions = side * side, 1 for SPMV."""
    channels = matrix.shape[1] if kind != c.FIL_OP_DWCONV else len(matrix)
    side = 1 if kind == c.FIL_OP_SPMV else side
    k = 3 if kind == c.FIL_OP_DWCONV else 1
    params = ConvParams(channels, side, side, side, side, cs=side * side, ys=side, kh=k, kw=k)
    op = Op(kind, "layer", ("x",), "y", params, weights="w")
    x = Tensor("x", (channels, side * side), 1, side * side, Place.INPUT)
    y = Tensor("y", (len(matrix), side * side), 1, side * side, Place.OUTPUT)
    bias = np.zeros(len(matrix), np.float32)
    return programs.program([x, y], [op], w=Weights("layer", matrix, bias))


def choose(
    matrix: F32, kind: int = c.FIL_OP_SPMM, *, costs: CostTable = COSTS, **how: str
) -> Choice:
    _, (choice,) = pack(one_layer(matrix, kind), costs=costs, **how)
    return choice


@pytest.mark.parametrize("block", [1, 2, 4, 8])
def test_many_zeros_in_blocks_are_stored_as_blocks(block: int) -> None:
    choice = choose(sparse(64, 128, zeros=0.9, block=block))
    assert choice.pattern == f"{block}x1"
    assert choice.fill == 0
    assert choice.sparsity == pytest.approx(0.9, abs=0.02)
    assert choice.predicted_ns < choice.predicted_dense_ns
    gain = choice.predicted_dense_ns / choice.predicted_ns
    assert choice.reason == f"predicted {gain:.1f}x faster than dense"
    assert choice.kernel == f"spmm/{block}x1/d8"
    assert choice.stored_bytes < 0.2 * choice.dense_bytes


def test_few_zeros_stay_dense_and_say_how_many_are_needed() -> None:
    choice = choose(sparse(64, 128, zeros=0.05, block=1))
    assert choice.pattern == "dense"
    assert choice.kernel == "spmm/8x1/dense"
    assert "sparsity at this shape for a gain, has 5%" in choice.reason


def test_no_zeros() -> None:
    assert choose(np.ones((8, 8), np.float32)).reason == "no weight is zero"


def test_scattered_zeros_say_so() -> None:
    tall = COSTS.panel["8x1"]  # the cost of a tall block for a short one
    slow = dataclasses.replace(COSTS, panel={**COSTS.panel, "1x1": tall, "2x1": tall})
    choice = choose(sparse(64, 128, zeros=0.4, block=1), costs=slow)
    assert choice.pattern == "dense"
    assert choice.reason.startswith("zeros are scattered: ")


def test_depthwise_is_dense() -> None:
    choice = choose(sparse(16, 9, zeros=0.9, block=1), c.FIL_OP_DWCONV)
    assert (choice.pattern, choice.reason) == ("dense", "depthwise: kernels are dense")
    assert choice.kernel == "dwconv/1x1/dense"


def test_dense_products_with_a_vector_are_tall() -> None:
    program, (choice,) = pack(one_layer(np.ones((20, 8), np.float32), c.FIL_OP_SPMV), costs=COSTS)
    assert choice.kernel == "spmv/16x1/dense"
    assert program.weights["w"].packing is not None
    assert program.weights["w"].packing.block_rows == 16


@pytest.mark.parametrize("asked", ["1x1", "2x1", "4x1", "8x1"])
def test_as_asked(asked: str) -> None:
    choice = choose(sparse(64, 128, zeros=0.5, block=8), pattern=asked)
    assert (choice.pattern, choice.reason) == (asked, f"{asked} asked for")


def test_as_asked_needs_a_zero_block() -> None:
    matrix = np.tri(8, 8, dtype=np.float32)
    matrix[7] = 1
    assert choose(matrix, pattern="8x1").reason == "no 8x1 block is zero"
    assert choose(matrix, pattern="8x1").pattern == "dense"


def test_dense_asked_for() -> None:
    assert choose(sparse(8, 8, zeros=0.9), pattern="dense").reason == "dense asked for"


def test_smallest_for_size() -> None:
    matrix = sparse(64, 128, zeros=0.5, block=2)
    choice = choose(matrix, objective="size")
    sizes = {o: pattern.stats(matrix, o).nbytes for o in (1, 2, 4, 8)}
    assert choice.stored_bytes == min(sizes.values())
    assert choice.pattern == "2x1"
    assert choice.reason.endswith("x smaller than dense")


def test_unknown_pattern() -> None:
    with pytest.raises(UsageError, match="3x1"):
        choose(np.ones((2, 2), np.float32), pattern="3x1")


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 60),
    st.floats(0, 1),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([c.FIL_OP_SPMM, c.FIL_OP_SPMV]),
)
def test_packing_is_lossless_and_never_predicted_slower(
    rows: int, cols: int, zeros: float, block: int, kind: int
) -> None:
    matrix = sparse(rows, cols, zeros=zeros, block=block)
    program, (choice,) = pack(one_layer(matrix, kind), costs=COSTS)
    packing = program.weights["w"].packing
    assert packing is not None
    assert np.array_equal(pattern.decode(packing, rows=rows, cols=cols), matrix)
    assert packing.nbytes == choice.stored_bytes
    assert choice.predicted_ns <= choice.predicted_dense_ns
    assert choice.reason
