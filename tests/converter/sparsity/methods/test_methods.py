"""What every method and refinement keeps to, and what each is about."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Goal, Layer, Mask, blocks_of, keep_best
from filigree.converter.sparsity.methods import METHODS, REFINEMENTS, least_squares, obs
from tests.converter.sparsity.methods.layers import error, inputs, layer, weights

NAMES = ("magnitude", "random", "wanda", "wgsef", "obs")
REFINED = ("dsnot", "least_squares")


def prune(method: str, layer: Layer, goal: Goal, *, seed: int = 0) -> F32:
    return METHODS[method].prune(layer, goal, seed=seed)


def refine(name: str, layer: Layer, goal: Goal, matrix: F32) -> F32:
    return REFINEMENTS[name].refine(layer, goal, mask=matrix != 0, matrix=matrix)


def blocks(matrix: F32, goal: Goal) -> Mask:
    return blocks_of(matrix != 0, goal.block_rows)


def most(mask: Mask, m: int) -> int:
    """The most blocks present in a window of ``m`` columns."""
    groups, cols = mask.shape
    padded = np.zeros((groups, -(-cols // m) * m), bool)
    padded[:, :cols] = mask
    return int(padded.reshape(groups, -1, m).sum(axis=2).max())


def test_registries_hold_them_all() -> None:
    assert set(METHODS) == set(NAMES)
    assert set(REFINEMENTS) == set(REFINED)
    for name, method in METHODS.items():
        assert method.name == name and method.source
    for name, refinement in REFINEMENTS.items():
        assert refinement.name == name and refinement.source


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 19),
    st.sampled_from([1, 3, 16, 33, 70]),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([0.0, 0.1, 0.5, 0.93, 1.0, 1.5]),
    st.sampled_from([None, (2, 4), (1, 3), (1, 1)]),
    st.integers(0, 99),
)
def test_exactly_the_goal_is_kept(
    rows: int, cols: int, block_rows: int, density: float, n_of_m: tuple[int, int] | None, seed: int
) -> None:
    """Short last groups, last windows and more blocks asked for than there are included."""
    given_layer = layer(rows, cols, seed=seed)
    groups = -(-rows // block_rows)
    goal = Goal(block_rows, round(density * groups * cols), n_of_m)
    n, m = n_of_m or (1, 1)
    room = groups * sum(min(n, cols - at, m) for at in range(0, cols, m))
    for method in NAMES:
        pruned = prune(method, given_layer, goal)
        assert pruned.dtype == np.float32 and pruned.shape == (rows, cols)
        assert not np.signbit(pruned[pruned == 0]).any()
        kept = blocks(pruned, goal)
        assert kept.sum() == min(goal.keep, room), method
        assert most(kept, m) <= n, method
        whole = np.repeat(kept, block_rows, axis=0)[:rows]
        assert (pruned[whole] != 0).all(), method
        for name in REFINED:
            refined = refine(name, given_layer, goal, pruned)
            assert refined.dtype == np.float32
            assert not np.signbit(refined[refined == 0]).any()
            now = blocks(refined, goal)
            assert (now.sum(axis=1) == kept.sum(axis=1)).all(), (method, name)
            assert most(now, m) <= n, (method, name)
            if name == "least_squares":
                assert (now == kept).all(), method


@pytest.mark.parametrize("method", NAMES)
def test_all_kept_is_the_layer_itself(method: str) -> None:
    given_layer = layer(10, 33)
    goal = Goal(4, 3 * 33)
    pruned = prune(method, given_layer, goal)
    assert (pruned == given_layer.matrix).all()
    for name in REFINED:
        assert (refine(name, given_layer, goal, pruned) == given_layer.matrix).all()


@pytest.mark.parametrize("method", NAMES)
def test_equal_input_gives_equal_output(method: str) -> None:
    goal = Goal(4, 200)
    once, twice = (prune(method, layer(30, 64), goal, seed=7) for _ in range(2))
    assert once.tobytes() == twice.tobytes()
    for name in REFINED:
        again = [refine(name, layer(30, 64), goal, once).tobytes() for _ in range(2)]
        assert again[0] == again[1]


@pytest.mark.parametrize("name", ["wanda", "obs", *REFINED])
def test_missing_calibration_data_name_the_layer(name: str) -> None:
    bare = Layer("head/fc", weights(8, 8))
    with pytest.raises(ValueError, match=rf'^layer "head/fc": {name} needs calibration data'):
        if name in METHODS:
            assert METHODS[name].needs_gram
            prune(name, bare, Goal(4, 8))
        else:
            assert REFINEMENTS[name].needs_gram
            refine(name, bare, Goal(4, 8), bare.matrix)


@pytest.mark.parametrize("method", ["magnitude", "random", "wgsef"])
def test_the_others_need_none(method: str) -> None:
    assert not METHODS[method].needs_gram
    pruned = prune(method, Layer("fc", weights(8, 8)), Goal(4, 5))
    assert blocks(pruned, Goal(4, 5)).sum() == 5


@pytest.mark.parametrize("method", ["magnitude", "wanda", "wgsef", "obs"])
def test_scores_are_one_per_weight(method: str) -> None:
    score = METHODS[method].score
    assert score is not None
    found = score(layer(6, 9))
    assert found.shape == (6, 9) and found.dtype == np.float64 and (found >= 0).all()


def test_magnitude_by_hand() -> None:
    matrix = np.array([[1, -3, 0.5, 2], [1, 0.5, -5, 2], [9, 0, 0, 0]], np.float32)
    pruned = prune("magnitude", Layer("fc", matrix), Goal(2, 3))
    assert pruned.tolist() == [[0, 0, 0.5, 2], [0, 0, -5, 2], [9, 0, 0, 0]]


def test_random_depends_on_seed_and_layer() -> None:
    given_layer, goal = layer(32, 64), Goal(4, 128)
    first = prune("random", given_layer, goal, seed=1)
    assert (first != prune("random", given_layer, goal, seed=2)).any()
    other = dataclasses.replace(given_layer, name="conv2")
    assert (first != prune("random", other, goal, seed=1)).any()


def test_wanda_of_white_inputs_is_magnitude() -> None:
    white = Layer("fc", weights(12, 40), gram=3.0 * np.eye(40), mean=np.zeros(40))
    goal = Goal(4, 50)
    assert (prune("wanda", white, goal) == prune("magnitude", white, goal)).all()


def test_wgsef_keeps_the_least_error_of_uncorrelated_inputs() -> None:
    power = np.linspace(0.1, 3, 40)
    given_layer = Layer("fc", weights(12, 40), gram=np.diag(power), mean=np.zeros(40))
    goal = Goal(4, 50)
    found = {m: error(given_layer, prune(m, given_layer, goal)) for m in NAMES[:4]}
    assert min(found, key=lambda m: found[m]) == "wgsef"


def test_empty_blocks_come_last() -> None:
    matrix = weights(8, 20)
    matrix[:, ::2] = 0
    given_layer = Layer("fc", matrix, gram=np.eye(20), mean=np.zeros(20))
    for method in NAMES:
        assert blocks(prune(method, given_layer, Goal(4, 20)), Goal(4, 20)).sum() == 20, method
        assert (prune(method, given_layer, Goal(4, 30)) == matrix).all(), method


def test_dead_inputs_do_no_harm() -> None:
    given_layer = layer(16, 32)
    assert given_layer.gram is not None
    gram = given_layer.gram.copy()
    gram[5], gram[:, 5] = 0, 0
    for dead in (gram, np.zeros((32, 32))):
        silent = dataclasses.replace(given_layer, gram=dead)
        for method in NAMES:
            pruned = prune(method, silent, Goal(4, 60))
            for name in REFINED:
                refined = refine(name, silent, Goal(4, 60), pruned)
                assert np.isfinite(refined).all() and blocks(refined, Goal(4, 60)).sum() == 60


@pytest.mark.parametrize("n_of_m", [None, (2, 4)])
@pytest.mark.parametrize("block_rows", [1, 4])
def test_errors_fall_from_method_to_method(block_rows: int, n_of_m: tuple[int, int] | None) -> None:
    given_layer = layer(64, 128)
    goal = Goal(block_rows, 64 // block_rows * 128 // 4, n_of_m)
    pruned = {m: prune(m, given_layer, goal) for m in NAMES}
    errors = {m: error(given_layer, p) for m, p in pruned.items()}
    refined = {
        m: error(given_layer, refine("least_squares", given_layer, goal, p))
        for m, p in pruned.items()
    }
    assert errors["wanda"] < errors["magnitude"] < errors["random"]
    assert errors["obs"] < errors["magnitude"] / 20
    for method in NAMES:
        assert refined[method] < errors[method]
    assert refined["obs"] < min(errors["magnitude"] / 25, refined["wgsef"])


def masks(
    draw: np.random.Generator, groups: int, cols: int, n_of_m: tuple[int, int] | None
) -> Mask:
    goal = Goal(1, groups * cols // 3, n_of_m)
    return keep_best(draw.random((groups, cols)), goal)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.sampled_from([1, 2, 4]), st.sampled_from([None, (2, 4), (1, 4)]))
def test_dsnot_never_raises_the_error(
    seed: int, block_rows: int, n_of_m: tuple[int, int] | None
) -> None:
    given_layer = layer(11, 38, seed=seed)
    draw = np.random.default_rng(seed)
    kept = masks(draw, -(-11 // block_rows), 38, n_of_m)
    values = given_layer.matrix * draw.uniform(0.5, 1.5, (11, 38)).astype(np.float32)
    goal = Goal(block_rows, int(kept.sum()), n_of_m)
    for start in (given_layer.matrix, values):
        pruned = np.where(np.repeat(kept, block_rows, axis=0)[:11], start, np.float32(0))
        refined = refine("dsnot", given_layer, goal, pruned)
        assert error(given_layer, refined) <= error(given_layer, pruned) * (1 + 1e-6)


def test_dsnot_finds_the_block_left_out() -> None:
    given_layer = layer(4, 12)
    matrix = given_layer.matrix.copy()
    matrix[:, 3] *= 100
    given_layer = dataclasses.replace(given_layer, matrix=matrix)
    pruned = matrix.copy()
    pruned[:, 3:9] = 0
    refined = refine("dsnot", given_layer, Goal(4, 6), pruned)
    assert (refined[:, 3] == matrix[:, 3]).all()
    assert error(given_layer, refined) < error(given_layer, pruned) / 10


def test_dsnot_improves_a_poor_mask() -> None:
    given_layer, goal = layer(64, 128), Goal(4, 512)
    pruned = prune("magnitude", given_layer, goal)
    refined = refine("dsnot", given_layer, goal, pruned)
    assert error(given_layer, refined) < error(given_layer, pruned) / 2


@pytest.mark.parametrize("rows, block_rows", [(8, 4), (10, 4), (5, 1)])
def test_least_squares_is_lstsq_on_the_columns_kept(rows: int, block_rows: int) -> None:
    x = inputs(24, 200)
    given_layer = Layer("fc", weights(rows, 24), gram=x @ x.T / 200, mean=x.mean(axis=1))
    goal = Goal(block_rows, -(-rows // block_rows) * 24 // 3)
    pruned = prune("random", given_layer, goal)
    found = least_squares.refine(given_layer, goal, mask=pruned != 0, matrix=pruned, ridge=1e-13)
    for row in range(rows):
        at = np.flatnonzero(pruned[row])
        wanted = np.linalg.lstsq(x[at].T, x.T @ given_layer.matrix[row], rcond=None)[0]
        np.testing.assert_allclose(found[row, at], wanted, rtol=2e-5, atol=2e-6)


def test_least_squares_keeps_blocks_that_come_out_as_zero() -> None:
    """Two equal inputs of opposite weights: the best weight for the one kept is zero."""
    gram = np.ones((2, 2))
    given_layer = Layer("fc", np.array([[2, -2], [3, -3]], np.float32), gram=gram)
    pruned = np.array([[2, 0], [3, 0]], np.float32)
    found = least_squares.refine(
        given_layer, Goal(2, 1), mask=pruned != 0, matrix=pruned, ridge=1e-300
    )
    assert blocks(found, Goal(2, 1)).tolist() == [[True, False]]
    assert np.abs(found).max() < 1e-30


def brute_force_obs(layer: Layer, goal: Goal) -> F64:
    """OBS with explicit inverses, one column at a time: what is left of H is inverted afresh."""
    assert layer.gram is not None
    w = layer.matrix.astype(np.float64)
    rows, cols = w.shape
    hessian = layer.gram + obs.DAMPING * np.mean(np.diag(layer.gram)) * np.eye(cols)
    order = sorted(range(cols), key=lambda c: layer.gram[c, c] * float(w[:, c] @ w[:, c]))
    groups = [range(g, min(g + goal.block_rows, rows)) for g in range(0, rows, goal.block_rows)]
    left = goal.keep
    for at, c in enumerate(order):
        inverses = {
            b: np.linalg.inv(hessian[np.ix_(order[i:], order[i:])])
            for i, b in enumerate(order)
            if i >= at
        }
        saliency = {
            (g, b): sum(w[r, b] ** 2 for r in group) / inverses[b][0, 0]
            for g, group in enumerate(groups)
            for b in order[at:]
        }
        kept = sorted(saliency, key=lambda k: -saliency[k])[:left]
        for g, group in enumerate(groups):
            if (g, c) in kept:
                left -= 1
                continue
            for r in group:
                w[r, order[at:]] -= w[r, c] / inverses[c][0, 0] * inverses[c][0]
                w[r, c] = 0
    return w


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows, cols", [(8, 9), (10, 12), (3, 16)])
def test_obs_is_the_brute_force_one(rows: int, cols: int, seed: int) -> None:
    """Up to obs.BATCHES columns the mask is chosen anew at every column."""
    assert cols <= obs.BATCHES
    given_layer = layer(rows, cols, seed=seed)
    goal = Goal(4, -(-rows // 4) * cols // 2)
    wanted = brute_force_obs(given_layer, goal)
    np.testing.assert_allclose(prune("obs", given_layer, goal), wanted, rtol=1e-5, atol=1e-6)


def test_obs_in_batches_is_near_obs_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    given_layer, goal = layer(32, 96), Goal(4, 200)
    wide = error(given_layer, prune("obs", given_layer, goal))
    monkeypatch.setattr(obs, "BATCHES", 96)
    assert error(given_layer, prune("obs", given_layer, goal)) < wide * 1.1
