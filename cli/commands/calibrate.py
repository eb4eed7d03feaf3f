"""``filigree calibrate``: measure this machine's kernels, for the choice of patterns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from filigree.cli.console import console
from filigree.cli.options import force_option, json_option, register


@register("calibrate", "Measure this machine for the choice of patterns.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Where to write the table.  [default: filigree/costs.json in the user's data folder]",
)
@click.option("--isa", help="An instruction set to measure.  [default: the best here]")
@force_option
@json_option
def command(out: Path | None, isa: str | None, force: bool, as_json: bool) -> None:
    """Measure this machine and write the cost table that --pattern auto chooses by."""
    from filigree.cli.failures import check_paths
    from filigree.converter import packfile
    from filigree.converter.errors import UsageError
    from filigree.converter.sparsity.cost import CostTable, user_table

    path = out or user_table()
    if out is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    check_paths(reads=[], writes=[path], force=force or out is None)
    with console.progress() as progress:
        progress("measuring", 0.0)
        try:
            table: Any = CostTable.measure(isa, progress=progress).to_json()
        except ValueError as error:  # an instruction set that is not here
            raise UsageError(str(error), hint="filigree doctor lists what is present") from error
    text = json.dumps(table, indent=2, sort_keys=True) + "\n"
    packfile.write(path, text.encode())
    if as_json:
        console.json({"written": str(path), "table": table})
        return
    console.line(f"wrote {path}")
