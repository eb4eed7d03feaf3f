"""Budgets: what the whole network keeps is what was asked for, never more."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from filigree.converter.errors import UsageError
from filigree.converter.sparsity import budget
from filigree.converter.sparsity.budget import Cost, Size
from filigree.converter.sparsity.layer import F64

SIZES = [
    Size("stem", 8, 27, (3, 3), 400),
    Size("wide", 64, 32, (1, 1), 100),
    Size("deep", 48, 576, (3, 3), 25),
    Size("line", 12, 30, (1, 5), 10),
    Size("last", 10, 48),
]
TARGETS = (0.001, 0.015, 0.05, 0.2, 0.5, 0.9, 1.0)
COSTS = {"weights": budget.weights_cost, "work": budget.work_cost}


def total(sizes: list[Size], found: Mapping[str, float], cost: Cost) -> float:
    """As a share of the dense cost."""
    dense = sum(cost(s, 1.0) for s in sizes)
    return sum(cost(s, found[s.name]) for s in sizes) / dense


def block(sizes: list[Size], cost: Cost) -> float:
    """The largest share that one weight is."""
    return max(cost(s, 1 / s.weights) for s in sizes) / sum(cost(s, 1.0) for s in sizes)


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["uniform", "erk"])
def test_the_target_is_met(name: str, target: float, cost: Cost) -> None:
    found = getattr(budget, name)(SIZES, target=target, cost=cost)
    assert list(found) == [s.name for s in SIZES]
    assert all(0 < density <= 1 for density in found.values())
    assert target - 1e-9 <= total(SIZES, found, cost) <= target + 1e-12


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("block_rows", [1, 4])
def test_the_global_target_is_met_within_a_block(
    target: float, block_rows: int, cost: Cost
) -> None:
    found = budget.global_(SIZES, scores(block_rows), target=target, cost=cost)
    reached = total(SIZES, found, cost)
    assert reached <= target + 1e-12
    if target > budget.LEAST_DENSITY:
        assert reached > target - (1 + 1e-9) * block_rows * block(SIZES, cost)


def scores(block_rows: int) -> dict[str, F64]:
    draw = np.random.default_rng(0)
    return {s.name: draw.random((s.rows // block_rows, s.cols)) ** 3 for s in SIZES}


def test_uniform_is_uniform() -> None:
    found = budget.uniform(SIZES, target=0.3)
    assert np.allclose(list(found.values()), 0.3)


def test_erk_is_denser_where_layers_are_small() -> None:
    found = budget.erk(SIZES, target=0.08)
    by_weights = sorted(SIZES, key=lambda s: s.weights)
    assert found[by_weights[0].name] > 3 * found[by_weights[-1].name]
    free = [s for s in SIZES if 0.02 < found[s.name] < 1]
    per_share = [
        found[s.name] * s.weights / (s.rows + s.cols // (s.taps[0] * s.taps[1]) + sum(s.taps))
        for s in free
    ]
    assert len(free) > 2 and np.allclose(per_share, per_share[0])


def test_global_follows_scores_and_empties_no_layer() -> None:
    flat = {s.name: np.ones((s.rows, s.cols)) for s in SIZES}
    low = {**scores(1), "wide": 1e-6 * scores(1)["wide"]}
    found = budget.global_(SIZES, low, target=0.1)
    assert np.isclose(found["wide"], budget.global_(SIZES, scores(1), target=0.1)["wide"])
    assert min(budget.global_(SIZES, flat, target=0.1).values()) >= budget.LEAST_DENSITY
    zeros = {**scores(1), "wide": np.zeros((64, 32))}
    assert budget.global_(SIZES, zeros, target=0.5)["wide"] == budget.LEAST_DENSITY


# --- sensitivity ---

Errors = dict[str, dict[float, float]]


def random_errors(sizes: list[Size], options: int, seed: int) -> Errors:
    """Falling with density most of the time, convex or not."""
    draw = np.random.default_rng(seed)
    found: Errors = {}
    for size in sizes:
        densities = np.sort(draw.choice(np.arange(1, 20), options, replace=False)) / 20
        errors = np.sort(draw.random(options))[::-1] ** draw.choice([1, 3])
        if seed % 3 == 0:
            errors = draw.permutation(errors)
        found[size.name] = dict(zip(densities.tolist(), errors.tolist(), strict=True))
    return found


def brute_force(sizes: list[Size], errors: Errors, most: float, cost: Cost) -> float | None:
    """The least total error."""
    best = None
    for choice in itertools.product(*(errors[s.name] for s in sizes)):
        if sum(cost(s, d) for s, d in zip(sizes, choice, strict=True)) <= most * (1 + 1e-12):
            lost = sum(errors[s.name][d] for s, d in zip(sizes, choice, strict=True))
            best = lost if best is None else min(best, lost)
    return best


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@pytest.mark.parametrize("seed", range(30))
def test_sensitivity_is_the_best_there_is(seed: int, cost: Cost) -> None:
    sizes, target = SIZES[: 2 + seed % 3], 0.15 + 0.7 * (seed % 7) / 7
    errors = random_errors(sizes, 6, seed)
    best = brute_force(sizes, errors, target * sum(cost(s, 1.0) for s in sizes), cost)
    if best is None:
        with pytest.raises(UsageError):
            budget.sensitivity(sizes, errors, target=target, cost=cost)
        return
    found = budget.sensitivity(sizes, errors, target=target, cost=cost)
    assert total(sizes, found, cost) <= target * (1 + 1e-9)
    assert sum(errors[name][density] for name, density in found.items()) == pytest.approx(best)


def test_sensitivity_of_many_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more states than are kept the result is near the best and still never above."""
    sizes = [Size(f"l{i}", 8 + 7 * i % 31, 16 + 5 * i % 23) for i in range(30)]
    errors = random_errors(sizes, 8, seed=1)
    exact = budget.sensitivity(sizes, errors, target=0.4)
    monkeypatch.setattr(budget, "MOST_STATES", 300)
    quick = budget.sensitivity(sizes, errors, target=0.4)

    def lost(found: Mapping[str, float]) -> float:
        return sum(errors[name][density] for name, density in found.items())

    assert total(sizes, quick, budget.weights_cost) <= 0.4 * (1 + 1e-9)
    assert lost(exact) <= lost(quick) <= 1.05 * lost(exact)


def test_sensitivity_that_cannot_be() -> None:
    errors = {s.name: {0.5: 1.0, 1.0: 0.0} for s in SIZES}
    with pytest.raises(UsageError) as raised:
        budget.sensitivity(SIZES, errors, target=0.25)
    assert str(raised.value) == (
        "a budget of 25.0% cannot be met\n  the sparsest layers allowed still take 50.0%"
    )
    found = budget.sensitivity(SIZES, errors, target=0.5)
    assert set(found.values()) == {0.5}
