"""Orders of rows: permutations, never worse than the plain ones, the same on every run."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filigree.converter.sparsity import grouping
from filigree.converter.sparsity.grouping.matching import nested, within
from filigree.converter.sparsity.grouping.objective import Blocks, Kept
from filigree.converter.sparsity.grouping.search import start
from filigree.converter.sparsity.grouping.swaps import climb
from filigree.converter.sparsity.layer import F64, Mask
from filigree.converter.sparsity.pattern import BLOCK_ROWS, Ints

QUICK = 0.05  # effort


def random_scores(rows: int, cols: int, *, density: float, seed: int) -> F64:
    """Magnitudes with heavy tails, rows and columns of different size; few distinct values where
    the seed is odd, so that ties are many."""
    draw = np.random.default_rng(seed)
    values = np.abs(draw.standard_normal((rows, cols))) ** 2 * draw.random((rows, 1)) + 0.01
    values = np.ceil(2 * values) if seed % 2 else values
    return np.where(draw.random((rows, cols)) < density, values, 0.0)


matrices = st.builds(
    random_scores,
    st.integers(1, 40),
    st.sampled_from([0, 1, 2, 7, 33]),
    density=st.sampled_from([0.0, 0.05, 0.2, 0.6, 1.0]),
    seed=st.integers(0, 1000),
)
heights = st.sampled_from([*BLOCK_ROWS, 3, 6])


def planted(families: int, block_rows: int, *, cols: int = 60, seed: int = 0) -> Mask:
    """``block_rows`` rows each of ``families`` random masks, shuffled."""
    draw = np.random.default_rng(seed)
    mask = np.repeat(draw.random((families, cols)) < 0.2, block_rows, axis=0)
    return mask[draw.permutation(len(mask))]


def plain_orders(sizes: F64 | Ints) -> list[Ints]:
    return [np.arange(sizes.size), np.argsort(-sizes, kind="stable")]


def is_permutation(order: Ints, rows: int) -> bool:
    return order.dtype == np.int64 and sorted(order.tolist()) == list(range(rows))


def stored_reference(mask: Mask, order: Ints, block_rows: int) -> int:
    groups = [order[i : i + block_rows] for i in range(0, order.size, block_rows)]
    return sum(
        len({int(c) for row in group for c in np.flatnonzero(mask[row])}) for group in groups
    )


@settings(deadline=None, max_examples=60)
@given(matrices, heights)
def test_lossless_is_a_permutation_and_never_worse(scores: F64, block_rows: int) -> None:
    mask = scores > 0
    order = grouping.lossless(mask, block_rows, effort=QUICK)
    assert is_permutation(order, len(mask))
    stored = grouping.stored_blocks(mask, order, block_rows)
    assert stored == stored_reference(mask, order, block_rows)
    for plain in plain_orders(mask.sum(axis=1)):
        assert stored <= grouping.stored_blocks(mask, plain, block_rows)


@settings(deadline=None, max_examples=60)
@given(matrices, heights, st.floats(0, 1.1))
def test_lossy_is_a_permutation_and_never_worse(scores: F64, block_rows: int, share: float) -> None:
    keep = round(share * -(-len(scores) // block_rows) * scores.shape[1])
    order = grouping.lossy(scores, block_rows, keep, effort=QUICK)
    assert is_permutation(order, len(scores))
    kept = grouping.kept_score(scores, order, block_rows, keep)
    assert kept <= scores.sum() * (1 + 1e-12)
    for plain in plain_orders(scores.sum(axis=1)):
        least = grouping.kept_score(scores, plain, block_rows, keep)
        assert kept >= least * (1 - 1e-12)  # sums of the same numbers in another order


@pytest.mark.parametrize("block_rows", [2, 4, 8, 16])
@pytest.mark.parametrize("families", [3, 16, 40])
def test_planted_families_are_found(families: int, block_rows: int) -> None:
    mask = planted(families, block_rows)
    best = int(mask.sum()) // block_rows
    order = grouping.lossless(mask, block_rows, effort=QUICK)
    assert grouping.stored_blocks(mask, order, block_rows) == best
    scores = np.where(mask, 1.0, 0.05)
    order = grouping.lossy(scores, block_rows, best, effort=QUICK)
    assert grouping.kept_score(scores, order, block_rows, best) == pytest.approx(mask.sum())


@pytest.mark.parametrize("extra", [1, 2, 3])
def test_a_short_last_group(extra: int) -> None:
    """Rows that fit nowhere else end up in it."""
    mask = np.concatenate([planted(9, 4), np.zeros((extra, 60), bool)])
    mask[:, 50:] = False
    mask[-extra:, 50:] = True
    mask = mask[np.random.default_rng(1).permutation(len(mask))]
    order = grouping.lossless(mask, 4, effort=QUICK)
    assert mask[order[-extra:], 50:].all()
    assert grouping.stored_blocks(mask, order, 4) == int(mask[:, :50].sum()) // 4 + 10


@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (4, 0), (9, 1), (0, 4), (12, 6)])
@pytest.mark.parametrize("value", [False, True])
def test_without_a_choice_rows_stay(shape: tuple[int, int], value: bool) -> None:
    mask = np.full(shape, value)
    assert grouping.lossless(mask, 4).tolist() == list(range(shape[0]))
    for keep in (0, 1, 3, mask.size):
        assert grouping.lossy(mask.astype(np.float64), 4, keep).tolist() == list(range(shape[0]))
    assert grouping.stored_blocks(mask, np.arange(shape[0]), 4) == (
        -(-shape[0] // 4) * shape[1] if value else 0
    )


def test_already_grouped_rows_stay() -> None:
    mask = np.repeat(np.random.default_rng(0).random((20, 50)) < 0.2, 4, axis=0)
    assert grouping.lossless(mask, 4, effort=QUICK).tolist() == list(range(80))


def test_kept_score_sums_the_best_blocks() -> None:
    scores = np.array([[1.0, 0, 5], [1, 7, 0], [2, 0, 0]])
    order = np.array([2, 1, 0])
    assert grouping.kept_score(scores, order, 2, 1) == 7
    assert grouping.kept_score(scores, order, 2, 2) == 12
    assert grouping.kept_score(scores, order, 2, 4) == 16
    assert grouping.kept_score(scores, order, 2, 99) == 16
    assert grouping.kept_score(scores, order, 2, 0) == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(5, 40), st.integers(0, 100))
def test_no_swap_has_a_gain_in_the_end(rows: int, seed: int) -> None:
    mask = random_scores(rows, 20, density=0.3, seed=seed) > 0
    objective = Blocks(mask)
    members = climb(objective, start(np.arange(rows), 4), passes=1000)
    order = members[members != rows]
    least = grouping.stored_blocks(mask, order, 4)
    assert -objective.measure(members)[0] == least
    for i in range(rows):
        for j in range(i):
            swapped = order.copy()
            swapped[[i, j]] = order[[j, i]]
            assert grouping.stored_blocks(mask, swapped, 4) >= least


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 39))
def test_rounded_scores_rank_as_the_exact_ones(seed: int, keep: int) -> None:
    """Clipping lowers all groupings alike: differences are those of ``kept_score``."""
    scores = random_scores(16, 10, density=0.7, seed=seed)
    scores[3, 3] = 1e6  # an outlier must not cost the others their precision
    objective = Kept(scores, 4, keep)
    draw = np.random.default_rng(seed)
    orders = [draw.permutation(16) for _ in range(6)]
    exact = np.array([grouping.kept_score(scores, order, 4, keep) for order in orders])
    whole = np.array([objective.measure(start(order, 4))[0] for order in orders], np.float64)
    rounding = 4 * max(keep, 1) * objective.step
    assert np.allclose(np.diff(exact), np.diff(whole) * objective.step, rtol=0, atol=rounding)
    assert keep == 1 or rounding < 0.01


def test_halves_of_groups_overlap_too() -> None:
    """4x1 groups are made of good pairs, and neighbours make good 8x1 groups."""
    mask = random_scores(128, 96, density=0.2, seed=2) > 0
    order = grouping.lossless(mask, 4)
    draw = np.random.default_rng(0)
    groups = order.reshape(-1, 4)
    scrambled = draw.permuted(groups, axis=1)[draw.permutation(len(groups))].reshape(-1)
    assert grouping.stored_blocks(mask, order, 4) == grouping.stored_blocks(mask, scrambled, 4)
    for block_rows in (2, 8, 16):
        stored = grouping.stored_blocks(mask, order, block_rows)
        assert stored < 0.99 * grouping.stored_blocks(mask, scrambled, block_rows)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_pairs_within_a_group(size: int) -> None:
    pairs = planted(size // 2, 2, cols=200)
    order = within(pairs, np.arange(size)[None])[0]
    assert is_permutation(order, size)
    assert (pairs[order[::2]] == pairs[order[1::2]]).all()


@settings(deadline=None, max_examples=30)
@given(matrices, st.sampled_from(BLOCK_ROWS))
def test_nested_is_a_permutation(scores: F64, block_rows: int) -> None:
    assert is_permutation(nested(scores > 0, block_rows), len(scores))


def test_progress_rises() -> None:
    seen: list[float] = []
    grouping.lossless(planted(10, 4), 4, effort=QUICK, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] > 0 and seen[-1] <= 1


def test_more_effort_is_not_needed_for_a_gain() -> None:
    """Rows of two kinds, hidden in noise: most of what grouping can save is saved at once."""
    draw = np.random.default_rng(3)
    kinds = draw.random((16, 128)) < 0.25
    mask = kinds[draw.integers(0, 16, 160)] & (draw.random((160, 128)) < 0.8)
    order = grouping.lossless(mask, 4, effort=QUICK)
    naive = grouping.stored_blocks(mask, np.arange(160), 4)
    assert grouping.stored_blocks(mask, order, 4) < 0.6 * naive


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_wrong_input(wrong: float) -> None:
    with pytest.raises(ValueError, match="not negative"):
        grouping.lossy(np.full((8, 4), wrong), 4, 3)
    with pytest.raises(ValueError, match="below 1"):
        grouping.lossless(np.ones((8, 4), bool), 0)


DETERMINISM = """
import hashlib, numpy as np
from filigree.converter.sparsity import grouping
draw = np.random.default_rng(5)
weights = np.abs(draw.standard_normal((203, 96))) * np.exp(draw.standard_normal((1, 96)))
mask = weights > np.quantile(weights, 0.8)
found = [grouping.lossless(mask, o, effort=0.3) for o in (2, 4, 16)]
found += [grouping.lossy(weights, o, 900, effort=0.3) for o in (2, 4)]
print(hashlib.sha256(np.concatenate(found).tobytes()).hexdigest())
"""


def test_every_process_finds_the_same() -> None:
    digests = set()
    for seed, threads in (("1", "1"), ("77", "2")):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        env = os.environ | {"PYTHONHASHSEED": seed} | dict.fromkeys(names, threads)
        done = subprocess.run(
            [sys.executable, "-c", DETERMINISM], env=env, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1
