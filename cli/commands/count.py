"""``filigree count``: instructions per layer on arm64 and microcontrollers, where time cannot be
measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filigree.cli.console import console, percent
from filigree.cli.options import json_option, register
from filigree.packaging.targets import MCUS

if TYPE_CHECKING:
    from filigree.cli.tasks.counting import Counted, Counts

TARGETS = ("arm64", "armv7", "riscv64", *(row.name for row in MCUS))


@register("count", "Count the instructions of every layer on arm64 or a microcontroller.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="The original model: also count our own dense twin of it.",
)
@click.option(
    "--on",
    "target",
    type=click.Choice(TARGETS),
    default="arm64",
    show_default=True,
    help="Where; on a microcontroller also what flash and RAM it takes.",
)
@click.option(
    "--isa",
    type=click.Choice(["neon", "neon_dotprod", "neon_fp16", "helium", "scalar"]),
    help="[default: neon; neon_fp16 for activations of float16; helium on cortex-m55, scalar on "
    "other microcontrollers]",
)
@json_option
def command(model: Path, against: Path | None, target: str, isa: str | None, as_json: bool) -> None:
    """Count the instructions of one inference of MODEL (.fil) under QEMU, layer by layer.

    Counts repeat exactly; emulated time means nothing.
    """
    report(model, against, target=target, isa=isa, as_json=as_json)


def report(
    model: Path, against: Path | None, *, target: str, isa: str | None, as_json: bool
) -> None:
    """Count and print; ``bench`` does the same where it cannot time."""
    from filigree.cli.failures import check_paths
    from filigree.cli.tasks import counting
    from filigree.cli.tasks.conversion import twin_of
    from filigree.cli.tasks.packed import open_program
    from filigree.converter.lowering.halves import is_narrow

    check_paths(reads=[model, against], writes=[], force=False)
    program = open_program(model)  # refused here, it need not be refused under QEMU
    chosen = counting.isa_of(target, isa, narrow=is_narrow(program))
    with console.progress() as progress:
        twin = twin_of(against, model, progress=progress).data if against else None
        progress("counting", 0.5)
        counts = counting.count_layers(model.read_bytes(), twin, target=target, isa=chosen)
    if as_json:
        console.json({"model": model.name, **counting.as_json(counts, target=target, isa=chosen)})
        return
    console.line(f"{model.name} on {target} ({chosen}), instructions of one inference under QEMU")
    show(counts.layers)
    show_memory(counts)


def show(layers: Sequence[Counted]) -> None:
    """Every layer, every kind, the whole."""
    from filigree.cli.tasks.counting import by_kind, whole

    total = whole(layers)
    header = ("layer", "kind", "instructions", "share", "dense twin", "of dense")
    console.table(header, [_row(layer, total.instructions) for layer in layers])
    console.line()
    summary = [_row(kind, total.instructions)[1:] for kind in (*by_kind(layers), total)]
    console.table(header[1:], summary)


def show_memory(counts: Counts) -> None:
    """What a microcontroller holds; nothing elsewhere."""
    from filigree.cli.tasks.counting import memory_rows

    if not counts.memory:
        return
    dense = memory_rows(counts.dense_memory) if counts.dense_memory else []
    console.line()
    rows = []
    for i, (name, needed, limit, parts) in enumerate(memory_rows(counts.memory)):
        of = " + ".join(f"{n:,} {part}" for part, n in parts)
        twin = f"{dense[i][1]:,}" if dense else "-"
        rows.append((name, f"{needed:,}", f"{limit:,}", twin, of))
    console.table(("memory", "bytes", "there are", "dense twin", "for"), rows)


def _row(counted: Counted, total: int) -> list[str]:
    return [
        counted.name,
        counted.kind,
        f"{counted.instructions:,}",
        percent(counted.instructions / total) if total else "-",
        "-" if counted.dense is None else f"{counted.dense:,}",
        "-" if counted.ratio is None else f"{counted.ratio:.3f}x",
    ]
