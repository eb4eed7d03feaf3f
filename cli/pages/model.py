"""The page about one packed model: numbers, layers, sparsity pictures, memory."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filigree.cli.console import duration, percent, size
from filigree.cli.pages.html import Cell, facts, section, table
from filigree.cli.pages.mask import mask_uri
from filigree.cli.pages.svg import Arena, Bar, Span, bars, standalone, timeline
from filigree.cli.tasks import bench
from filigree.cli.tasks.layers import Layer, Measured, layers, why
from filigree.cli.tasks.timing import Timing
from filigree.converter.lowering.program import Place, Program

if TYPE_CHECKING:
    from filigree.cli.tasks.compare import Row
    from filigree.cli.tasks.demo import Demo

MOST_PICTURES = 80
CHART_STYLE = Path(__file__).with_name("chart.css")


def layer_section(rows_of: Sequence[Layer], *, measured: Mapping[str, Measured]) -> str:
    """The per-layer table."""
    header = [
        "layer",
        "kind",
        "weights",
        "positions",
        "pattern",
        "sparsity",
        "fill",
        "type",
        "bytes, of dense",
        "kernel",
        "predicted",
        "measured",
        "reason",
    ]
    rows = [_layer_row(layer, measured.get(layer.node)) for layer in rows_of]
    return section(
        "Layers",
        "Fill is the share of stored weights that are zeros, kept because another row of their "
        "group needs that index. Speed-ups are against the same layer stored dense: predicted by "
        "the cost table of the target, measured on this machine where it was timed.",
        body=table(header, rows) if rows else "<p>The packed model holds no layer report.</p>",
    )


def _layer_row(layer: Layer, measured: Measured | None) -> list[Cell]:
    kind = "badge sparse" if layer.is_sparse else "badge"
    badge = f'<span class="{kind}">{html.escape(layer.pattern)}</span>'
    bar = f'<span class="meter"><i style="width:{layer.sparsity:.1%}"></i></span>'
    meter = f"{percent(layer.sparsity)}{bar}"
    share = layer.stored_bytes / layer.dense_bytes if layer.dense_bytes else 1.0
    return [
        Cell(layer.node, "name"),
        Cell(layer.kind),
        Cell(f"{layer.rows} x {layer.cols}", "num"),
        Cell(str(layer.positions), "num"),
        Cell(markup=badge),
        Cell(kind="num", markup=meter),
        Cell(percent(layer.fill) if layer.is_sparse else "-", "num"),
        Cell(layer.dtype),
        Cell(
            kind="num", markup=f'{layer.stored_bytes:,}<br><span class="soft">{share:.2f}x</span>'
        ),
        Cell(layer.kernel),
        Cell(_gain(layer.predicted_speedup), "num"),
        Cell(_measured(measured), "num"),
        Cell(why(layer), "why"),
    ]


def _gain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _measured(measured: Measured | None) -> str:
    if measured is None:
        return "-"
    time = duration(measured.seconds)
    return time if measured.speedup is None else f"{measured.speedup:.2f}x ({time})"


def mask_section(program: Program) -> str:
    """A picture per sparse weight matrix; small ones pixel by pixel, large ones averaged."""
    figures = []
    for weights in program.weights.values():
        zeros = float((weights.matrix == 0).mean()) if weights.matrix.size else 0.0
        if zeros < 0.05:
            continue
        figures.append(
            f'<figure><img alt="nonzeros of {html.escape(weights.layer)}" '
            f'src="{mask_uri(weights.matrix)}"><figcaption>{html.escape(weights.layer)}<br>'
            f"{weights.rows} x {weights.cols}, {percent(zeros)} zero</figcaption></figure>"
        )
    left_out = len(figures) - MOST_PICTURES
    note = f" {left_out} more are not shown." if left_out > 0 else ""
    return section(
        "Where the weights are",
        "Rows are output channels, columns inputs; dark is nonzero. Matrices with under 5 % zeros "
        f"are left out.{note}",
        body=f'<div class="masks">{"".join(figures[:MOST_PICTURES])}</div>'
        if figures
        else "<p>No weight matrix is sparse.</p>",
    )


def arena(program: Program) -> Arena:
    """The program's memory plan as spans. The program must be planned."""
    plan = program.plan
    if plan is None:
        raise ValueError("the program has no plan")
    spans = [
        Span(name, plan.offsets[name], program.tensors[name].nbytes, *plan.lifetimes[name])
        for name in plan.offsets
        if program.tensors[name].place is Place.ARENA
    ]
    for i, (offset, count) in enumerate(plan.scratch):
        if count:
            spans.append(Span(f"scratch of {program.ops[i].node}", offset, count, i, i, "scratch"))
    return Arena(spans, [op.node for op in program.ops], plan.arena_bytes, plan.peak_op)


