"""The Ox1 patterns: decode(encode(W)) is W, and the statistics are what is stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity import pattern
from filigree.native import enums as c


def sparse_matrix(rows: int, cols: int, *, density: float, seed: int = 0) -> F32:
    draw = np.random.default_rng(seed)
    keep = draw.random((rows, cols)) < density
    values = draw.standard_normal((rows, cols)) + 3
    return np.where(keep, values, 0).astype(np.float32)


matrices = st.builds(
    sparse_matrix,
    st.integers(1, 37),
    st.sampled_from([1, 2, 7, 64, 255, 256, 257, 511, 513, 1200]),
    density=st.sampled_from([0.0, 0.001, 0.01, 0.2, 0.9, 1.0]),
    seed=st.integers(0, 1000),
)


def reference_columns(packing: pattern.Packing) -> list[int]:
    """Walk the index list as the format's text says."""
    assert packing.counts is not None and packing.index is not None
    found, at = [], 0
    for count in packing.counts:
        column = 0
        for step in packing.index[at : at + count]:
            column = int(step) if packing.coding == c.FIL_CODING_U16 else column + int(step)
            found.append(column)
        at += count
    return found


@settings(deadline=None)
@given(matrices, st.sampled_from(pattern.BLOCK_ROWS))
def test_encode_then_decode_is_identity(matrix: F32, block_rows: int) -> None:
    bias = np.arange(matrix.shape[0], dtype=np.float32)
    packing = pattern.encode(matrix, bias, block_rows=block_rows)
    rows, cols = matrix.shape
    assert np.array_equal(pattern.decode(packing, rows=rows, cols=cols), matrix)
    assert np.array_equal(packing.bias[:rows], bias) and not packing.bias[rows:].any()
    assert pattern.columns(packing).tolist() == reference_columns(packing)
    assert pattern.count_bridges(packing) == packing.bridges


@settings(deadline=None)
@given(matrices, st.sampled_from(pattern.BLOCK_ROWS))
def test_stats_are_what_is_stored(matrix: F32, block_rows: int) -> None:
    packing = pattern.encode(matrix, np.zeros(len(matrix), np.float32), block_rows=block_rows)
    stats = pattern.stats(matrix, block_rows)
    assert (stats.coding, stats.blocks, stats.bridges) == (
        packing.coding,
        packing.blocks,
        packing.bridges,
    )
    assert stats.nbytes == packing.nbytes
    stored = packing.values.size
    zeros = int(np.count_nonzero(packing.values == 0))
    assert stats.fill == pytest.approx(zeros / stored if stored else 0)


@settings(deadline=None)
@given(matrices, st.sampled_from(pattern.BLOCK_ROWS))
def test_halves(matrix: F32, block_rows: int) -> None:
    matrix = matrix.astype(np.float16).astype(np.float32)
    (rows, cols), bias = matrix.shape, np.zeros(len(matrix), np.float32)
    packing = pattern.encode(matrix, bias, block_rows=block_rows, dtype="float16")
    dense = pattern.encode_dense(matrix, bias, block_rows=block_rows, dtype="float16")
    for made in (packing, dense):
        assert made.values.dtype == np.float16
        back = pattern.decode(made, rows=rows, cols=cols)
        assert back.dtype == np.float32 and np.array_equal(back, matrix)
    stats = pattern.stats(matrix, block_rows, dtype="float16")
    assert (stats.coding, stats.blocks) == (packing.coding, packing.blocks)
    assert stats.nbytes == packing.nbytes
    stats = pattern.dense_stats(rows, cols, block_rows=block_rows, dtype="float16")
    assert stats.nbytes == dense.nbytes


@settings(deadline=None)
@given(matrices, st.sampled_from(pattern.BLOCK_ROWS))
def test_dense_is_identity(matrix: F32, block_rows: int) -> None:
    rows, cols = matrix.shape
    packing = pattern.encode_dense(matrix, np.zeros(rows, np.float32), block_rows=block_rows)
    assert packing.coding == c.FIL_CODING_NONE and packing.index is None
    assert np.array_equal(pattern.decode(packing, rows=rows, cols=cols), matrix)
    stats = pattern.dense_stats(rows, cols, block_rows=block_rows)
    assert (stats.blocks, stats.nbytes) == (packing.blocks, packing.nbytes)


@pytest.mark.parametrize(
    ("column", "steps"),
    [
        (0, [0]),
        (255, [255]),
        (256, [255, 1]),
        (510, [255, 255]),
        (511, [255, 255, 1]),
    ],
)
def test_long_steps_are_bridged(column: int, steps: list[int]) -> None:
    matrix = np.zeros((1, 512), np.float32)
    matrix[0, column] = 1
    packing = pattern._bridged(matrix[:, [column]], pattern._steps(matrix != 0))
    assert packing[1].tolist() == steps
    assert packing[0].reshape(-1).tolist() == [0.0] * (len(steps) - 1) + [1.0]


def test_the_smaller_coding_wins() -> None:
    close, far = np.zeros((1, 4000), np.float32), np.zeros((1, 4000), np.float32)
    close[0, ::200], far[0, ::1000] = 1, 1
    bias = np.zeros(1, np.float32)
    assert pattern.encode(close, bias, block_rows=1).coding == c.FIL_CODING_D8
    assert pattern.encode(far, bias, block_rows=1).coding == c.FIL_CODING_U16


def test_blocks_are_group_by_group_with_rows_inside() -> None:
    matrix = np.array([[1, 0, 2], [3, 0, 0], [0, 4, 0]], np.float32)
    packing = pattern.encode(matrix, np.zeros(3, np.float32), block_rows=2)
    assert packing.values.tolist() == [1, 3, 2, 0, 4, 0]
    assert packing.index is not None and packing.index.tolist() == [0, 2, 1]
    assert packing.counts is not None and packing.counts.tolist() == [2, 1]


def test_unknown_block_height_is_refused() -> None:
    with pytest.raises(ValueError, match="block height 3"):
        pattern.encode(np.ones((3, 3), np.float32), np.zeros(3, np.float32), block_rows=3)
