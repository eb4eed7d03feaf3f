"""WGSEF: keep the k blocks of the largest weighted L2 norm, d_c * ||w_block||_2.

Source: Refael, Arbel, Huleihel 2022, "Learning k-Level Structured Sparse Neural Networks Using
Group Envelope Regularization" (arXiv 2212.12921). The envelope is that of |w|^2 / 2 under "at most
k groups are nonzero"; the projection onto that set keeps the k groups of the largest norm as they
are, and that is what pruning at once does. The weight d_c of column c is the root mean square of
its input, sqrt(gram_cc), where there is calibration data: the norm squared is then what the block
adds to the output's power if inputs are uncorrelated. Without: d_c = 1.
"""

from __future__ import annotations

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Goal, Layer, block_sums
from filigree.converter.sparsity.methods.blocks import choose, cut
from filigree.converter.sparsity.methods.registry import METHODS, Method


def score(layer: Layer) -> F64:
    """(d_c * w)^2, [rows, cols]: a block's sum is its norm squared, of the same order."""
    squares = layer.matrix.astype(np.float64) ** 2
    return squares if layer.gram is None else squares * np.diag(layer.gram)


def prune(layer: Layer, goal: Goal, *, seed: int) -> F32:
    """The layer's weights [rows, cols] in the blocks kept, zeros elsewhere."""
    return cut(layer, goal, choose(layer, goal, block_sums(score(layer), goal.block_rows)))


METHODS["wgsef"] = Method(
    name="wgsef",
    source="Refael, Arbel, Huleihel 2022 (WGSEF)",
    needs_gram=False,
    prune=prune,
    score=score,
)
