"""What a grouping is worth, in whole numbers, so that no decision hangs on rounding.

A *unit* is a row, or several rows that stay together; the last unit is the empty one, which fills a
short group. ``members`` [groups, units of a group] are indices of units.
"""

from __future__ import annotations

import math
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from filigree.converter.sparsity.layer import F64, Mask
from filigree.converter.sparsity.pattern import Ints

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
T = TypeVar("T", bound=np.generic)
LARGEST_SUM = 2**31  # of one group's scores over all columns: sums stay int32
FINEST = 2**20  # steps of one score


class Objective(Protocol):
    """To be maximised."""

    chunk: int  # how many groups one assignment takes
    column_seconds: float  # of ``weights``, for a pair and a column, on a plain core

    def measure(self, members: Ints) -> tuple[int, int]:
        """(worth of a grouping, price of a block: what a block must be worth to be stored)."""

    def weights(self, kept: Ints, moved: Ints, price: int) -> F64:
        """[groups, groups]: what ``kept`` [groups, a] row i and ``moved`` [groups, b] row j are
        worth as one group, up to a constant per row and per column."""


class Blocks:
    """Stored blocks, negated. The worth of a pair of sets is the overlap of their unions."""

    chunk = 256
    column_seconds = 5e-11

    def __init__(self, units: Mask) -> None:
        """``units`` [units, cols], without the empty one."""
        self.present: F32 = _with_empty(units.astype(np.float32))

    def union(self, sets: Ints) -> F32:
        """[sets, n] to the union of each set's columns, as 0 and 1: [sets, cols]."""
        found = self.present[sets[:, 0]]
        for column in range(1, sets.shape[1]):
            np.maximum(found, self.present[sets[:, column]], out=found)
        return found

    def measure(self, members: Ints) -> tuple[int, int]:
        return -int(np.count_nonzero(self.union(members))), 1

    def weights(self, kept: Ints, moved: Ints, price: int) -> F64:
        overlap: F64 = (self.union(kept) @ self.union(moved).T).astype(np.float64)
        return overlap


class Kept:
    """Sum of the ``keep`` largest block scores.

    With the price t at the keep-th largest score that sum is keep * t + sum max(score - t, 0), and
    at any other t it is at most that: at a fixed t groups do not interact, and to first order
    nothing is lost by fixing it. Scores are clipped where every grouping keeps the block (which
    lowers all groupings alike) and rounded to whole steps.
    """

    chunk = 128
    column_seconds = 8e-10

    def __init__(self, scores: F64, block_rows: int, keep: int) -> None:
        """``scores`` [rows, cols]; 0 < keep < blocks."""
        ceiling = _highest_price(scores, block_rows, keep)
        steps = min(FINEST, (LARGEST_SUM - 1) // (2 * block_rows * scores.shape[1]))
        self.step = ceiling / max(steps, 1) or 1.0
        self.keep = keep
        whole = np.rint(np.minimum(scores, ceiling) / self.step).astype(np.int32)
        self.scores: I32 = _with_empty(whole)

    def sums(self, sets: Ints) -> I32:
        """[sets, n] to the scores of each set's blocks: [sets, cols]."""
        found = self.scores[sets[:, 0]]
        for column in range(1, sets.shape[1]):
            found += self.scores[sets[:, column]]
        return found

    def measure(self, members: Ints) -> tuple[int, int]:
        blocks = self.sums(members).reshape(-1)
        cut = blocks.size - self.keep
        largest = np.partition(blocks, cut)[cut:]
        return int(largest.sum(dtype=np.int64)), int(largest[0])

    def weights(self, kept: Ints, moved: Ints, price: int) -> F64:
        one, other = self.sums(kept), self.sums(moved)
        found = np.empty((len(one), len(other)))
        work = np.empty_like(other)
        for i, row in enumerate(one):  # max(row + other - price, 0), less row - price
            np.maximum(other, price - row, out=work)
            found[i] = work.sum(axis=1, dtype=np.int32)
        return found


def _highest_price(scores: F64, block_rows: int, keep: int) -> float:
    """A power of two that no grouping's keep-th largest block score exceeds: that is at most the
    mean of the kept, and block_rows times the keep-th largest single score (for among the members
    of each kept block one has at least that share). 0: every grouping keeps all."""
    flat = scores.reshape(-1)
    single = float(np.partition(flat, flat.size - keep)[flat.size - keep])
    highest = min(block_rows * single, float(scores.sum()) / keep)
    return math.ldexp(1.0, math.frexp(highest)[1]) if highest > 0 else 0.0


def _with_empty(units: NDArray[T]) -> NDArray[T]:
    return np.concatenate([units, np.zeros((1, units.shape[1]), units.dtype)])
