"""Ranges of activations: what of a distribution eight bits should cover.

- ``minmax``: everything that was seen.
- ``percentile``: all but 0.01 % of the values at each end.
- ``mse``: the range whose rounding and clipping cost the least squared error.
- ``entropy``: the range whose rounded distribution is nearest to the one seen (Kullback and
  Leibler), as in Migacz, "8-bit inference with TensorRT", GTC 2017.
All of them hold 0, so that zero padding and a rectified 0 are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

LOW, HIGH = -128, 127
STEPS = HIGH - LOW
WEIGHT_MOST = 127  # symmetric: -127 to 127
OUTSIDE = 1e-4  # of the values, at each end, that percentile leaves out
SHRUNK = np.linspace(1.0, 0.3, 71)  # of a range's ends: what mse and entropy try
LEAST = 1e-12  # of a range: one of zeros alone has a scale all the same


@dataclass(frozen=True)
class Histogram:
    """How often values fell between ``edges`` [n + 1], ascending: ``count`` [n]."""

    edges: F64
    count: F64

    @property
    def centres(self) -> F64:
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value seen."""
        return float(self.edges[0]), float(self.edges[-1])


@dataclass(frozen=True)
class Params:
    """int8 q stands for (q - zero) * scale."""

    scale: float
    zero: int

    def rounded(self, x: F64) -> F64:
        """What is left of ``x``."""
        steps = np.clip(np.rint(x / self.scale) + self.zero, LOW, HIGH)
        return np.asarray((steps - self.zero) * self.scale)


def params(low: float, high: float) -> Params:
    """Scale and zero point that cover [low, high] and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, LEAST) / STEPS))
    zero = int(np.clip(np.rint(LOW - low / scale), LOW, HIGH))
    return Params(scale, zero)


def choose(seen: Histogram, method: str) -> Params:
    """The parameters that ``method``, a name of METHODS, takes for a distribution."""
    return params(*METHODS[method](seen))


def weight_scales(rows: F64, method: str) -> NDArray[np.float32]:
    """A symmetric scale for each row of weights [rows, cols]: over its largest value, or, for
    ``mse``, the one with the least squared error."""
    most = np.maximum(np.abs(rows).max(axis=1), LEAST)
    if method != "mse":
        return np.asarray(most / WEIGHT_MOST, np.float32)
    best, least = most, np.full(len(rows), np.inf)
    for share in SHRUNK:
        scale = (most * share / WEIGHT_MOST)[:, None]
        kept = np.clip(np.rint(rows / scale), -WEIGHT_MOST, WEIGHT_MOST) * scale
        error = ((rows - kept) ** 2).sum(axis=1)
        better = error < least
        best, least = np.where(better, most * share, best), np.where(better, error, least)
    return np.asarray(best / WEIGHT_MOST, np.float32)


def _minmax(seen: Histogram) -> tuple[float, float]:
    return seen.ends


def _percentile(seen: Histogram) -> tuple[float, float]:
    share = np.cumsum(seen.count) / seen.count.sum()
    first = int(np.searchsorted(share, OUTSIDE, side="right"))
    last = int(np.searchsorted(share, 1 - OUTSIDE))
    return float(seen.edges[first]), float(seen.edges[last + 1])


def _mse(seen: Histogram) -> tuple[float, float]:
    def cost(low: float, high: float) -> float:
        gap = seen.centres - params(low, high).rounded(seen.centres)
        return float((seen.count * gap**2).sum())

    return _least(seen, cost)


def _entropy(seen: Histogram) -> tuple[float, float]:
    spread = np.where((seen.edges[:-1] <= 0) & (seen.edges[1:] >= 0), 0.0, seen.count)
    total = spread / max(spread.sum(), LEAST)  # 0 itself is always exact

    def cost(low: float, high: float) -> float:
        """KL of the clipped distribution and what 255 steps make of it."""
        inside = (seen.centres >= low) & (seen.centres <= high)
        if not inside.any():
            return np.inf
        p = np.where(inside, total, 0.0)
        p[np.flatnonzero(inside)[0]] += total[seen.centres < low].sum()
        p[np.flatnonzero(inside)[-1]] += total[seen.centres > high].sum()
        found = params(low, high)
        step = np.clip(np.rint(seen.centres / found.scale) + found.zero, LOW, HIGH).astype(int)
        step -= LOW
        kept = np.where(inside, total, 0.0)
        mass = np.bincount(step, kept, minlength=STEPS + 1)
        filled = np.bincount(step, kept > 0, minlength=STEPS + 1)
        q = np.where(kept > 0, (mass / np.maximum(filled, 1))[step], 0.0)
        both = (p > 0) & (q > 0)
        lost = p[(p > 0) & (q == 0)].sum()
        q = q / max(q.sum(), LEAST)
        return float((p[both] * np.log(p[both] / q[both])).sum() + lost)

    return _least(seen, cost)


def _least(seen: Histogram, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """The cheapest range, each end shrunk on its own in turn."""
    low, high = (min(seen.ends[0], 0.0), max(seen.ends[1], 0.0))
    best_high = min(SHRUNK, key=lambda s: cost(low, high * s)) if high > 0 else 1.0
    best_low = min(SHRUNK, key=lambda s: cost(low * s, high * best_high)) if low < 0 else 1.0
    return float(low * best_low), float(high * best_high)


METHODS: dict[str, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
