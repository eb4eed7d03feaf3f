"""Random: keep blocks drawn uniformly, the baseline that any score has to beat.

Source: Liu et al. 2022, "The Unreasonable Effectiveness of Random Pruning" (ICLR). The draw depends
on ``seed`` and on the layer's name, so that layers of one shape get different masks.
"""

from __future__ import annotations

import zlib

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import Goal, Layer
from filigree.converter.sparsity.methods.blocks import choose, cut
from filigree.converter.sparsity.methods.registry import METHODS, Method


def prune(layer: Layer, goal: Goal, *, seed: int) -> F32:
    """The layer's weights [rows, cols] in the blocks kept, zeros elsewhere."""
    # a named bit generator: default_rng may change between versions of numpy
    draw = np.random.Generator(np.random.PCG64([seed, zlib.crc32(layer.name.encode())]))
    return cut(layer, goal, choose(layer, goal, draw.random((goal.groups(layer.rows), layer.cols))))


METHODS["random"] = Method(
    name="random",
    source="Liu et al. 2022 (random pruning)",
    needs_gram=False,
    prune=prune,
    score=None,
)
