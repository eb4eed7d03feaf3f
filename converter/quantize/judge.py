"""How good a quantised network is: signal to noise, layer by layer, and accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.calibration import Data, Progress, Runner
from filigree.converter.quantize.ranges import LEAST

MOST_DECIBEL = 200.0  # what an exact copy is given


def signal_to_noise(
    exact: ir.Model, quantised: ir.Model, pairs: Mapping[str, str], data: Data
) -> dict[str, float]:
    """Decibel of each value of ``exact`` over its difference from the other network's; ``pairs``:
    names there to names here."""
    one, two = Runner(exact, list(pairs)), Runner(quantised, list(pairs.values()))
    signal = dict.fromkeys(pairs, 0.0)
    noise = dict.fromkeys(pairs, 0.0)
    for x in data.batches(one.batch):
        for name, a, b in zip(pairs, one.run(x), two.run(x), strict=True):
            signal[name] += _power(a)
            noise[name] += _power(a.astype(np.float64) - b)
    return {name: _decibel(signal[name], noise[name]) for name in pairs}


def _power(x: NDArray[np.generic]) -> float:
    return float(np.square(x, dtype=np.float64).sum())


def _decibel(signal: float, noise: float) -> float:
    if noise <= 0:
        return MOST_DECIBEL
    return 10 * math.log10(max(signal, LEAST) / noise)


def accuracy(model: ir.Model, data: Data) -> float | None:
    """Share of right answers by the largest score, of whole batches; None without labels."""
    if data.y is None:
        return None
    runner = Runner(model)
    scores = [runner.run(x)[0] for x in data.batches(runner.batch)]
    if not scores:
        return None
    found = np.concatenate([s.reshape(len(s), -1).argmax(axis=1) for s in scores])
    return float(np.mean(found == data.y[: len(found)]))


def sensitivity(
    exact: ir.Model,
    layers: Sequence[str],
    quantised_alone: Callable[[str], ir.Model],
    outputs: Iterable[str],
    data: Data,
    *,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Decibel at the network's outputs if one layer alone is quantised, for each of ``layers``."""
    pairs = {name: name for name in outputs}
    found = {}
    for i, layer in enumerate(layers):
        levels = signal_to_noise(exact, quantised_alone(layer), pairs, data)
        found[layer] = min(levels.values())
        if progress is not None:
            progress("sensitivity", (i + 1) / len(layers))
    return found
