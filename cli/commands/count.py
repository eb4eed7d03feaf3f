"""``filigree count``: instructions per layer on arm64, where time cannot be measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filigree.cli.console import console, percent
from filigree.cli.options import json_option, register

if TYPE_CHECKING:
    from filigree.cli.tasks.counting import Counted


@register("count", "Count the instructions of every layer on arm64.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="The original model: also count our own dense twin of it.",
)
@click.option(
    "--isa",
    type=click.Choice(["neon", "neon_fp16", "scalar"]),
    help="[default: neon; neon_fp16 for activations of float16]",
)
@json_option
def command(model: Path, against: Path | None, isa: str | None, as_json: bool) -> None:
    """Count the instructions of one inference of MODEL (.fil) under QEMU, layer by layer.

    Counts repeat exactly; emulated time means nothing.
    """
    from filigree.cli.failures import check_paths
    from filigree.cli.tasks import counting
    from filigree.cli.tasks.conversion import twin_of
    from filigree.cli.tasks.packed import open_program
    from filigree.converter.lowering.halves import is_narrow

    check_paths(reads=[model, against], writes=[], force=False)
    program = open_program(model)  # refused here, it need not be refused under QEMU
    isa = isa or ("neon_fp16" if is_narrow(program) else "neon")
    with console.progress() as progress:
        twin = twin_of(against, model, progress=progress).data if against else None
        progress("counting", 0.5)
        layers = counting.count_layers(model.read_bytes(), twin, isa=isa)
    if as_json:
        console.json({"model": model.name, **counting.as_json(layers, isa=isa)})
        return
    console.line(f"{model.name} on arm64 ({isa}), instructions of one inference under QEMU")
    show(layers)


def show(layers: Sequence[Counted]) -> None:
    """Every layer, every kind, the whole."""
    from filigree.cli.tasks.counting import by_kind, whole

    total = whole(layers)
    header = ("layer", "kind", "instructions", "share", "dense twin", "of dense")
    console.table(header, [_row(layer, total.instructions) for layer in layers])
    console.line()
    summary = [_row(kind, total.instructions)[1:] for kind in (*by_kind(layers), total)]
    console.table(header[1:], summary)


def _row(counted: Counted, total: int) -> list[str]:
    return [
        counted.name,
        counted.kind,
        f"{counted.instructions:,}",
        percent(counted.instructions / total) if total else "-",
        "-" if counted.dense is None else f"{counted.dense:,}",
        "-" if counted.ratio is None else f"{counted.ratio:.3f}x",
    ]
