"""Pages and charts about pruning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from filigree.cli.console import percent
from filigree.cli.pages.html import Cell, facts, section, table
from filigree.cli.pages.lines import Labels, Series, lines
from filigree.cli.pages.model import CHART_STYLE
from filigree.cli.pages.svg import standalone

if TYPE_CHECKING:
    from filigree.cli.tasks.pruning import Outcome, Point, Quality


def comparison_svg(model: str, dense: Quality, points: Sequence[Point]) -> str:
    """Accuracy (or output error where there are no labels) against sparsity, one line a way."""
    labelled = dense.accuracy is not None
    series = [Series("dense", [(0.0, _value(dense)), (1.0, _value(dense))], dashed=True)]
    for way in dict.fromkeys(point.way for point in points):
        found = [(p.sparsity, _value(p.quality)) for p in points if p.way == way]
        series.append(Series(way, found))
    what = "accuracy" if labelled else "agreement with the dense model"
    labels = Labels(
        f"{model}: {what} against sparsity, {dense.samples} samples that pruning did not see",
        "zeros in the pruned layers, %",
        "top-1 accuracy, %" if labelled else "same top-1 as dense, %",
    )
    return standalone(lines(series, labels), style=CHART_STYLE.read_text(encoding="utf-8"))


def _value(quality: Quality) -> float:
    return quality.accuracy if quality.accuracy is not None else quality.agreement


def sections(outcome: Outcome) -> list[str]:
    """The page of one pruned model."""
    found = []
    if outcome.before is not None and outcome.after is not None:
        cards = [("samples", str(outcome.after.samples))]
        if outcome.before.accuracy is not None and outcome.after.accuracy is not None:
            cards.append(("accuracy before", f"{outcome.before.accuracy:.1f} %"))
            cards.append(("accuracy after", f"{outcome.after.accuracy:.1f} %"))
        cards.append(("same top-1 as before", f"{outcome.after.agreement:.1f} %"))
        found.append(facts(cards))
    rows = [
        [
            Cell(layer.name, "name"),
            Cell(f"{layer.rows} x {layer.cols}", "num"),
            Cell(layer.pattern),
            Cell(percent(layer.sparsity), "num"),
            Cell(f"{layer.blocks:,} of {layer.of:,}", "num"),
            Cell("-" if layer.error is None else f"{layer.error:.3g}", "num"),
        ]
        for layer in outcome.pruned.layers
    ]
    header = ["layer", "weights", "pattern", "zeros", "blocks kept", "output error"]
    note = "Output error: of the layer's output on calibration data, relative to its power."
    found.append(section("Layers", note, body=table(header, rows)))
    return found
