"""Soups of sparse models: the average of checkpoints that share one mask.

Source: Zimmer et al. 2023, "Sparse Model Soups: A Recipe for Improved Pruning via Model Averaging".
Retrained several times from one pruned model, its weights can be averaged without losing a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64
from filigree.converter.sparsity.methods.blocks import TINY


def soup(checkpoints: Sequence[Mapping[str, F32]]) -> dict[str, F32]:
    """The mean of each tensor over ``checkpoints``, names in the order of the first.

    Zeros stay exact, and a weight that is not zero in the checkpoints does not become zero: where
    the mean would, it is the least normal float32. Raises ValueError if there is no checkpoint, and
    for the first tensor that one of them lacks, or whose shape or zeros differ.
    """
    if not checkpoints:
        raise ValueError("a soup needs at least one checkpoint")
    first = checkpoints[0]
    for index, other in enumerate(checkpoints[1:], start=1):
        _require_same(first, other, index)
    return {name: _mean([c[name] for c in checkpoints]) for name in first}


def _require_same(first: Mapping[str, F32], other: Mapping[str, F32], index: int) -> None:
    for name in (*first, *(n for n in other if n not in first)):
        if name not in first or name not in other:
            lacking = index if name in first else 0
            raise ValueError(f'tensor "{name}": checkpoint {lacking} does not have it')
        a, b = first[name], other[name]
        if a.shape != b.shape:
            raise ValueError(
                f'tensor "{name}": shape {b.shape} in checkpoint {index}, {a.shape} in checkpoint 0'
            )
        if differing := np.count_nonzero((a != 0) != (b != 0)):
            raise ValueError(
                f'tensor "{name}": checkpoint {index} has another mask than checkpoint 0'
                f" ({differing} of {a.size} weights differ)"
            )


def _mean(tensors: Sequence[F32]) -> F32:
    total: F64 = np.zeros(tensors[0].shape)
    for tensor in tensors:
        total += tensor
    mean = (total / len(tensors)).astype(np.float32)
    mask = tensors[0] != 0
    return np.where(mask, np.where(mean == 0, TINY, mean), np.float32(0))
