"""What bench can say about a packed model beside its speed: how near the machine's limits every
layer comes, and how well its time was predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filigree.cli.console import duration, size
from filigree.cli.tasks import explain, roofline
from filigree.cli.tasks.packed import open_packed, open_program, random_inputs
from filigree.cli.tasks.timing import pinned

PROFILE_RUNS = 100
PROFILE_SECONDS = 2.0

Row = tuple[str, ...]


@dataclass(frozen=True)
class Insight:
    """What was asked for; None: it was not."""

    roofline: roofline.Roofline | None = None
    explanation: explain.Explanation | None = None


@dataclass(frozen=True)
class Table:
    """Sentences, then a table."""

    lines: Sequence[str]
    header: Row
    rows: Sequence[Row]


def study(
    path: Path,
    *,
    isa: str,
    of_roofline: bool,
    of_explain: bool,
    seconds: float,
    progress: Callable[[str, float], None] | None = None,
) -> Insight:
    """Look closer at the packed model at ``path``, on one core: both sides are of one core."""
    if not (of_roofline or of_explain):
        return Insight()
    model, program = open_packed(path, isa=isa), open_program(path)
    roof = explanation = None
    if of_roofline:
        roof = roofline.measure(model, program, seconds=seconds, progress=progress)
    if of_explain:
        inputs = random_inputs(model.inputs, seed=1)
        with pinned():
            once = float(model.time_ops(*inputs).sum())
            repeats = int(min(PROFILE_RUNS, max(15, PROFILE_SECONDS / max(once, 1e-9))))
            times = model.profile(*inputs, repeats=repeats)
        explanation = explain.explain(program, times, isa=model.isa)
    return Insight(roof, explanation)


def as_json(insight: Insight) -> dict[str, Any]:
    """The keys "roofline" and "explain", as far as they were asked for."""
    found: dict[str, Any] = {}
    if insight.roofline is not None:
        found["roofline"] = roofline.as_json(insight.roofline)
    if insight.explanation is not None:
        found["explain"] = explain.as_json(insight.explanation)
    return found


def tables(insight: Insight) -> list[Table]:
    """The same as text."""
    found = []
    if insight.roofline is not None:
        found.append(_roofline_table(insight.roofline))
    if insight.explanation is not None:
        found.append(_explain_table(insight.explanation))
    return found


ROOFLINE_HEADER = (
    "layer",
    "kind",
    "time",
    "GFLOP/s",
    "bytes",
    "flop/byte",
    "limit",
    "of peak",
    "of roof",
)
EXPLAIN_HEADER = (
    "layer",
    "kind",
    "pattern",
    "measured",
    "predicted",
    "error",
    "runner-up",
    "would take",
)


def _roofline_table(roof: roofline.Roofline) -> Table:
    rows = [
        (
            layer.layer,
            layer.kind,
            duration(layer.seconds),
            f"{layer.flops_per_second / 1e9:.1f}",
            size(layer.work.bytes),
            f"{layer.work.intensity:.1f}",
            layer.bound if layer.bound == "compute" else f"memory ({layer.bound})",
            f"{layer.of_peak:.0%}",
            f"{layer.of_roof:.0%}",
        )
        for layer in roof.layers
    ]
    return Table(roofline.summary(roof), ROOFLINE_HEADER, rows)


def _explain_table(explanation: explain.Explanation) -> Table:
    rows = [
        (
            layer.layer,
            layer.kind,
            layer.pattern or "-",
            duration(layer.measured),
            duration(layer.predicted),
            f"{layer.error:+.0%}",
            layer.runner_up or "-",
            "-" if layer.runner_up_predicted is None else duration(layer.runner_up_predicted),
        )
        for layer in explanation.layers
    ]
    return Table(explain.summary(explanation), EXPLAIN_HEADER, rows)
