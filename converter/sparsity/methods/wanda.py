"""Wanda: keep the blocks of the largest sum of |w| * sqrt(E[x^2]), x the weight's input.

Source: Sun et al. 2023, "A Simple and Effective Pruning Approach for Large Language Models". The
paper compares the weights of one output; here the blocks of a layer compete with each other.
"""

from __future__ import annotations

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Goal, Layer, block_sums
from filigree.converter.sparsity.methods.blocks import choose, cut
from filigree.converter.sparsity.methods.registry import METHODS, Method


def score(layer: Layer) -> F64:
    """|w| * sqrt(E[x^2]), [rows, cols]. Raises ValueError without calibration data."""
    power = np.diag(layer.gram_for("wanda"))
    return np.abs(layer.matrix.astype(np.float64)) * np.sqrt(power)


def prune(layer: Layer, goal: Goal, *, seed: int) -> F32:
    """The layer's weights [rows, cols] in the blocks kept, zeros elsewhere.

    Raises ValueError without calibration data.
    """
    return cut(layer, goal, choose(layer, goal, block_sums(score(layer), goal.block_rows)))


METHODS["wanda"] = Method(
    name="wanda",
    source="Sun et al. 2023 (Wanda)",
    needs_gram=True,
    prune=prune,
    score=score,
)
