"""Pairs of rows, pairs of pairs, and so on: groupings in which every half is a good group, too."""

from __future__ import annotations

import itertools

import numpy as np

from filigree.converter.sparsity.grouping.objective import F32, Blocks
from filigree.converter.sparsity.grouping.search import improve, order_of, start
from filigree.converter.sparsity.layer import Mask
from filigree.converter.sparsity.pattern import Ints

ROUNDS = 12  # of reassignment after each matching
TAKEN = -1.0
PAIRINGS = np.array([[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2]])


def nested(mask: Mask, block_rows: int, *, rounds: int = ROUNDS) -> Ints:
    """An order of the rows of ``mask`` [rows, cols] in which the aligned runs of 2, 4, ...,
    ``block_rows`` rows overlap much: repeated matching of the heaviest pairs, by the overlap of
    the unions. What finds no partner on some level comes after what did.
    """
    runs = [np.array([row]) for row in range(len(mask))]
    unions, done, tail = mask, 1, list[Ints]()
    while 2 * done <= block_rows and len(runs) > 1:
        pairs, single = pair_up(unions, rounds=rounds)
        tail = [runs[i] for i in single] + tail
        runs = [np.concatenate([runs[a], runs[b]]) for a, b in pairs]
        unions = unions[pairs[:, 0]] | unions[pairs[:, 1]]
        done *= 2
    return np.concatenate([*runs, *tail]).astype(np.int64)


def pair_up(units: Mask, *, rounds: int = ROUNDS) -> tuple[Ints, Ints]:
    """Matching of ``units`` [units, cols] of heavy total overlap: (pairs [units // 2, 2], the unit
    left over [0 or 1])."""
    count = len(units)
    objective = Blocks(units)
    pairs = start(_greedy_pairs(objective.present[:-1]), 2)
    pairs = improve(objective, pairs, empty=count, rounds=rounds)
    return pairs[: count // 2], order_of(pairs[count // 2 :], count)


def _greedy_pairs(present: F32) -> Ints:
    """An order of the units [units] in which pairs follow each other: those that are each other's
    best partner, then again among the rest, until one or none is left.

    Overlaps are whole numbers; less than one, the same for both sides, is added at random, so that
    ties have one winner and each pass finds many pairs.
    """
    count = len(present)
    luck = np.random.default_rng(2).permutation(count).astype(np.float32)
    weights = present @ present.T
    weights += (luck[:, None] * luck) % 8191 / 8192
    np.fill_diagonal(weights, TAKEN)
    best = weights.argmax(axis=1)
    left, found = np.arange(count), list[Ints]()
    while left.size > 1:
        mutual = left[(best[best[left]] == left) & (left < best[left])]
        found.append(np.stack([mutual, best[mutual]], axis=1).reshape(-1))
        weights[:, found[-1]] = TAKEN
        left = np.setdiff1d(left, found[-1], assume_unique=True)
        bereft = left[np.isin(best[left], found[-1])]
        best[bereft] = weights[bereft].argmax(axis=1)
    return np.concatenate([*found, left])


def within(mask: Mask, members: Ints) -> Ints:
    """``members`` [groups, size] of full groups with each group's rows in such an order that its
    runs of 2, 4, ... overlap much; ``mask`` [rows, cols]. A size that is no power of two: as is.
    """
    groups, size = members.shape
    if size & (size - 1) or size < 4:
        return members
    runs = members[:, :, None]
    while runs.shape[1] > 2:
        unions: F32 = np.logical_or.reduce(mask[runs], axis=2).astype(np.float32)
        pairs = _pairs_within(unions @ unions.transpose(0, 2, 1))
        runs = np.take_along_axis(runs, pairs[:, :, None], axis=1)
        runs = runs.reshape(groups, pairs.shape[1] // 2, -1)
    return runs.reshape(groups, size)


def _pairs_within(weights: F32) -> Ints:
    """Per group an order of its units, neighbours being pairs: [groups, units] for ``weights``
    [groups, units, units]. The heaviest pairs first, then better exchanges between two pairs."""
    groups, units, _ = weights.shape
    free = weights.copy()
    free[:, np.arange(units), np.arange(units)] = TAKEN
    every, order = np.arange(groups), np.empty((groups, units), np.int64)
    for at in range(0, units, 2):
        pair = np.stack(np.divmod(free.reshape(groups, -1).argmax(axis=1), units), axis=1)
        order[:, at : at + 2] = pair
        for one in pair.T:
            free[every, one] = TAKEN
            free[every, :, one] = TAKEN
    for i, j in itertools.combinations(range(0, units, 2), 2):
        four = order[:, [i, i + 1, j, j + 1]]
        ways = four[:, PAIRINGS]  # [groups, 3, 4]
        inside = weights[every[:, None], ways[:, :, 0], ways[:, :, 1]]
        inside = inside + weights[every[:, None], ways[:, :, 2], ways[:, :, 3]]
        order[:, [i, i + 1, j, j + 1]] = ways[every, inside.argmax(axis=1)]
    return order
