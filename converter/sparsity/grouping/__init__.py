"""Which rows become neighbours, so that groups of them share their input indices.

The lossless problem (fewest stored blocks for a given mask) and the lossy one (most kept for a
given number of blocks, a permuted 1xN pruning: Lin et al., "1xN Pattern for Pruning Convolutional
Neural Networks", 2022) are balanced clusterings and share one search:

1. starts: the rows as they are, sorted by L1 norm (the 1xN paper's order), and matched in pairs,
   pairs of pairs, ... (``matching``);
2. from the best of them, reassignment between all groups at once, annealed (``search``);
3. lossless: swaps of two rows, until none has a gain or time is up (``swaps``);
4. rows inside groups and groups among themselves are put in an order from which other block
   heights profit, too.

If that gains nothing, the rows stay as they are. Everything is counted in whole numbers and the
random numbers are seeded: the same input gives the same order, whatever the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from filigree.converter.sparsity.grouping.matching import nested, within
from filigree.converter.sparsity.grouping.objective import Blocks, Kept, Objective
from filigree.converter.sparsity.grouping.search import Progress, improve, order_of, start
from filigree.converter.sparsity.grouping.swaps import climb
from filigree.converter.sparsity.layer import F64, Mask, block_sums
from filigree.converter.sparsity.pattern import BLOCK_ROWS, Ints

__all__ = ["Progress", "kept_score", "lossless", "lossy", "stored_blocks"]

HEAT = {Blocks: 3.0, Kept: 1.0}
HEATED = 200  # rounds from which annealing pays
SECONDS = 0.05, 0.0025  # of the search at effort 1: at least, and by the root of the weights
CLIMBING = 0.3  # seconds of swaps for each of these, at most
MOST_MATCHED = 8192  # rows: matching needs a float32 for every pair
SINGLES = 3  # scores that count as large when lossy rows are matched, for each block kept


def lossless(
    mask: Mask, block_rows: int, *, effort: float = 1.0, progress: Progress | None = None
) -> Ints:
    """The order of rows that stores few blocks: new row i is old row order[i].

    ``mask`` [rows, cols] says where a nonzero is. Minimises ``stored_blocks``; never more than for
    the rows as they are or sorted by their number of nonzeros. ``effort`` scales the time spent;
    ``progress`` is called with the share done. Returns [rows]. Raises ValueError for a
    ``block_rows`` below 1.
    """
    mask = np.asarray(mask, bool)
    rows, cols = mask.shape
    identity = np.arange(rows)
    if _one_way(rows, cols, block_rows):
        return identity
    objective = Blocks(mask)
    starts = [identity, np.argsort(-mask.sum(axis=1), kind="stable")]
    starts += [nested(mask, block_rows)] if rows <= MOST_MATCHED else []
    members = _searched(objective, starts, block_rows, effort, progress)
    pass_seconds = 2 * Blocks.column_seconds * rows * rows * cols
    passes = math.ceil(CLIMBING * effort * _seconds(rows, cols) / pass_seconds)
    members = climb(objective, members, passes=passes)
    if objective.measure(members)[0] <= objective.measure(start(identity, block_rows))[0]:
        return identity
    return _arranged(members, mask, lambda full: np.logical_or.reduce(mask[full], axis=1))


def lossy(
    scores: F64,
    block_rows: int,
    keep: int,
    *,
    effort: float = 1.0,
    progress: Progress | None = None,
) -> Ints:
    """The order of rows whose ``keep`` best blocks hold much: new row i is old row order[i].

    ``scores`` [rows, cols] >= 0, such as magnitudes. Maximises ``kept_score``; never less than for
    the rows as they are or sorted by their sums. Scores are told apart to about 2^-20 of the
    largest that matters (coarser for thousands of columns). ``effort``, ``progress``: as for
    ``lossless``. Returns [rows]. Raises ValueError for a ``block_rows`` below 1, and for scores
    that are negative or not finite.
    """
    scores = np.asarray(scores, np.float64)
    rows, cols = scores.shape
    identity = np.arange(rows)
    if not np.all((scores >= 0) & np.isfinite(scores)):
        raise ValueError("scores must be finite and not negative")
    if _one_way(rows, cols, block_rows) or not 0 < keep < -(-rows // block_rows) * cols:
        return identity
    objective = Kept(scores, block_rows, keep)
    sums = objective.scores[:-1].sum(axis=1, dtype=np.int64)
    starts = [identity, np.argsort(-sums, kind="stable")]
    large = scores >= _rank(scores, min(SINGLES * keep, scores.size))
    starts += [nested(large, block_rows, rounds=0)] if rows <= MOST_MATCHED else []
    members = _searched(objective, starts, block_rows, effort, progress)
    choices = [identity, starts[1], order_of(members, rows)]
    values = [kept_score(scores, order, block_rows, keep) for order in choices]
    if values[2] <= max(values[:2]):
        return choices[int(np.argmax(values[:2]))]
    price = _rank(block_sums(scores[choices[2]], block_rows), keep)
    return _arranged(
        members, scores * block_rows >= price, lambda full: scores[full].sum(axis=1) >= price
    )


def stored_blocks(mask: Mask, order: Ints, block_rows: int) -> int:
    """Blocks that hold a nonzero when row i is row ``order[i]`` of ``mask`` [rows, cols]."""
    starts = np.arange(0, order.size, block_rows)
    if not starts.size:
        return 0
    return int(np.count_nonzero(np.logical_or.reduceat(mask[order], starts, axis=0)))


def kept_score(scores: F64, order: Ints, block_rows: int, keep: int) -> float:
    """Sum of the ``keep`` largest blocks (sums over a group's rows) when row i is row
    ``order[i]`` of ``scores`` [rows, cols]."""
    if not scores.size or keep <= 0:
        return 0.0
    blocks = block_sums(np.asarray(scores, np.float64)[order], block_rows).reshape(-1)
    cut = max(blocks.size - keep, 0)
    return float(math.fsum(np.partition(blocks, cut)[cut:] if cut else blocks))


def _one_way(rows: int, cols: int, block_rows: int) -> bool:
    """Every order is as good as any other."""
    if block_rows < 1:
        raise ValueError(f"block height {block_rows} is below 1")
    return block_rows == 1 or rows <= block_rows or cols == 0


def _rank(values: F64, nth: int) -> float:
    """The ``nth`` largest value, from 1."""
    flat = values.reshape(-1)
    return float(np.partition(flat, flat.size - nth)[flat.size - nth])


def _searched(
    objective: Blocks | Kept,
    starts: list[Ints],
    block_rows: int,
    effort: float,
    progress: Progress | None,
) -> Ints:
    """Members of the groups after the search from the best start; ties go to the earlier one."""
    rows = starts[0].size
    cols = (objective.present if isinstance(objective, Blocks) else objective.scores).shape[1]
    begun = max(
        (start(order, block_rows) for order in starts), key=lambda m: objective.measure(m)[0]
    )
    groups = len(begun)
    round_seconds = _round_seconds(objective, groups, block_rows, cols)
    rounds = math.ceil(effort * _seconds(rows, cols) / round_seconds)
    return improve(
        objective,
        begun,
        empty=rows,
        rounds=rounds,
        heat=HEAT[type(objective)] if rounds >= HEATED else 0.0,
        progress=progress,
    )


def _seconds(rows: int, cols: int) -> float:
    return SECONDS[0] + SECONDS[1] * math.sqrt(rows * cols)


def _round_seconds(objective: Objective, groups: int, block_rows: int, cols: int) -> float:
    """What a round of reassignment takes on a plain core: gathering, weights, assignment."""
    chunk = min(groups, objective.chunk)
    gathering = 4e-9 * groups * block_rows * cols
    weighing = objective.column_seconds * groups * chunk * cols
    assigning = 0.015 * groups / chunk * (chunk / 256) ** 2.3
    return float(2e-4 + gathering + weighing + assigning)


def _arranged(members: Ints, rows_mask: Mask, unions: Callable[[Ints], Mask]) -> Ints:
    """An order of rows with the groups ``members``: rows of a group, and whole groups, that
    overlap most next to each other. ``unions``: members of full groups to columns [groups, cols].
    """
    rows, block_rows = len(rows_mask), members.shape[1]
    full, last = members[: rows // block_rows], members[rows // block_rows :]
    full = within(rows_mask, full)
    if len(full) <= MOST_MATCHED:
        full = full[nested(unions(full), max(BLOCK_ROWS) // block_rows)]
    return order_of(np.concatenate([full, last]), rows)
