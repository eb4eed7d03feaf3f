"""Convert as the command line asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filigree.converter import Converted
    from filigree.converter.lowering.program import Program


def twin_of(
    source: Path, packed: Path, *, progress: Callable[[str, float], None] | None = None
) -> Converted:
    """``source`` converted with every layer dense, for the input shapes and the target of
    ``packed`` and with weights of its element type."""
    from filigree.cli.tasks.packed import open_program
    from filigree.converter import ConvertOptions, convert
    from filigree.converter.lowering.halves import is_narrow
    from filigree.converter.pipeline import TARGETS

    program = open_program(packed)
    target = program.meta.get("target")
    options = ConvertOptions(
        pattern="dense",
        target=target if target in TARGETS else "host",
        dtype=_dtype(program),
        activations="float16" if is_narrow(program) else "float32",
        shapes={port.name: port.shape for port in program.inputs},
    )
    return convert(source, options=options, progress=progress)


def _dtype(program: Program) -> str:
    from filigree.cli.tasks.packed import fours, halves

    if fours(program):
        return "int4"
    return "float16" if halves(program) else "float32"
