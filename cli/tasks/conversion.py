"""Convert as the command line asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from filigree.converter.errors import DoesNotFit

if TYPE_CHECKING:
    from filigree.converter import Converted
    from filigree.converter.lowering.program import Program


def twin_of(
    source: Path, packed: Path, *, progress: Callable[[str, float], None] | None = None
) -> Converted:
    """``source`` converted with every layer dense, for the input shapes and the target of
    ``packed`` and with weights of its element type."""
    from filigree.cli.tasks.packed import halves, open_program
    from filigree.converter import ConvertOptions, convert
    from filigree.converter.lowering.halves import is_narrow
    from filigree.converter.pipeline import TARGETS

    program = open_program(packed)
    target = program.meta.get("target")
    options = ConvertOptions(
        pattern="dense",
        target=target if target in TARGETS else "host",
        dtype="float16" if halves(program) else "float32",
        activations="float16" if is_narrow(program) else "float32",
        shapes={port.name: port.shape for port in program.inputs},
    )
    return convert(source, options=options, progress=progress)


def check_budget(program: Program, *, stored: int, ram: int | None, flash: int | None) -> None:
    """DoesNotFit, with every reason at once, if arena or file are over what the target has."""
    from filigree.cli.console import size
    from filigree.cli.tasks.memory import peak

    arena = program.plan.arena_bytes if program.plan else 0
    problems, over = [], []
    if ram is not None and arena > ram:
        step = peak(program)
        most = " + ".join(f"{size(item.bytes)} {item.name}" for item in step.live[:3])
        over.append(f"{size(arena)} RAM, the target has {size(ram)}")
        problems.append(f'peak at "{step.node}": {most}')
    if flash is not None and stored > flash:
        largest = max(program.weights.values(), key=lambda w: w.packing.nbytes if w.packing else 0)
        held = largest.packing.nbytes if largest.packing else largest.matrix.nbytes
        over.append(f"{size(stored)} flash, the target has {size(flash)}")
        problems.append(f'largest weights: "{largest.layer}", {size(held)}')
    if over:
        raise DoesNotFit(
            f"model needs {' and '.join(over)}", problems, hint="filigree inspect MODEL --memory"
        )
