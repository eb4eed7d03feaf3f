"""What a pruning method is given and asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filigree.converter.lowering.program import F32

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Layer:
    """One weight matrix to be pruned; its rows are in their final order.

    ``matrix`` [rows, cols]: cols run over (input channel, ky, kx). With calibration data:
    ``gram`` [cols, cols] is the mean of x x^T over input columns x [cols], ``mean`` [cols] that of
    x. Without: None.
    """

    name: str
    matrix: F32
    gram: F64 | None = None
    mean: F64 | None = None

    @property
    def rows(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def cols(self) -> int:
        return int(self.matrix.shape[1])

    def gram_for(self, method: str) -> F64:
        """``gram``. Raises ValueError naming the layer and the ``method`` if there is none."""
        if self.gram is None:
            raise ValueError(f'layer "{self.name}": {method} needs calibration data (no gram)')
        return self.gram


@dataclass(frozen=True)
class Goal:
    """What of a layer is to stay: ``keep`` blocks of ``block_rows`` neighbouring rows x 1 column.

    ``n_of_m`` (n, m): at most n blocks present among every m neighbouring columns of a group
    (columns m*i .. m*i+m-1); then ``keep`` may not be reached. The last group of rows may be
    shorter than ``block_rows``.
    """

    block_rows: int
    keep: int
    n_of_m: tuple[int, int] | None = None

    def groups(self, rows: int) -> int:
        """Groups of rows, the last one maybe short."""
        return -(-rows // self.block_rows)


def block_sums(values: F64, block_rows: int) -> F64:
    """[rows, cols] summed over each group's rows: [groups, cols]."""
    starts = np.arange(0, values.shape[0], block_rows)
    return np.add.reduceat(values, starts, axis=0)


def blocks_of(mask: Mask, block_rows: int) -> Mask:
    """A mask of weights [rows, cols] as one of blocks [groups, cols]: any weight makes a block."""
    return np.logical_or.reduceat(mask, np.arange(0, mask.shape[0], block_rows), axis=0)


def spread(blocks: Mask, *, block_rows: int, rows: int) -> Mask:
    """A mask of blocks [groups, cols] as one of weights [rows, cols]."""
    return np.repeat(blocks, block_rows, axis=0)[:rows]


def keep_best(scores: F64, goal: Goal) -> Mask:
    """The blocks [groups, cols] of the highest ``scores`` [groups, cols] that ``goal`` allows.

    Ties go to the lower index, so that equal input gives equal output everywhere.
    """
    allowed = np.ones(scores.shape, bool)
    if goal.n_of_m is not None:
        allowed = _best_n_of_m(scores, *goal.n_of_m)
    ranked = np.where(allowed, scores, -np.inf).reshape(-1)
    count = min(goal.keep, int(allowed.sum()))
    if count == 0:
        return np.zeros(scores.shape, bool)
    least = np.partition(ranked, ranked.size - count)[ranked.size - count]
    mask: Mask = ranked > least
    mask[np.flatnonzero(ranked == least)[: count - int(mask.sum())]] = True
    return mask.reshape(scores.shape)


def _best_n_of_m(scores: F64, n: int, m: int) -> Mask:
    groups, cols = scores.shape
    padded = np.full((groups, -(-cols // m) * m), -np.inf)
    padded[:, :cols] = scores
    windows = padded.reshape(groups, -1, m)
    rank = np.argsort(np.argsort(-windows, axis=2, kind="stable"), axis=2, kind="stable")
    return np.asarray((rank < n).reshape(groups, -1)[:, :cols])
