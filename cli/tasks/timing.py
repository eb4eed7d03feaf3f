"""Fair timing in one process: candidates take turns on one pinned core."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

SAMPLE_SECONDS = 2e-3  # a sample repeats a short run until it lasts this long


@dataclass(frozen=True)
class Candidate:
    """Something that can be run: ``call`` does one inference."""

    name: str
    call: Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds per inference over ``samples`` samples."""

    name: str
    median: float
    minimum: float
    iqr: float
    samples: int


@contextlib.contextmanager
def pinned() -> Iterator[int | None]:
    """Keep this thread on the last core it may use; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def interleave(
    candidates: list[Candidate],
    *,
    seconds: float = 2.0,
    least: int = 15,
    progress: Callable[[str, float], None] | None = None,
) -> list[Timing]:
    """Time the candidates A B C A B C ..., reversing the order every other round.

    ``seconds`` is the time to spend on each; every one gets at least ``least`` samples.
    """
    repeats = [_repeats(candidate) for candidate in candidates]
    once = sum(_sample(c, n) * n for c, n in zip(candidates, repeats, strict=True))
    rounds = max(least, min(1000, int(seconds * len(candidates) / max(once, 1e-9))))
    samples: list[list[float]] = [[] for _ in candidates]
    for turn in range(rounds):
        order = range(len(candidates))
        for i in order if turn % 2 == 0 else reversed(order):
            samples[i].append(_sample(candidates[i], repeats[i]))
        if progress:
            progress("timing", (turn + 1) / rounds)
    return [summary(c.name, s) for c, s in zip(candidates, samples, strict=True)]


def _repeats(candidate: Candidate) -> int:
    for _ in range(3):
        candidate.call()  # warm caches, page in, let lazy set-up happen
    return max(1, round(SAMPLE_SECONDS / max(_sample(candidate, 1), 1e-9)))


def _sample(candidate: Candidate, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        candidate.call()
    return (time.perf_counter() - start) / repeats


def summary(name: str, samples: list[float]) -> Timing:
    """The figures of some samples, in seconds per inference."""
    low, median, high = np.percentile(samples, (25, 50, 75))
    return Timing(name, float(median), min(samples), float(high - low), len(samples))
