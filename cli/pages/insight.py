"""The sections of bench's page about limits and predictions: tables, and the roofline drawn."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from filigree.cli.pages.html import Cell, section, table
from filigree.cli.pages.svg import WIDTH, drawing
from filigree.cli.tasks.insight import Insight, Table, tables
from filigree.cli.tasks.roofline import Layer, Roofline

LEFT, TOP, HIGH, FOOT, RIGHT = 80, 24, 360, 46, 20


def sections(insight: Insight) -> list[str]:
    """One section for each thing that was asked for."""
    found, rest = [], tables(insight)
    if insight.roofline is not None:
        explanation = (
            "The least time of a layer is the larger of flops / peak and bytes / bandwidth, both "
            "measured in turns with the layers. Flops are two per multiply-add of a stored weight; "
            "bytes are weights as stored and activations read and written once, from the smallest "
            "memory that holds them. A dot is a layer, its area the layer's share of the time."
        )
        body = roofline_chart(insight.roofline) + _body(rest.pop(0))
        found.append(section("Roofline", explanation, body=body))
    if insight.explanation is not None:
        explanation = (
            "What the cost table predicted for every layer, and what it took; the runner-up is the "
            "best of the patterns that were not taken, by the same prediction."
        )
        found.append(section("Predicted and measured", explanation, body=_body(rest.pop(0))))
    return found


def _body(found: Table) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in found.lines)
    rows = [[Cell(text, _kind(i, text)) for i, text in enumerate(row)] for row in found.rows]
    return lines + table(found.header, rows)


def _kind(column: int, text: str) -> str:
    if column == 0:
        return "name"
    return "num" if text[:1].isdigit() or text[:1] in "+-" else ""


class _Axes:
    """Where intensity and rate lie on the drawing, both by their logarithm."""

    def __init__(self, roof: Roofline) -> None:
        points = [layer for layer in roof.layers if layer.work.flops]
        ridge = roof.peak / min(roof.bandwidth.values())
        xs = [layer.work.intensity for layer in points] + [ridge]
        ys = [layer.flops_per_second for layer in points] + [roof.peak]
        self.x0, self.x1 = _decades(xs)
        self.y0, self.y1 = _decades(ys)

    def x(self, intensity: float) -> float:
        share = (math.log10(intensity) - self.x0) / (self.x1 - self.x0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, rate: float) -> float:
        return TOP + HIGH - (math.log10(rate) - self.y0) / (self.y1 - self.y0) * HIGH


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def roofline_chart(roof: Roofline) -> str:
    """Operations per second over operations per byte: roofs as lines, layers as dots."""
    axes = _Axes(roof)
    parts = ['<text x="0" y="14" class="soft">GFLOP/s over flop/byte</text>', _grid(axes)]
    parts += [_roof(axes, roof.peak, name, rate) for name, rate in roof.bandwidth.items()]
    parts += [_dot(axes, layer, roof.seconds) for layer in roof.layers if layer.work.flops]
    return drawing(TOP + HIGH + FOOT, parts, label="roofline")


def _grid(axes: _Axes) -> str:
    parts = []
    for decade in range(axes.y0, axes.y1 + 1):
        y = axes.y(10.0**decade)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{10.0 ** (decade - 9):g}</text>"
        )
    for decade in range(axes.x0, axes.x1 + 1):
        x = axes.x(10.0**decade)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + HIGH}"/>'
            f'<text class="soft" x="{x:.1f}" y="{TOP + HIGH + 18}" text-anchor="middle">'
            f"{10.0**decade:g}</text>"
        )
    return "".join(parts)


def _roof(axes: _Axes, peak: float, name: str, rate: float) -> str:
    """Up the slope of one level's bandwidth, then along the peak; both cut at the edges."""
    ridge = peak / rate
    start = max(10.0**axes.x0, 10.0**axes.y0 / rate)
    end = 10.0**axes.x1
    points = [(start, min(peak, start * rate)), (min(max(ridge, start), end), peak), (end, peak)]
    path = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points)
    middle = math.sqrt(start * min(ridge, end)) if ridge > start else start
    return (
        f'<polyline class="roof" points="{path}"/>'
        f'<text class="soft" x="{axes.x(middle):.1f}" y="{axes.y(middle * rate) - 6:.1f}" '
        f'text-anchor="end">{html.escape(name)} {rate / 1e9:.0f} GB/s</text>'
    )


def _dot(axes: _Axes, layer: Layer, total: float) -> str:
    radius = 3 + 30 * math.sqrt(layer.seconds / max(total, 1e-12)) / 2
    note = f"{layer.layer}: {layer.flops_per_second / 1e9:.1f} GFLOP/s, {layer.of_roof:.0%} of roof"
    return (
        f'<circle class="layer" cx="{axes.x(layer.work.intensity):.1f}" '
        f'cy="{axes.y(layer.flops_per_second):.1f}" r="{radius:.1f}">'
        f"<title>{html.escape(note)}</title></circle>"
    )
