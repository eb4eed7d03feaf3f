"""How much each layer keeps, so that the whole network meets a sparsity, FLOP or latency target.

- uniform: every layer the same share;
- erk: density proportional to (rows + cols + kernel height + width) / (rows * cols)
  (Erdos-Renyi-Kernel: Mocanu et al. 2018, Evci et al. 2020);
- global: one threshold over all layers, on block scores divided by what is left of the layer from
  that score on (LAMP: Lee et al. 2021), so that no layer is emptied;
- sensitivity: the least total error, each layer's error at a few sparsities being known: a
  multiple-choice knapsack, solved by merging layer after layer and keeping the states that no other
  beats in both cost and error; exact while those are at most MOST_STATES, else to that part of the
  budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from filigree.converter.errors import UsageError
from filigree.converter.sparsity.layer import F64

BUDGETS = ("uniform", "erk", "global", "sensitivity")
LEAST_DENSITY = 0.02  # of a layer, unless the target itself is below
MOST_STATES = 10_000
STEPS = 60  # of bisection: far below a block
ROUNDING = 1e-12  # of sums of costs

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Size:
    """A layer as budgets see it: its matrix, its kernel's taps, and positions of its output."""

    name: str
    rows: int
    cols: int
    taps: tuple[int, int] = (1, 1)
    positions: int = 1

    @property
    def weights(self) -> int:
        return self.rows * self.cols

    @property
    def work(self) -> int:
        """Multiply-accumulates of one run, dense."""
        return self.rows * self.cols * self.positions


Option = TypeVar("Option", float, tuple[int, float])
Cost = Callable[[Size, float], float]
"""What a layer costs at a density, in any unit."""


def weights_cost(size: Size, density: float) -> float:
    """Weights kept."""
    return size.weights * density


def work_cost(size: Size, density: float) -> float:
    """Multiply-accumulates."""
    return size.work * density


def uniform(sizes: Sequence[Size], *, target: float, cost: Cost = weights_cost) -> dict[str, float]:
    """Density by name; the total cost is at most ``target`` of the dense cost."""
    return _scaled(sizes, dict.fromkeys((s.name for s in sizes), 1.0), target, cost)


def erk(sizes: Sequence[Size], *, target: float, cost: Cost = weights_cost) -> dict[str, float]:
    """Density by name: small layers stay denser."""
    shape = {s.name: (s.rows + s.cols // (s.taps[0] * s.taps[1]) + sum(s.taps)) for s in sizes}
    ratio = {s.name: shape[s.name] / s.weights for s in sizes}
    return _scaled(sizes, ratio, target, cost)


def global_(
    sizes: Sequence[Size],
    scores: Mapping[str, F64],
    *,
    target: float,
    cost: Cost = weights_cost,
) -> dict[str, float]:
    """Density by name, from ``scores`` of each layer's blocks (any shape), squared by LAMP."""
    least = min(LEAST_DENSITY, target)
    found: dict[str, F64] = {}
    for size in sizes:
        flat = np.sort(np.square(scores[size.name].reshape(-1)))
        left = np.cumsum(flat[::-1])[::-1]
        found[size.name] = np.divide(flat, left, out=np.zeros_like(flat), where=left > 0)

    def densities(threshold: float) -> dict[str, float]:
        return {
            name: max(least, float(np.mean(values >= threshold))) for name, values in found.items()
        }

    levels = np.unique(np.concatenate([*found.values(), [np.inf]]))
    budget = target * _dense(sizes, cost) * (1 + ROUNDING)
    low, high = 0, levels.size - 1
    while low < high:
        middle = (low + high) // 2
        if _total(sizes, densities(float(levels[middle])), cost) > budget:
            low = middle + 1
        else:
            high = middle
    return densities(float(levels[high]))


def sensitivity(
    sizes: Sequence[Size],
    errors: Mapping[str, Mapping[float, float]],
    *,
    target: float,
    cost: Cost = weights_cost,
) -> dict[str, float]:
    """Density by name, out of those at which ``errors[name][density]`` is known.

    Minimises the sum of errors. Raises UsageError if even the least densities cost too much.
    """
    return cheapest(sizes, errors, cost=cost, target=target, dense=_dense(sizes, cost))


def cheapest(
    sizes: Sequence[Size],
    errors: Mapping[str, Mapping[Option, float]],
    *,
    cost: Callable[[Size, Option], float],
    target: float,
    dense: float,
) -> dict[str, Option]:
    """The option of each layer with the least sum of errors and a cost within ``target`` of
    ``dense``: a multiple-choice knapsack, exact up to MOST_STATES different costs.

    Raises UsageError if even the cheapest options cost too much.
    """
    budget = target * dense * (1 + ROUNDING)
    options = [sorted(errors[size.name]) for size in sizes]
    costs = [np.array([cost(s, o) for o in some]) for s, some in zip(sizes, options, strict=True)]
    least = [float(c.min()) for c in costs]
    if sum(least) > budget:
        raise UsageError(
            f"a budget of {target:.1%} cannot be met",
            [f"the sparsest layers allowed still take {sum(least) / dense:.1%}"],
        )
    front, steps = (np.zeros(1), np.zeros(1)), []
    for i, size in enumerate(sizes):
        lost = np.array([errors[size.name][d] for d in options[i]])
        front, kept = _merged(front, costs[i], lost, most=budget - sum(least[i + 1 :]))
        steps.append(kept)
    at, found = front[1].size - 1, {}
    for i in reversed(range(len(sizes))):
        at, choice = divmod(int(steps[i][at]), len(options[i]))
        found[sizes[i].name] = options[i][choice]
    return {size.name: found[size.name] for size in sizes}


def _merged(
    front: tuple[F64, F64], costs: F64, errors: F64, *, most: float
) -> tuple[tuple[F64, F64], Ints]:
    """The states (cost, error) that are left when every state takes every option of one more layer:
    cost rising, error falling, cost at most ``most``; and which state * options + option each is.
    """
    total = (front[0][:, None] + costs).reshape(-1)
    lost = (front[1][:, None] + errors).reshape(-1)
    order = np.lexsort((lost, total))
    order = order[total[order] <= most]
    before = np.minimum.accumulate(np.concatenate([[np.inf], lost[order][:-1]]))
    order = order[lost[order] < before]
    if order.size > MOST_STATES:  # the best of every small range of costs
        part = np.floor(total[order] / most * MOST_STATES)
        order = order[np.append(np.diff(part) > 0, True)]
    return (total[order], lost[order]), order


def _scaled(
    sizes: Sequence[Size], ratio: Mapping[str, float], target: float, cost: Cost
) -> dict[str, float]:
    """Densities proportional to ``ratio``, at most 1, of a total cost of ``target``."""

    def at(scale: float) -> dict[str, float]:
        return {s.name: min(1.0, max(least, scale * ratio[s.name])) for s in sizes}

    least = min(LEAST_DENSITY, target)
    budget = target * _dense(sizes, cost)
    low, high = 0.0, 1.0 / min(ratio.values(), default=1.0)
    if _total(sizes, at(high), cost) <= budget:
        return at(high)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _total(sizes, at(middle), cost) > budget:
            high = middle
        else:
            low = middle
    return at(low)


def _total(sizes: Sequence[Size], density: Mapping[str, float], cost: Cost) -> float:
    return sum(cost(size, density[size.name]) for size in sizes)


def _dense(sizes: Sequence[Size], cost: Cost) -> float:
    return sum(cost(size, 1.0) for size in sizes)
