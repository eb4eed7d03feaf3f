"""Fair timing in one process: candidates take turns on the same pinned cores."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE_SECONDS = 2e-3  # a sample repeats a short run until it lasts this long
IDLE_SECONDS, IDLE_TRIES = 1e-3, 200


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
def pinned(threads: int = 1) -> Iterator[tuple[int, ...]]:
    """Keep this process, threads that it has included, on as many of its last cores as there are
    ``threads``, or on all if there are fewer; no cores where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    before = {thread: os.sched_getaffinity(thread) for thread in _threads()}
    cores = tuple(sorted(os.sched_getaffinity(0))[-threads:])
    for thread in before:
        _pin(thread, cores)
    try:
        yield cores
    finally:
        for thread in _threads():
            _pin(thread, before.get(thread, before[0]))


def spread(cores: tuple[int, ...]) -> None:
    """Inside ``pinned``, once everything has been opened: the calling thread on the first core, all
    others on the rest, so that none takes the core of the one that wakes it."""
    if len(cores) > 1:
        for thread in _threads():
            _pin(thread, cores[1:])
        _pin(0, cores[:1])


def _threads() -> list[int]:
    """The threads of this process; 0, the caller's, alone where there is no list of them."""
    tasks = Path("/proc/self/task")
    return [0, *(int(task.name) for task in tasks.iterdir())] if tasks.is_dir() else [0]


def _pin(thread: int, cores: Iterable[int]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.sched_setaffinity(thread, cores)


def interleave(
    candidates: list[Candidate],
    *,
    seconds: float = 2.0,
    least: int = 15,
    threads: int = 1,
    progress: Callable[[str, float], None] | None = None,
) -> list[Timing]:
    """Time the candidates A B C A B C ..., reversing the order every other round.

    ``seconds`` is the time to spend on each; every one gets at least ``least`` samples. With
    several ``threads``, a turn begins when the last candidate's have stopped spinning (some do so
    for tens of milliseconds), with a call that is not timed, which wakes its own.
    """
    repeats = [_repeats(candidate) for candidate in candidates]
    start = time.perf_counter()
    for candidate, n in zip(candidates, repeats, strict=True):
        _turn(candidate, n, threads=threads)
    once = time.perf_counter() - start
    rounds = max(least, min(1000, int(seconds * len(candidates) / max(once, 1e-9))))
    samples: list[list[float]] = [[] for _ in candidates]
    for turn in range(rounds):
        order = range(len(candidates))
        for i in order if turn % 2 == 0 else reversed(order):
            samples[i].append(_turn(candidates[i], repeats[i], threads=threads))
        if progress:
            progress("timing", (turn + 1) / rounds)
    return [summary(c.name, s) for c, s in zip(candidates, samples, strict=True)]


def _repeats(candidate: Candidate) -> int:
    for _ in range(3):
        candidate.call()  # warm caches, page in, let lazy set-up happen
    return max(1, round(SAMPLE_SECONDS / max(_sample(candidate, 1), 1e-9)))


def _turn(candidate: Candidate, repeats: int, *, threads: int) -> float:
    if threads > 1:
        _wait_until_idle()
        candidate.call()
    return _sample(candidate, repeats)


def _wait_until_idle() -> None:
    """Until this process uses less than a third of a core."""
    for _ in range(IDLE_TRIES):
        start, used = time.perf_counter(), time.process_time()
        time.sleep(IDLE_SECONDS)
        if time.process_time() - used < (time.perf_counter() - start) / 3:
            return


def _sample(candidate: Candidate, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        candidate.call()
    return (time.perf_counter() - start) / repeats


def summary(name: str, samples: list[float]) -> Timing:
    """The figures of some samples, in seconds per inference."""
    low, median, high = np.percentile(samples, (25, 50, 75))
    return Timing(name, float(median), min(samples), float(high - low), len(samples))
