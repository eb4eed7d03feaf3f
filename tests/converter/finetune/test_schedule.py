"""Cutting on the way: the cubic, every pattern, fading masks, what is cut stays cut."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from filigree.converter.finetune.schedule import (  # noqa: E402  PyTorch first, or a skip
    Pruner,
    Ramp,
    Target,
    goal_at,
)
from filigree.converter.sparsity.layer import Goal  # noqa: E402

GOALS = {
    "1x1": Goal(1, 100),
    "4x1": Goal(4, 30),
    "8x1": Goal(8, 12),
    "2:4": Goal(1, 400, (2, 4)),
    "1:4": Goal(1, 100, (1, 4)),
    "4x1+2:4": Goal(4, 60, (2, 4)),
}


def pruner(goal: Goal, *, steps: int = 50, fading: bool = False, rows: int = 0) -> Pruner:
    """One weight of 20 rows and 24 columns."""
    shape = (20, 24, 1, 1) if rows == 0 else (24, 20)
    draw = np.random.default_rng(4)
    weight = torch.nn.Parameter(torch.from_numpy(draw.standard_normal(shape).astype(np.float32)))
    target = Target("layer", "w", rows, goal)
    return Pruner({"w": weight}, [target], ramp=Ramp(steps), fading=fading)


def matrix(found: Pruner) -> np.ndarray:
    mask = found.masks["w"].numpy()
    return np.moveaxis(mask, found.targets[0].rows, 0).reshape(20, 24)


def test_cubic() -> None:
    ramp = Ramp(1000, 0.6)
    assert ramp.end == 600
    assert [ramp.cubic(s) for s in (0, 300, 600, 900)] == [0, 0.875, 1, 1]
    assert [ramp.fade(s) for s in (0, 150, 600, 900)] == [1, 0.75, 0, 0]
    assert sum(ramp.cuts(s) for s in range(1000)) == 101
    assert ramp.cuts(600) and not ramp.cuts(606)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_short_runs_reach_the_end(steps: int) -> None:
    found = pruner(GOALS["4x1"], steps=steps)
    for step in range(steps):
        found.before(step)
    assert found.masks["w"].sum() == 30 * 4


@pytest.mark.parametrize("fading", [False, True], ids=["cut", "fade"])
@pytest.mark.parametrize("rows", [0, 1], ids=["conv", "matmul"])
@pytest.mark.parametrize("name", GOALS)
def test_density_and_pattern_are_reached(name: str, rows: int, fading: bool) -> None:
    goal = GOALS[name]
    found = pruner(goal, fading=fading, rows=rows)
    for step in range(50):
        found.before(step)
    blocks = matrix(found).reshape(-1, goal.block_rows, 24) if goal.block_rows < 8 else None
    if blocks is not None:
        assert (blocks.all(axis=1) == blocks.any(axis=1)).all()
    kept = np.logical_or.reduceat(matrix(found), np.arange(0, 20, goal.block_rows), axis=0)
    if goal.n_of_m is None:
        assert kept.sum() == goal.keep
    else:
        n, m = goal.n_of_m
        windows = kept.reshape(len(kept), -1, m).sum(axis=2)
        assert windows.max() <= n
        assert kept.sum() == min(goal.keep, len(kept) * 24 // m * n)
    weight = found.weights["w"].detach().numpy()
    assert (weight[~found.masks["w"].numpy()] == 0).all()
    assert not np.signbit(weight[weight == 0]).any()


def test_what_is_cut_stays_cut() -> None:
    found = pruner(GOALS["4x1"])
    before = matrix(found)
    for step in range(50):
        found.before(step)
        assert not (matrix(found) & ~before).any()
        before = matrix(found)
        with torch.no_grad():
            found.weights["w"].add_(0.5)
        found.after()
        assert (found.weights["w"].detach().numpy() != 0).sum() <= before.sum()


def test_fading_weights_count_less_and_less() -> None:
    found = pruner(GOALS["4x1"], fading=True)
    outside = []
    for step in (0, 15, 29, 30):
        found.before(step)
        weight = found.weights["w"]
        weight.grad = None
        effective = found.effective()["w"]
        effective.sum().backward()
        gone = ~found.masks["w"]
        share = float(weight.grad[gone].mean())
        outside.append(share)
        assert (weight.grad[~gone] == 1).all()
        assert torch.equal(effective[gone], weight[gone] * share)
    assert outside == pytest.approx([1, 0.5, 1 / 30, 0])


def test_n_of_m_comes_down() -> None:
    goals = [goal_at(Goal(1, 10, (2, 8)), 80, cubic) for cubic in (0, 0.2, 0.5, 1)]
    assert [goal.n_of_m for goal in goals] == [(8, 8), (7, 8), (5, 8), (2, 8)]
    assert [goal.keep for goal in goals] == [80, 63, 37, 10]


def test_n_of_m_alone_cuts_nothing_else() -> None:
    goals = [goal_at(Goal(1, 40, (2, 4)), 80, cubic) for cubic in (0, 0.4, 0.6, 1)]
    assert [(goal.keep, goal.n_of_m) for goal in goals] == [
        (80, (4, 4)),
        (80, (4, 4)),
        (60, (3, 4)),
        (40, (2, 4)),
    ]
