"""A line chart by hand: one line a series, the y axis in per cent or any unit."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from filigree.cli.pages.svg import WIDTH, drawing

COLOURS = (  # of middling lightness: on white and on black
    *("#2f81f7", "#a371f7", "#2da44e", "#e0733a", "#e5534b", "#1b9aaa"),
    *("#bf8700", "#768390", "#d64f9c", "#7a8f1f", "#a1745b", "#5b6fd6"),
)
LEFT, TOP, HIGH, FOOT = 70, 30, 380, 46
LEGEND = 330  # room on the right


@dataclass(frozen=True)
class Series:
    """Points (x, y), drawn in order; ``dashed``: a reference rather than a result."""

    label: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True)
class Labels:
    """The chart's title and what its axes are."""

    title: str
    x: str
    y: str


def lines(series: Sequence[Series], labels: Labels) -> str:
    """The chart as an SVG drawing; x from 0 to 1 is written in per cent."""
    values = [y for s in series for _, y in s.points if math.isfinite(y)]
    low, high = _range(values)
    parts = [f'<text x="0" y="14" class="soft">{html.escape(labels.title)}</text>']
    parts.append(_axes(low, high, labels))
    for i, one in enumerate(series):
        parts.append(_line(one, COLOURS[i % len(COLOURS)], low, high))
        parts.append(_legend(one, COLOURS[i % len(COLOURS)], TOP + 8 + 22 * i))
    height = max(TOP + HIGH + FOOT, TOP + 22 * len(series) + 10)
    return drawing(height, parts, label=labels.title)


def _range(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9)))
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _x(value: float) -> float:
    return LEFT + value * (WIDTH - LEFT - LEGEND)


def _y(value: float, low: float, high: float) -> float:
    return TOP + HIGH - (value - low) / max(high - low, 1e-12) * HIGH


def _axes(low: float, high: float, labels: Labels) -> str:
    parts = []
    for i in range(6):
        value = low + (high - low) * i / 5
        y = _y(value, low, high)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{_x(1):.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for i in range(0, 11):
        x = _x(i / 10)
        parts.append(
            f'<text class="soft" x="{x:.1f}" y="{TOP + HIGH + 18}" text-anchor="middle">'
            f"{10 * i}</text>"
        )
    middle = (_x(0) + _x(1)) / 2
    parts.append(
        f'<text class="soft" x="{middle:.0f}" y="{TOP + HIGH + 38}" text-anchor="middle">'
        f"{html.escape(labels.x)}</text>"
        f'<text class="soft" x="14" y="{TOP + HIGH / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {TOP + HIGH / 2})">{html.escape(labels.y)}</text>'
    )
    return "".join(parts)


def _line(one: Series, colour: str, low: float, high: float) -> str:
    at = [(_x(x), _y(y, low, high), x, y) for x, y in one.points if math.isfinite(y)]
    dash = ' stroke-dasharray="6 5"' if one.dashed else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in at)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}">'
        f"<title>{html.escape(one.label)}: {given:.0%}, {value:.4g}</title></circle>"
        for x, y, given, value in at
        if not one.dashed
    )
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>{dots}'


def _legend(one: Series, colour: str, y: float) -> str:
    x = _x(1) + 18
    dash = ' stroke-dasharray="6 5"' if one.dashed else ""
    return (
        f'<line x1="{x:.0f}" x2="{x + 24:.0f}" y1="{y}" y2="{y}" stroke="{colour}" '
        f'stroke-width="2.5"{dash}/>'
        f'<text x="{x + 32:.0f}" y="{y + 4}">{html.escape(one.label)}</text>'
    )