def memory_section(program: Program) -> str:
    """The arena timeline."""
    drawn = arena(program)
    assert program.plan is not None  # arena() has checked
    over = program.plan.arena_bytes / max(1, program.plan.lower_bound) - 1
    return section(
        "Memory over the program",
        f"Operations from left to right, arena bytes upwards. The arena is {size(drawn.total)}, "
        f"{percent(over)} over the largest set of tensors that must live at once; those are "
        "orange. Scratch is sand-coloured. Hover for names.",
        body=timeline(drawn),
    )


def timing_section(timings: Sequence[Timing], sizes: Mapping[str, int], *, how: str) -> str:
    """Latency and, where known, file size of every candidate; the first is ours."""
    bytes_ = [Bar(n, count, size(count), _kind(n)) for n, count in sizes.items()]
    charts = bars(
        _latency_bars(timings),
        title="median time per inference (whisker: middle half of the samples)",
    )
    if bytes_:
        charts += bars(bytes_, title="file size")
    return section("Speed and size", how, body=charts)


def _latency_bars(timings: Sequence[Timing]) -> list[Bar]:
    return [
        Bar(t.name, t.median, f"{duration(t.median)}{_ratio(t, timings[0])}", _kind(t.name), t.iqr)
        for t in timings
    ]


def _ratio(timing: Timing, ours: Timing) -> str:
    return "" if timing is ours else f"  ({timing.median / ours.median:.2f}x ours)"


def _kind(name: str) -> str:
    if not name.startswith("filigree"):
        return "peer"
    return "twin" if name == "filigree dense" else "ours"


def model_sections(program: Program, *, measured: Mapping[str, Measured]) -> list[str]:
    """Layers, sparsity pictures and memory of a planned program."""
    return [
        layer_section(layers(program.meta), measured=measured),
        mask_section(program),
        memory_section(program),
    ]


def demo_sections(demo: Demo, program: Program) -> list[str]:
    """The demo's page: results, targets, then everything about the packed model."""
    ours = demo.lines[0]
    header = ["what", "file", "recognised", "time per digit", "to ours"]
    rows = [
        [
            Cell(line.name),
            Cell(f"{line.bytes:,}", "num"),
            Cell(percent(line.accuracy), "num"),
            Cell(duration(line.seconds), "num"),
            Cell(f"{line.seconds / ours.seconds:.2f}x", "num"),
        ]
        for line in demo.lines
    ]
    cards = [
        ("recognised", percent(ours.accuracy)),
        ("time per digit", duration(ours.seconds)),
        ("packed model", size(ours.bytes)),
        ("targets that agree", str(sum(row.skipped is None for row in demo.rows))),
    ]
    explanation = f"{demo.digits} digits that no training saw, one at a time, one thread."
    return [
        facts(cards),
        section("Results", explanation, body=table(header, rows)),
        timing_section(demo.timing.timings, demo.timing.sizes, how=f"{bench.how(demo.timing)}."),
        _target_section(demo.rows),
        *model_sections(program, measured=demo.timing.layers),
    ]


def _target_section(rows: Sequence[Row]) -> str:
    cells = [
        [
            Cell(row.target),
            Cell(row.isa),
            Cell("-" if row.difference is None else f"{row.difference:.1e}", "num"),
            Cell(f"skipped: {row.skipped}" if row.skipped else "compared", "why"),
        ]
        for row in rows
    ]
    return section(
        "Every target against ONNX Runtime",
        "The largest difference, relative to the range of the output.",
        body=table(["target", "instruction set", "difference", ""], cells),
    )


def chart_svg(result: bench.Bench) -> str:
    """Latency as an .svg file of its own."""
    title = f"median time per inference ({bench.how(result)})"
    drawing = bars(_latency_bars(result.timings), title=title)
    return standalone(drawing, style=CHART_STYLE.read_text(encoding="utf-8"))
