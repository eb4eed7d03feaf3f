"""Magnitude: keep the blocks of the largest L1 norm, sum over a block's rows of |w|.

Source: Lin et al. 2022, "1xN Pattern for Pruning Convolutional Neural Networks" (IEEE TPAMI),
after Han et al. 2015.
"""

from __future__ import annotations

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Goal, Layer, block_sums
from filigree.converter.sparsity.methods.blocks import choose, cut
from filigree.converter.sparsity.methods.registry import METHODS, Method


def score(layer: Layer) -> F64:
    """|w|, [rows, cols]."""
    return np.abs(layer.matrix.astype(np.float64))


def prune(layer: Layer, goal: Goal, *, seed: int) -> F32:
    """The layer's weights [rows, cols] in the blocks kept, zeros elsewhere."""
    return cut(layer, goal, choose(layer, goal, block_sums(score(layer), goal.block_rows)))


METHODS["magnitude"] = Method(
    name="magnitude",
    source="Lin et al. 2022 (1xN pattern); Han et al. 2015",
    needs_gram=False,
    prune=prune,
    score=score,
)
