"""Drawings by hand: bars with whiskers, and the arena over the program."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 1000
MARGIN = 20  # around a drawing that is a file of its own


@dataclass(frozen=True)
class Bar:
    """One bar: ``spread`` is the interquartile range (0: none); ``kind`` ours, twin or peer."""

    label: str
    value: float
    text: str
    kind: str = "peer"
    spread: float = 0.0


@dataclass(frozen=True)
class Span:
    """A stretch of the arena: bytes [offset, offset + size) while ops first..last run."""

    name: str
    offset: int
    size: int
    first: int
    last: int
    kind: str = "tensor"


@dataclass(frozen=True)
class Arena:
    """What ``timeline`` draws."""

    spans: Sequence[Span]
    ops: Sequence[str]
    total: int
    peak_op: int


def bars(items: Sequence[Bar], *, title: str = "") -> str:
    """Horizontal bars, all from zero, the value written after each."""
    left, row, room = 260, 34, 560
    top = 24 if title else 4
    most = max((bar.value + bar.spread / 2 for bar in items), default=0) or 1
    parts = [f'<text x="0" y="14" class="soft">{html.escape(title)}</text>'] if title else []
    for i, bar in enumerate(items):
        y, length = top + i * row, max(1.0, bar.value / most * room)
        half = bar.spread / 2 / most * room
        parts.append(
            f'<text x="{left - 12}" y="{y + 19}" text-anchor="end">{html.escape(bar.label)}</text>'
            f'<rect class="{bar.kind}" x="{left}" y="{y + 4}" width="{length:.1f}" '
            'height="22" rx="3"/>'
        )
        if half > 0.5:
            parts.append(_whisker(left + length - half, left + length + half, y + 15))
        parts.append(
            f'<text x="{left + length + half + 8:.1f}" y="{y + 19}">{html.escape(bar.text)}</text>'
        )
    return drawing(top + len(items) * row + 4, parts, label=title or "bar chart")


def timeline(arena: Arena) -> str:
    """Ops across, bytes up: each rectangle is a tensor or scratch for as long as it lives."""
    left, top, high, foot = 90, 20, 340, 34
    room = WIDTH - left - 10
    count, total = max(1, len(arena.ops)), max(1, arena.total)
    step = room / count
    parts = [_grid(left, top, high, room, total)]
    for span in arena.spans:
        x, width = left + span.first * step, (span.last - span.first + 1) * step
        tall = span.size / total * high
        y = top + high - (span.offset + span.size) / total * high
        live = span.first <= arena.peak_op <= span.last
        kind = "peak" if live and span.kind == "tensor" else span.kind
        note = f"{span.name}: {span.size:,} bytes, ops {span.first} to {span.last}"
        parts.append(
            f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{max(width, 0.8):.2f}" '
            f'height="{max(tall, 0.8):.2f}"><title>{html.escape(note)}</title></rect>'
        )
    parts.append(_peak(arena, left + (arena.peak_op + 0.5) * step, top, high))
    parts.append(
        f'<text class="soft" x="{left}" y="{top + high + 24}">op 0</text>'
        f'<text class="soft" x="{left + room}" y="{top + high + 24}" text-anchor="end">'
        f"op {count - 1}</text>"
    )
    return drawing(top + high + foot, parts, label="memory over the program")


def _grid(left: int, top: int, high: int, room: int, total: int) -> str:
    lines = []
    for quarter in range(5):
        y = top + high - high * quarter / 4
        lines.append(
            f'<line class="grid" x1="{left}" x2="{left + room}" y1="{y}" y2="{y}"/>'
            f'<text class="soft" x="{left - 8}" y="{y + 4}" text-anchor="end">'
            f"{total * quarter / 4 / 1024:,.1f} KiB</text>"
        )
    return "".join(lines)


def _peak(arena: Arena, x: float, top: int, high: int) -> str:
    name = arena.ops[arena.peak_op] if arena.ops else ""
    side = "end" if x > WIDTH / 2 else "start"
    shift = -6 if side == "end" else 6
    return (
        f'<line class="peakline" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{top + high}"/>'
        f'<text x="{x + shift:.1f}" y="{top - 6}" text-anchor="{side}">'
        f"peak at op {arena.peak_op}: {html.escape(name)}</text>"
    )


def _whisker(low: float, high: float, y: float) -> str:
    ends = "".join(
        f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 5}" y2="{y + 5}"/>'
        for x in (low, high)
    )
    return f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>{ends}'


def drawing(height: float, parts: Sequence[str], *, label: str) -> str:
    """An <svg> of ``parts``, WIDTH units wide; it scales with the page."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{html.escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def standalone(drawing: str, *, style: str) -> str:
    """The drawing as an .svg file of its own: its style inside, on paper with a margin."""
    head, rest = drawing.split(">", 1)
    box = head.split('viewBox="')[1].split('"')[0]
    x, y, width, height = (int(n) for n in box.split())
    wide = (x - MARGIN, y - MARGIN, width + 2 * MARGIN, height + 2 * MARGIN)
    paper = '<rect class="paper" x="{}" y="{}" width="{}" height="{}" rx="8"/>'.format(*wide)
    head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head = head.replace(box, "{} {} {} {}".format(*wide))
    return f"{head}><style>{style}</style>{paper}{rest}\n"
