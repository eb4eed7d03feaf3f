"""Prune as the command line asks for it, judge the result, and compare several ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from filigree.converter import calibration, frontends, passes, prune
from filigree.converter.calibration import Data, Runner
from filigree.converter.errors import UsageError
from filigree.converter.lowering.program import F32
from filigree.converter.prune import Override, Pattern, Pruned, PruneOptions

if TYPE_CHECKING:
    import onnx_ir as ir

Report = Callable[[str, float], None]
COMPARED_AT = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("unstructured magnitude", {"pattern": "1x1", "rearrange": False}),
    ("4x1 magnitude, rows as they are", {"rearrange": False}),
    ("4x1 magnitude, rearranged", {}),
    ("4x1 obs + least squares, rearranged", {"method": "obs", "refine": True}),
    ("4x1 obs, each layer on what it is given", {"method": "obs", "refine": True, "again": True}),
    ("4x1 random", {"method": "random", "rearrange": False}),
)


@dataclass(frozen=True)
class Quality:
    """``accuracy``: top-1 per cent on labelled data; ``agreement``: per cent of samples with the
    dense model's top-1; ``error``: of the outputs, relative to their power."""

    samples: int
    accuracy: float | None
    agreement: float
    error: float


@dataclass(frozen=True)
class Outcome:
    """A pruned model with what it does before and after."""

    pruned: Pruned
    before: Quality | None
    after: Quality | None

    def as_json(self) -> dict[str, Any]:
        arranged = self.pruned.rearranged
        return {
            "sparsity": self.pruned.sparsity,
            "before": asdict(self.before) if self.before else None,
            "after": asdict(self.after) if self.after else None,
            "rearranged": len(arranged.orders) if arranged else 0,
            "layers": [asdict(layer) for layer in self.pruned.layers],
        }


@dataclass(frozen=True)
class Point:
    """One way at one sparsity."""

    way: str
    asked: float
    sparsity: float
    quality: Quality


def override(text: str) -> tuple[str, Override]:
    """``NAME=0.5``, ``NAME=dense``, ``NAME=8x1`` or ``NAME=0.5:8x1``. Raises ValueError."""
    name, equals, rest = text.rpartition("=")
    if not equals or not name or not rest:
        raise ValueError(f"{text!r} is not NAME=SPARSITY, NAME=PATTERN or NAME=dense")
    if rest == "dense":
        return name, Override(sparsity=0.0)
    first, colon, second = rest.partition(":")
    if not _is_number(first) or (colon and second.isdigit()):  # 2:4 is a pattern of its own
        return name, Override(pattern=Pattern.parse(rest))
    return name, Override(float(first), Pattern.parse(second) if colon else None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def run(
    source: Path, options: PruneOptions, *, calib: Data | None, test: Data | None, progress: Report
) -> Outcome:
    """Prune, and judge by ``test`` (or by the calibration data if there is no other)."""
    judged_by = test if test is not None else calib
    pruned = prune.prune(source, options, data=calib, progress=progress)
    if judged_by is None:
        return Outcome(pruned, None, None)
    dense = graph(source, judged_by)
    progress("judging", 0.9)
    scores = outputs(dense, judged_by)
    after = quality(outputs(pruned.graph, judged_by), scores, judged_by)
    return Outcome(pruned, quality(scores, scores, judged_by), after)


def graph(source: Path, data: Data) -> ir.Model:
    """The model as it is, with a batch that suits ``data``."""
    batch = max(1, min(prune.MOST_BATCH, len(data)))
    return passes.run(frontends.load(source), batch=batch, portable=True)


def outputs(model: ir.Model, data: Data) -> F32:
    """The first output for every sample: [N, values]."""
    runner = Runner(model)
    found = []
    for start in range(0, len(data), runner.batch):
        x = data.x[start : start + runner.batch]
        filled = np.concatenate([x, *[x[-1:]] * (runner.batch - len(x))])
        found.append(runner.run(filled)[0].reshape(runner.batch, -1)[: len(x)])
    return np.concatenate(found)


def quality(scores: F32, dense: F32, data: Data) -> Quality:
    """``scores`` against ``dense``, both [N, values]."""
    top = scores.argmax(axis=1)
    right = None if data.y is None else float(100 * np.mean(top == data.y))
    gap = np.square(scores - dense, dtype=np.float64).sum()
    power = max(float(np.square(dense, dtype=np.float64).sum()), 1e-30)
    return Quality(
        len(data), right, float(100 * np.mean(top == dense.argmax(axis=1))), float(gap) / power
    )


def compare(
    source: Path,
    options: PruneOptions,
    *,
    calib: Data,
    test: Data,
    sparsities: Sequence[float],
    progress: Report,
) -> tuple[Quality, list[Point]]:
    """Every way of ``WAYS`` at every sparsity, on data that pruning did not see."""
    dense = outputs(graph(source, test), test)
    found = []
    for i, (name, way) in enumerate(WAYS):
        for k, sparsity in enumerate(sparsities):
            progress(name, (i + k / len(sparsities)) / len(WAYS))
            pruned = prune.prune(source, _way(options, way, sparsity), data=calib)
            judged = quality(outputs(pruned.graph, test), dense, test)
            found.append(Point(name, sparsity, pruned.sparsity, judged))
    return quality(dense, dense, test), found


def _way(options: PruneOptions, way: dict[str, Any], sparsity: float) -> PruneOptions:
    return replace(
        options,
        sparsity=sparsity,
        pattern=Pattern.parse(way.get("pattern", "4x1")),
        method=way.get("method", "magnitude"),
        refine=("least_squares",) if way.get("refine") else (),
        reconstruct=bool(way.get("again")),
        rearrange=way.get("rearrange", True),
    )


def halves(data: Data) -> tuple[Data, Data]:
    """Every other sample to calibrate with, the rest to judge by; UsageError if there is one."""
    if len(data) < 2:
        raise UsageError("one sample cannot be split into calibration and test data")
    y = data.y
    return (
        calibration.Data(data.x[0::2], None if y is None else y[0::2]),
        calibration.Data(data.x[1::2], None if y is None else y[1::2]),
    )
