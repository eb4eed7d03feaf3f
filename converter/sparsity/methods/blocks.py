"""What the methods share: choosing blocks, cutting the others, and the way back to float32.

A block that is present has a nonzero. Cut weights are +0.0. A kept block stays present: if all
its new values round to zero, its first row gets TINY, far below any rounding error of the layer, so
that the blocks of the result are the blocks chosen. A kept block that was all zeros before and got
no value stays so; the result then has fewer blocks than were chosen.
"""

from __future__ import annotations

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Goal, Layer, Mask, blocks_of, keep_best, spread

TINY = np.finfo(np.float32).tiny  # the least normal number: nothing flushes it to zero


def choose(layer: Layer, goal: Goal, scores: F64) -> Mask:
    """The blocks [groups, cols] of the highest ``scores`` [groups, cols], none of them negative;
    blocks that are all zeros already come last."""
    full = blocks_of(layer.matrix != 0, goal.block_rows)
    return keep_best(np.where(full, scores, -1.0), goal)


def cut(layer: Layer, goal: Goal, blocks: Mask) -> F32:
    """The layer's weights inside ``blocks`` [groups, cols], +0.0 outside."""
    mask = spread(blocks, block_rows=goal.block_rows, rows=layer.rows)
    return np.where(mask, layer.matrix, np.float32(0)) + np.float32(0)


def settle(layer: Layer, goal: Goal, blocks: Mask, values: F64) -> F32:
    """New ``values`` [rows, cols] of the layer inside ``blocks`` as float32, +0.0 outside."""
    mask = spread(blocks, block_rows=goal.block_rows, rows=layer.rows)
    inside = np.where(mask, values, 0.0)
    result = inside.astype(np.float32) + np.float32(0)
    had_value = blocks_of((inside != 0) | (layer.matrix != 0), goal.block_rows)
    lost = blocks & had_value & ~blocks_of(result != 0, goal.block_rows)
    group, column = np.nonzero(lost)
    result[group * goal.block_rows, column] = TINY
    return result


def damped(gram: F64, share: float) -> F64:
    """``gram`` + lambda I, lambda = ``share`` of the mean of its diagonal, or 1 for a zero gram."""
    damping = share * float(np.mean(np.diag(gram)))
    return gram + np.eye(gram.shape[0]) * (damping if damping > 0 else 1.0)
