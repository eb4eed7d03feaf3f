"""Layers to prune, with inputs that are correlated as those of networks are."""

from __future__ import annotations

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Layer


def inputs(cols: int, samples: int, *, seed: int = 0) -> F64:
    """Columns x [cols, samples]: a spectrum that falls, means that are not zero, unequal scales."""
    draw = np.random.default_rng(seed)
    mixing = draw.standard_normal((cols, cols)) / np.arange(1, cols + 1)
    scale = np.exp(0.5 * draw.standard_normal((cols, 1)))
    noise = 0.1 * draw.standard_normal((cols, samples))
    return scale * (mixing @ draw.standard_normal((cols, samples)) + noise + 0.2)


def weights(rows: int, cols: int, *, seed: int = 0) -> F32:
    draw = np.random.default_rng(seed + 1)
    return draw.standard_normal((rows, cols)).astype(np.float32)


def layer(rows: int, cols: int, *, samples: int | None = None, seed: int = 0) -> Layer:
    """``samples``: four per column by default."""
    x = inputs(cols, samples or 4 * cols, seed=seed)
    matrix = weights(rows, cols, seed=seed)
    return Layer("conv1", matrix, gram=x @ x.T / x.shape[1], mean=x.mean(axis=1))


def error(layer: Layer, matrix: F32) -> float:
    """E|W x - W_s x|^2 as a share of E|W x|^2."""
    assert layer.gram is not None
    original = layer.matrix.astype(np.float64)
    difference = original - matrix
    lost = float(np.sum(difference * (difference @ layer.gram)))
    return lost / float(np.sum(original * (original @ layer.gram)))
