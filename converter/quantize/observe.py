"""What the values of a network look like on calibration data: in two runs over it, the ends of
every value and then its histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.calibration import Data, Progress, Runner
from filigree.converter.errors import UsageError
from filigree.converter.quantize.ranges import F64, LEAST, Histogram

BINS = 2048


def histograms(
    model: ir.Model, values: Sequence[str], data: Data, *, progress: Progress | None = None
) -> dict[str, Histogram]:
    """A histogram of BINS for each of ``values``.

    Raises UsageError if the data does not fill one batch, or a value is not finite on it.
    """
    runner = Runner(model, values)
    if len(data) < runner.batch:
        raise UsageError(f"the model takes {runner.batch} samples, the data has {len(data)}")
    batches = list(data.batches(runner.batch))
    low, high = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    for i, x in enumerate(batches):
        for name, seen in _seen(runner, x):
            low[name] = min(low[name], float(seen.min()))
            high[name] = max(high[name], float(seen.max()))
        _tell(progress, i + 1, 2 * len(batches))
    wild = [n for n in values if not np.isfinite([low[n], high[n]]).all()]
    if wild:
        raise UsageError("the model's values are not finite on this data", wild)
    edges = {n: _edges(low[n], high[n]) for n in values}
    count: dict[str, F64] = {n: np.zeros(BINS) for n in values}
    for i, x in enumerate(batches):
        for name, seen in _seen(runner, x):
            found, _ = np.histogram(seen, edges[name])
            count[name] += found
        _tell(progress, len(batches) + i + 1, 2 * len(batches))
    return {n: Histogram(edges[n], count[n]) for n in values}


def _edges(low: float, high: float) -> F64:
    return np.linspace(low, max(high, low + LEAST), BINS + 1)


def _seen(runner: Runner, x: NDArray[Any]) -> list[tuple[str, NDArray[Any]]]:
    return [(n, v) for n, v in zip(runner.values, runner.run(x), strict=True) if v.size]


def _tell(progress: Progress | None, done: int, of: int) -> None:
    if progress is not None:
        progress("calibrating", done / max(1, of))
