"""``filigree inspect``: what is in a model or a packed model."""

from __future__ import annotations

from pathlib import Path

import click

from filigree.cli.console import console
from filigree.cli.options import external_data_option, json_option, register


@register("inspect", "Describe a model or a packed model.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--ops", is_flag=True, help="Operators: how many, and whether they are supported.")
@click.option("--memory", is_flag=True, help="What is live when; the peak and what makes it.")
@click.option("--layers", is_flag=True, help="Weights: shape, sparsity; pattern if packed.")
@click.option("--axes", is_flag=True, help="Channels that move together, and what pins others.")
@click.option("--meta", is_flag=True, help="The metadata as it is stored.")
@external_data_option
@json_option
def command(model: Path, external_data: bool, as_json: bool, **parts: bool) -> None:
    """Describe MODEL (.onnx, .tflite or .fil); without options, the whole picture in short."""
    from filigree.cli.failures import check_paths
    from filigree.cli.tasks import describe

    check_paths(reads=[model], writes=[], force=False)
    asked = describe.Parts(**parts)
    with console.progress() as progress:
        found = describe.describe(
            model, parts=asked, external_data=external_data, progress=progress
        )
    if as_json:
        console.json(found.as_json())
        return
    for i, part in enumerate(found.parts):
        if i:
            console.line()
        for line in part.lines:
            console.line(line)
        if part.header:
            console.table(part.header, part.rows)
