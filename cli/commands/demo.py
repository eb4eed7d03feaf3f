"""``filigree demo``: the main job on the embedded model, from ONNX to a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filigree.cli.console import console, duration, percent, plural, size
from filigree.cli.options import json_option, register

if TYPE_CHECKING:
    from filigree.cli.tasks.compare import Row
    from filigree.cli.tasks.demo import Demo


@register("demo", "Do the main job on a sample network.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("filigree-demo"),
    show_default=True,
    help="Folder for what the demo writes.",
)
@json_option
def command(out: Path, as_json: bool) -> None:
    """Convert, verify and time a pruned network for handwritten digits; takes a minute or so."""
    from filigree.cli.tasks.demo import TOLERANCE, demo

    out.mkdir(parents=True, exist_ok=True)
    with console.progress() as progress:
        result = demo(out, progress=progress)
    result = replace(result, written=[*result.written, *write_pages(out, result)])
    if as_json:
        console.json(result.as_json())
    else:
        _show(result, out)
    _judge(result.rows, TOLERANCE)


def _show(result: Demo, out: Path) -> None:
    console.line(f"{plural(result.digits, 'test digit')}, one at a time, one thread")
    ours = result.lines[0].seconds
    console.table(
        ("what", "file", "recognised", "time", "to ours"),
        [
            (
                line.name,
                size(line.bytes),
                percent(line.accuracy),
                duration(line.seconds),
                f"{line.seconds / ours:.2f}x",
            )
            for line in result.lines
        ],
    )
    console.line()
    console.table(
        ("target", "isa", "difference to ONNX Runtime"),
        [
            (
                row.target,
                row.isa,
                f"skipped: {row.skipped}"
                if row.skipped
                else f"{row.difference:.1e} of the output range",
            )
            for row in result.rows
        ],
    )
    console.line()
    for path in result.written:
        console.line(f"wrote {path}")
    console.line(f"next: open {out / 'report.html'}, or filigree inspect {result.packed}")


def write_pages(out: Path, result: Demo) -> list[Path]:
    """report.html and chart.svg."""
    from filigree.cli.pages.html import page
    from filigree.cli.pages.model import chart_svg, demo_sections
    from filigree.cli.tasks.packed import open_program
    from filigree.converter import packfile

    sections = demo_sections(result, open_program(result.packed))
    text = page("filigree demo", "A pruned network for handwritten digits", sections=sections)
    files = {out / "report.html": text, out / "chart.svg": chart_svg(result.timing)}
    for path, content in files.items():
        packfile.write(path, content.encode())
    return list(files)


def _judge(rows: Sequence[Row], tolerance: float) -> None:
    from filigree.converter.errors import NumbersDisagree

    wrong = [row for row in rows if row.difference is not None and not row.agrees(tolerance)]
    if wrong:
        raise NumbersDisagree(
            "converted model disagrees with the original",
            [f"{row.target} {row.isa}: difference {row.difference:.3g}" for row in wrong],
            hint="filigree doctor",
        )
