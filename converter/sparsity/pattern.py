"""The ``Ox1`` patterns: a weight matrix to its stored form and back, exactly.

O neighbouring rows (a group) share one list of column indices; for each index all O values are
stored, zeros included (*fill*); of int8, four indices at a time (*quads*, zeros after a group's
last), the four weights of each row together. The function computed does not change. Indices are u8
steps or absolute u16 (``fil_coding``), whichever stores fewer bytes: a step over 255 is bridged by
stored blocks of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter.lowering.program import F32, I32, INT4, Packing, float_kind
from filigree.converter.sparsity import four_bits
from filigree.native import enums as c

BLOCK_ROWS = (1, 2, 4, 8, 16)
LONGEST_STEP = 255
QUAD = 4  # indices whose int8 weights lie together

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stats:
    """What a pattern would store of a matrix, biases left out.

    ``blocks``: stored blocks, ``bridges`` included; ``fill``: share of the stored values that are
    zeros (rows past the end and bridges included); ``nbytes``: values, index list and counts.
    """

    block_rows: int
    coding: int
    blocks: int
    bridges: int
    fill: float
    nbytes: int


@dataclass(frozen=True)
class _Steps:
    """Stored positions of a mask: ``group`` and ``column`` of each present block, in order, and
    the number of bridging blocks right before each (``bridges``), were steps u8."""

    group: Ints  # [present]
    column: Ints  # [present]
    step: Ints  # [present], from the previous present block of the group, the first from 0
    bridges: Ints  # [present]


def dense_block_rows(kind: int, rows: int) -> int:
    """The block height in which kernels of an op kind want the dense weights of a layer with
    ``rows``: no higher than holds them all."""
    if float_kind(kind) == c.FIL_OP_DWCONV:
        return 1
    most = 16 if float_kind(kind) == c.FIL_OP_SPMV else 8
    return min(most, 1 << (rows - 1).bit_length())


def block_mask(matrix: F32, block_rows: int) -> Mask:
    """Which (group, column) blocks hold a nonzero: [groups, cols]."""
    groups = -(-matrix.shape[0] // block_rows)
    starts = np.arange(groups) * block_rows
    return np.logical_or.reduceat(matrix != 0, starts, axis=0)


def stats(matrix: F32, block_rows: int, *, dtype: str = "float32") -> Stats:
    """What ``encode`` would store, without building it."""
    return _stats(matrix, block_rows, _steps(block_mask(matrix, block_rows)), dtype)


def dense_stats(rows: int, cols: int, *, block_rows: int, dtype: str = "float32") -> Stats:
    """What ``encode_dense`` would store; zeros of a dense layer do not count as fill."""
    groups = -(-rows // block_rows)
    blocks = groups * cols
    nbytes = _value_bytes(np.full(groups, cols), block_rows, dtype)
    return Stats(block_rows, c.FIL_CODING_NONE, blocks, 0, 0.0, nbytes)


def encode(matrix: F32, bias: F32 | I32, *, block_rows: int, dtype: str = "float32") -> Packing:
    """Store ``matrix`` [rows, cols] in ``block_rows`` x 1 blocks with the smaller index coding.

    ``dtype``: of the stored values; ``matrix`` has been rounded to it.
    Of int4 this is done here, after which ``decode`` says what they stand for.
    Raises ValueError for a block height that is not in BLOCK_ROWS.
    """
    _require_block_rows(block_rows)
    steps = _steps(block_mask(matrix, block_rows))
    found = _stats(matrix, block_rows, steps, dtype)
    grouped = _grouped(matrix, block_rows)
    groups = grouped.shape[0]
    present = grouped[steps.group, :, steps.column]
    counts = np.bincount(steps.group, minlength=groups)
    index: NDArray[np.uint8] | NDArray[np.uint16] = steps.column.astype(np.uint16)
    if found.coding == c.FIL_CODING_D8:
        counts = np.bincount(steps.group, 1 + steps.bridges, minlength=groups)
        present, index = _bridged(present, steps)
    packing = Packing(
        block_rows=block_rows,
        coding=found.coding,
        blocks=found.blocks,
        values=_stored(present, counts, dtype),
        index=index,
        counts=counts.astype(np.uint16),
        bias=_padded(bias, groups * block_rows),
        bridges=found.bridges,
    )
    return four_bits.quantized(packing, groups) if dtype == INT4 else packing


def encode_dense(
    matrix: F32, bias: F32 | I32, *, block_rows: int, dtype: str = "float32"
) -> Packing:
    """Store every value: no index list (``FIL_CODING_NONE``)."""
    _require_block_rows(block_rows)
    grouped = _grouped(matrix, block_rows)
    groups, _, cols = grouped.shape
    packing = Packing(
        block_rows=block_rows,
        coding=c.FIL_CODING_NONE,
        blocks=groups * cols,
        values=_stored(
            grouped.transpose(0, 2, 1).reshape(-1, block_rows), np.full(groups, cols), dtype
        ),
        index=None,
        counts=None,
        bias=_padded(bias, groups * block_rows),
    )
    return four_bits.quantized(packing, groups) if dtype == INT4 else packing


def decode(packing: Packing, *, rows: int, cols: int) -> F32:
    """The matrix [rows, cols] that ``packing`` stores. The packing must be valid."""
    o = packing.block_rows
    groups = -(-rows // o)
    blocks = _blocks(packing, groups)
    if packing.counts is None:
        grouped = blocks.reshape(groups, cols, o).transpose(0, 2, 1)
        return np.ascontiguousarray(grouped.reshape(groups * o, cols)[:rows], np.float32)
    grouped = np.zeros((groups, o, cols), np.float32)
    group = np.repeat(np.arange(groups), packing.counts)
    grouped[group, :, columns(packing)] = blocks
    return np.ascontiguousarray(grouped.reshape(groups * o, cols)[:rows])


def columns(packing: Packing) -> Ints:
    """Absolute column of every stored block, bridges included: [blocks]. Not for dense."""
    if packing.index is None or packing.counts is None:
        raise ValueError("a dense packing has no index list")
    index = packing.index.astype(np.int64)
    if packing.coding == c.FIL_CODING_U16:
        return index
    counts = packing.counts.astype(np.int64)
    total: Ints = np.cumsum(index)
    before = np.concatenate([[0], total])[np.cumsum(counts) - counts]
    result: Ints = total - np.repeat(before, counts)
    return result


def in_quads(blocks: int, groups: int, counts: NDArray[np.uint16] | None) -> int:
    """Blocks that int8 weights take with those that fill up their groups' last quads."""
    each = np.full(groups, blocks // groups) if counts is None else counts.astype(np.int64)
    return int((-(-each // QUAD)).sum()) * QUAD


def widened(packing: Packing, *, rows: int) -> Packing:
    """An int4 packing as one of float32 weights that are the same."""
    values = _blocks(packing, -(-rows // packing.block_rows)).astype(np.float32).reshape(-1)
    return replace(packing, values=values, scales=None)


def count_bridges(packing: Packing) -> int:
    """Stored blocks that a u8 step of 255 leads to and that hold only zeros."""
    if packing.coding != c.FIL_CODING_D8 or packing.index is None:
        return 0
    empty = ~_blocks(packing, 0).any(axis=1)
    return int(np.count_nonzero(empty & (packing.index == LONGEST_STEP)))


def _require_block_rows(block_rows: int) -> None:
    if block_rows not in BLOCK_ROWS:
        raise ValueError(f"block height {block_rows} is not one of {BLOCK_ROWS}")


def _grouped(matrix: F32, block_rows: int) -> F32:
    """[groups, block_rows, cols], zero rows past the end."""
    rows, cols = matrix.shape
    groups = -(-rows // block_rows)
    if groups * block_rows == rows:
        return matrix.reshape(groups, block_rows, cols)
    padded = np.zeros((groups * block_rows, cols), np.float32)
    padded[:rows] = matrix
    return padded.reshape(groups, block_rows, cols)


def _padded(per_row: F32 | I32, count: int) -> Any:
    padded = np.zeros(count, per_row.dtype)
    padded[: per_row.size] = per_row
    return padded


def with_multipliers(packing: Packing, multipliers: F32) -> Packing:
    """An int8 packing with its rows' multipliers [rows]."""
    return replace(packing, multipliers=_padded(multipliers, packing.bias.size))


def _places(counts: Ints) -> Ints:
    """Where each block lies among those of quads: every group starts a quad."""
    room = -(-counts // QUAD) * QUAD
    starts = np.cumsum(room) - room
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(starts, counts) + within, np.int64)


def _stored(blocks: F32, counts: NDArray[Any], dtype: str) -> Any:
    """Blocks [blocks, block_rows], so many of each group, in the order of storage."""
    if dtype != "int8":
        element = "float32" if dtype == INT4 else dtype  # not yet rounded
        return np.ascontiguousarray(blocks).reshape(-1).astype(element)
    counts = counts.astype(np.int64)
    quads = int((-(-counts // QUAD)).sum())
    room = np.zeros((quads * QUAD, blocks.shape[1]), np.int8)
    room[_places(counts)] = blocks
    return np.ascontiguousarray(room.reshape(quads, QUAD, -1).transpose(0, 2, 1)).reshape(-1)


def _blocks(packing: Packing, groups: int) -> NDArray[Any]:
    """[blocks, block_rows] of the values as stored; ``groups``: of a dense packing."""
    o = packing.block_rows
    if packing.scales is not None:
        return four_bits.blocks_of(packing, groups)
    if packing.values.dtype != np.int8:
        return packing.values.reshape(-1, o)
    counts = packing.counts
    each = np.full(groups, packing.blocks // max(groups, 1)) if counts is None else counts
    rows = packing.values.reshape(-1, o, QUAD).transpose(0, 2, 1).reshape(-1, o)
    return np.asarray(rows[_places(each.astype(np.int64))])


def _steps(mask: Mask) -> _Steps:
    group, column = np.nonzero(mask)
    step = np.diff(column, prepend=0)
    first = np.diff(group, prepend=-1) != 0
    step = np.where(first, column, step)
    return _Steps(group, column, step, np.maximum(step - 1, 0) // LONGEST_STEP)


def _stats(matrix: F32, block_rows: int, steps: _Steps, dtype: str) -> Stats:
    present, bridges = steps.column.size, int(steps.bridges.sum())
    groups = -(-matrix.shape[0] // block_rows)
    counts = np.bincount(steps.group, minlength=groups)
    bridged = np.bincount(steps.group, 1 + steps.bridges, minlength=groups).astype(np.int64)
    u8_bytes = _value_bytes(bridged, block_rows, dtype) + present + bridges
    u16_bytes = _value_bytes(counts, block_rows, dtype) + 2 * present
    use_u8 = u8_bytes <= u16_bytes
    blocks = present + bridges if use_u8 else present
    nonzeros = int(np.count_nonzero(matrix))
    return Stats(
        block_rows=block_rows,
        coding=c.FIL_CODING_D8 if use_u8 else c.FIL_CODING_U16,
        blocks=blocks,
        bridges=bridges if use_u8 else 0,
        fill=1 - nonzeros / (blocks * block_rows) if blocks else 0.0,
        nbytes=min(u8_bytes, u16_bytes) + 2 * groups,
    )


def _value_bytes(counts: Ints, block_rows: int, dtype: str) -> int:
    """Of groups that store so many blocks each; with the scales of int4."""
    if dtype == INT4:
        return four_bits.stored_bytes(counts, block_rows)
    stored = -(-counts // QUAD) * QUAD if dtype == "int8" else counts
    return np.dtype(dtype).itemsize * int(stored.sum()) * block_rows


def _bridged(present: F32, steps: _Steps) -> tuple[F32, NDArray[np.uint8]]:
    """Values and u8 steps with the bridging blocks put in."""
    at = np.arange(steps.column.size) + np.cumsum(steps.bridges)
    total = steps.column.size + int(steps.bridges.sum())
    values = np.zeros((total, present.shape[1]), np.float32)
    values[at] = present
    index = np.full(total, LONGEST_STEP, np.uint8)
    index[at] = (steps.step - LONGEST_STEP * steps.bridges).astype(np.uint8)
    return values, index
