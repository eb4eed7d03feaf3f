"""How much each layer keeps, so that the whole network meets a sparsity, FLOP or latency target.

- uniform: every layer the same share;
- erk: density proportional to (rows + cols + kernel height + width) / (rows * cols)
  (Erdos-Renyi-Kernel: Mocanu et al. 2018, Evci et al. 2020);
- global: one threshold over all layers, on block scores divided by what is left of the layer from
  that score on (LAMP: Lee et al. 2021), so that no layer is emptied;
- sensitivity: the least total error, each layer's error at a few sparsities being known, by
  bisecting the price of a unit of cost (Lagrangian relaxation; exact on the convex hull).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filigree.converter.errors import UsageError
from filigree.converter.sparsity.layer import F64

BUDGETS = ("uniform", "erk", "global", "sensitivity")
LEAST_DENSITY = 0.02
STEPS = 60  # of bisection: far below a block


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
    found: dict[str, F64] = {}
    for size in sizes:
        flat = np.sort(np.square(scores[size.name].reshape(-1)))
        left = np.cumsum(flat[::-1])[::-1]
        found[size.name] = np.divide(flat, left, out=np.zeros_like(flat), where=left > 0)

    def densities(threshold: float) -> dict[str, float]:
        return {
            name: max(LEAST_DENSITY, float(np.mean(values >= threshold)))
            for name, values in found.items()
        }

    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _total(sizes, densities(middle), cost) > target * _dense(sizes, cost):
            low = middle
        else:
            high = middle
    return densities(high)


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
    budget = target * _dense(sizes, cost)

    def chosen(price: float) -> dict[str, float]:
        best = {}
        for size in sizes:
            options = errors[size.name]
            best[size.name] = min(options, key=lambda d: (options[d] + price * cost(size, d), d))
        return best

    high = 1.0
    while _total(sizes, chosen(high), cost) > budget:
        high *= 4
        if high > 1e30:
            least = {s.name: min(errors[s.name]) for s in sizes}
            share = _total(sizes, least, cost) / _dense(sizes, cost)
            raise UsageError(
                f"a budget of {target:.1%} cannot be met",
                [f"the sparsest layers allowed still take {share:.1%}"],
            )
    low = 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _total(sizes, chosen(middle), cost) > budget:
            low = middle
        else:
            high = middle
    return _filled(sizes, errors, chosen(high), cost=cost, budget=budget)


def _filled(
    sizes: Sequence[Size],
    errors: Mapping[str, Mapping[float, float]],
    density: dict[str, float],
    *,
    cost: Cost,
    budget: float,
) -> dict[str, float]:
    """Spend what bisection left over, most error saved per cost first."""
    total = _total(sizes, density, cost)
    while True:
        steps = []
        for size in sizes:
            options, now = errors[size.name], density[size.name]
            for d in sorted(options):
                extra = cost(size, d) - cost(size, now)
                saved = options[now] - options[d]
                if d > now and saved > 0 and total + extra <= budget:
                    steps.append((saved / max(extra, 1e-30), size.name, d, extra))
        if not steps:
            return density
        _, name, d, extra = max(steps)
        density[name] = d
        total += extra


def _scaled(
    sizes: Sequence[Size], ratio: Mapping[str, float], target: float, cost: Cost
) -> dict[str, float]:
    """Densities proportional to ``ratio``, at most 1, of a total cost of ``target``."""

    def at(scale: float) -> dict[str, float]:
        return {s.name: min(1.0, max(LEAST_DENSITY, scale * ratio[s.name])) for s in sizes}

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
