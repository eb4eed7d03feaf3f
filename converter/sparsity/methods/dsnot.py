"""DSnoT: swap blocks of a mask while that brings the layer's expected error down; no training.

Source: Zhang et al. 2024, "Dynamic Sparse No Training" (ICLR), at block granularity and with the
second moments of the input in place of its mean and variance, so that a gain is a gain of the error
itself. With D = W - W_s of a group [O, cols], its error is E|D x|^2 = sum D * (D gram), and

    growing block c back to W_c changes it by  -2 W_c . (D gram)_c + |W_c|^2 gram_cc   (W_s,c = 0)
    pruning block c changes it by              +2 W_s,c . (D gram)_c + |W_s,c|^2 gram_cc

Per group: grow the block of the least change, then, D updated, prune the kept one of the least
change; stop at the first swap that does not lower the error. So it never rises, and every group
keeps as many blocks as it had. Under n of m, a block grown in a full window replaces one of it.
"""

from __future__ import annotations

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Goal, Layer, Mask, blocks_of, spread
from filigree.converter.sparsity.methods.blocks import settle
from filigree.converter.sparsity.methods.registry import REFINEMENTS, Refinement

LEAST_GAIN = 1e-9  # of the group's error: rounding must not keep swaps going round


def refine(layer: Layer, goal: Goal, *, mask: Mask, matrix: F32) -> F32:
    """``matrix`` [rows, cols] with blocks swapped: those grown have the layer's weights, those kept
    stay as they were. Raises ValueError without calibration data."""
    gram = layer.gram_for("dsnot")
    blocks = blocks_of(mask, goal.block_rows)
    original = layer.matrix.astype(np.float64)
    values = np.where(
        spread(blocks, block_rows=goal.block_rows, rows=layer.rows), matrix.astype(np.float64), 0.0
    )
    slopes = (original - values) @ gram
    for group, kept in enumerate(blocks):
        rows = slice(group * goal.block_rows, (group + 1) * goal.block_rows)
        _swap(original[rows], values[rows], kept, goal, gram=gram, slope=slopes[rows])
    return settle(layer, goal, blocks, values)


def _swap(original: F64, values: F64, kept: Mask, goal: Goal, *, gram: F64, slope: F64) -> None:
    """Swap blocks of one group in place: ``values`` [rows, cols] and ``kept`` [cols]; ``slope``
    [rows, cols] is D gram."""
    power = np.diag(gram)
    original_power = np.sum(original**2, axis=0) * power
    full = original_power > 0
    least = LEAST_GAIN * float(np.sum((original - values) * slope))
    while True:
        growth = original_power - 2 * np.sum(original * slope, axis=0)
        grown = _least(growth, full & ~kept)
        if grown is None:
            return
        after = slope - np.outer(original[:, grown], gram[grown])
        loss = np.sum(values * (2 * after + values * power), axis=0)
        pruned = _least(loss, _prunable(kept, grown, goal))
        if pruned is None or growth[grown] + loss[pruned] >= -least:
            return
        slope = after + np.outer(values[:, pruned], gram[pruned])
        values[:, grown], values[:, pruned] = original[:, grown], 0.0
        kept[grown], kept[pruned] = True, False


def _prunable(kept: Mask, grown: int, goal: Goal) -> Mask:
    """The kept blocks that may go for ``grown`` to come."""
    if goal.n_of_m is None:
        return kept
    n, m = goal.n_of_m
    window = np.arange(kept.size) // m == grown // m
    return kept & window if np.count_nonzero(kept & window) >= n else kept


def _least(values: F64, allowed: Mask) -> int | None:
    """Where the least of the ``allowed`` values is, the first of equals; None: none is allowed."""
    if not allowed.any():
        return None
    return int(np.argmin(np.where(allowed, values, np.inf)))


REFINEMENTS["dsnot"] = Refinement(
    name="dsnot",
    source="Zhang et al. 2024 (DSnoT)",
    needs_gram=True,
    refine=refine,
)
