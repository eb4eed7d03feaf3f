"""Weights stored as int4: a matrix in its blocks to whole numbers of -8 to 7 and a scale for each
row of each run of FIL_RUN stored blocks.

Group-wise quantisation of what pruning has left is GQSA's idea (Zeng et al., "GQSA: Group
Quantization and Sparsity for Accelerating Large Language Model Inference", 2024). Rules, per row
and run:
1. scales are tried that put the weight of largest magnitude at -8 or at 7, or, cut by FACTORS,
   beyond; the one with the least squared error wins, the first of equals;
2. scales are float16, and weights are rounded against the rounded scale;
3. zeros stay zeros.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from filigree.converter.lowering.program import F16, F32, Packing
from filigree.native import enums as c

LOW, HIGH = -8, 7
FACTORS = tuple(float(1 - cut / 20) for cut in range(9))  # 1, 0.95, ... 0.6
UNIT = 16  # nibbles of 8 bytes, to which a group's are filled up

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


def quantized(packing: Packing, groups: int) -> Packing:
    """A packing of float32 weights, rounded to int4. ``groups``: how many it has."""
    o = packing.block_rows
    counts = _counts(packing, groups)
    blocks = packing.values.astype(np.float32).reshape(-1, o)
    run = runs_of(counts)
    runs = int(run[-1]) + 1 if run.size else 0
    within = np.arange(run.size) - np.searchsorted(run, run)
    lanes = np.zeros((runs, c.FIL_RUN, o), np.float32)
    lanes[run, within] = blocks
    rows = lanes.transpose(0, 2, 1).reshape(runs * o, c.FIL_RUN)
    scales = _best_scales(rows)
    numbers = _rounded(rows, scales).reshape(runs, o, c.FIL_RUN).transpose(0, 2, 1)[run, within]
    return replace(packing, values=_nibbles(numbers, counts), scales=scales)


def blocks_of(packing: Packing, groups: int) -> F32:
    """[blocks, block_rows] of the values that an int4 packing stands for; exact."""
    assert packing.scales is not None
    o = packing.block_rows
    counts = _counts(packing, groups)
    pairs = packing.values.astype(np.uint8)
    numbers = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)
    signed = (numbers.astype(np.int8) ^ 8) - 8
    stored = signed[_places(counts, o)].reshape(-1, o).astype(np.float32)
    scales = packing.scales.astype(np.float32).reshape(-1, o)
    return np.asarray(stored * scales[runs_of(counts)], np.float32)


def steps_of(packing: Packing, rows: int) -> NDArray[np.float32]:
    """The magnitude of the scale of every stored weight: [blocks * block_rows]."""
    assert packing.scales is not None
    counts = _counts(packing, -(-rows // packing.block_rows))
    scales = np.abs(packing.scales.astype(np.float32)).reshape(-1, packing.block_rows)
    return np.asarray(scales[runs_of(counts)].reshape(-1), np.float32)


def stored_bytes(counts: Ints, block_rows: int) -> int:
    """Bytes of the nibbles and scales of groups with so many blocks."""
    nibbles, scales = _sizes(counts, block_rows)
    return nibbles + 2 * scales


def stored_sizes(packing: Packing, groups: int) -> tuple[int, int]:
    """Bytes of the nibbles and the number of scales that a packing's counts ask for."""
    return _sizes(_counts(packing, groups), packing.block_rows)


def runs_of(counts: Ints) -> Ints:
    """The run of every stored block; every group starts one."""
    before = np.cumsum(-(-counts // c.FIL_RUN)) - -(-counts // c.FIL_RUN)
    at = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(before, counts) + at // c.FIL_RUN, np.int64)


def _sizes(counts: Ints, block_rows: int) -> tuple[int, int]:
    units = -(-counts * block_rows // UNIT)
    runs = -(-counts // c.FIL_RUN)
    return int(units.sum()) * UNIT // 2, int(runs.sum()) * block_rows


def _counts(packing: Packing, groups: int) -> Ints:
    if packing.counts is None:
        return np.full(groups, packing.blocks // max(groups, 1), np.int64)
    return packing.counts.astype(np.int64)


def _places(counts: Ints, o: int) -> Ints:
    """Where each weight's nibble lies: every group starts a unit."""
    room = -(-counts * o // UNIT) * UNIT
    starts = np.cumsum(room) - room
    within = np.arange(counts.sum() * o) - np.repeat((np.cumsum(counts) - counts) * o, counts * o)
    return np.asarray(np.repeat(starts, counts * o) + within, np.int64)


def _nibbles(numbers: NDArray[np.int8], counts: Ints) -> Bytes:
    o = numbers.shape[1]
    room = np.zeros(int((-(-counts * o // UNIT)).sum()) * UNIT, np.uint8)
    room[_places(counts, o)] = numbers.reshape(-1).astype(np.uint8) & 15
    return np.asarray(room[::2] | room[1::2] << 4, np.uint8)


def _rounded(rows: F32, scales: F16) -> NDArray[np.int8]:
    step = scales.astype(np.float64)[:, None]
    steps = np.divide(rows, step, out=np.zeros(rows.shape), where=step != 0)
    return np.clip(np.rint(steps), LOW, HIGH).astype(np.int8)


def _best_scales(rows: F32) -> F16:
    """One for each of ``rows`` [n, FIL_RUN]."""
    peak = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)[:, 0]
    best = np.zeros(len(rows), np.float16)
    least = np.full(len(rows), np.inf)
    for factor in FACTORS:
        for end in (LOW, HIGH):
            scales = (peak.astype(np.float64) * factor / end).astype(np.float16)
            values = _rounded(rows, scales) * scales.astype(np.float64)[:, None]
            error = np.square(values - rows).sum(axis=1)
            better = error < least
            best[better], least[better] = scales[better], error[better]
    return best
