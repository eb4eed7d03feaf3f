"""``filigree verify``: a packed model against its original, on every target."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filigree.cli.console import console, plural
from filigree.cli.options import json_option, names, register, threads_option

if TYPE_CHECKING:
    from filigree.cli.tasks.compare import Blame, Case, Row

DEFAULT_TOLERANCE = 1e-4


@register("verify", "Compare a packed model with its original.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--against",
    required=True,
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="The original model (.onnx).",
)
@click.option(
    "--on",
    "targets",
    type=names,
    default="host",
    metavar="TARGET,...",
    help="host, arm64, wasm, wasm-threads-node; all: whatever can run here.  [default: host]",
)
@click.option(
    "--isa",
    "isas",
    type=names,
    default="all",
    metavar="ISA,...",
    help="Instruction sets to force in turn.  [default: all]",
)
@click.option(
    "--inputs",
    type=click.IntRange(1, 10000),
    default=4,
    show_default=True,
    help="How many inputs to compare.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    default=DEFAULT_TOLERANCE,
    show_default=True,
    help="Largest difference allowed, relative to the output range.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Real inputs (.npz) instead of random ones."
)
@threads_option
@json_option
def command(
    model: Path,
    against: Path,
    targets: tuple[str, ...],
    isas: tuple[str, ...],
    inputs: int,
    tolerance: float,
    data: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Compare MODEL (.fil) with the original in ONNX Runtime; exit code 6 if they disagree.

    WebAssembly has one thread, wasm-threads-node at least two.
    """
    from filigree.cli.failures import check_paths
    from filigree.cli.tasks.compare import compare, make_case
    from filigree.cli.tasks.packed import open_packed, shapes

    check_paths(reads=[model, against, data], writes=[], force=False)
    everywhere, chosen = _targets(targets), _isas(isas)
    with console.progress() as progress:
        progress("reference", 0.0)
        dims = shapes(open_packed(model))
        case = make_case(against, dims, count=inputs, data=data)
        rows = compare(
            model,
            case,
            targets=everywhere,
            isas=chosen,
            threads=threads,
            named="all" not in targets,
            progress=progress,
        )
        blame = _blame(model, against, case, rows, tolerance)
    if as_json:
        found = _as_dict(model, against, len(case.inputs), tolerance, rows, blame)
        console.json({**found, "threads": threads})
    else:
        how = plural(len(case.inputs), "input") + (f", {threads} threads" if threads > 1 else "")
        _show(model, against, how, tolerance, rows)
    _judge(rows, blame, tolerance, model, against)


def _targets(names: tuple[str, ...]) -> tuple[str, ...]:
    from filigree.cli.tasks.compare import TARGETS
    from filigree.converter.errors import UsageError

    unknown = [name for name in names if name not in (*TARGETS, "all")]
    if unknown:
        raise UsageError(f"--on {','.join(unknown)}: unknown; known: {', '.join(TARGETS)}, all")
    return TARGETS if "all" in names else tuple(dict.fromkeys(names))


def _isas(names: tuple[str, ...]) -> list[str]:
    """The forced instruction sets; empty: all. Raises UsageError for names nothing has."""
    from filigree.cli.tasks.isas import known_isas
    from filigree.converter.errors import UsageError

    unknown = [name for name in names if name not in (*known_isas(), "all")]
    if unknown:
        raise UsageError(f"--isa {','.join(unknown)}: unknown; known: {', '.join(known_isas())}")
    return [] if "all" in names else list(names)


def _blame(
    model: Path, against: Path, case: Case, rows: list[Row], tolerance: float
) -> Blame | None:
    from filigree.cli.tasks.blame import first_wrong

    wrong = next((r for r in rows if r.difference is not None and not r.agrees(tolerance)), None)
    if wrong is None:
        return None
    return first_wrong(model, against, case, isa=wrong.isa if wrong.target == "host" else None)


def _as_dict(
    model: Path, against: Path, inputs: int, tolerance: float, rows: list[Row], blame: Blame | None
) -> dict[str, Any]:
    return {
        "model": model.name,
        "against": against.name,
        "inputs": inputs,
        "tolerance": tolerance,
        "rows": [
            {
                **{k: v for k, v in asdict(row).items() if k != "wanted"},
                "agrees": None if row.skipped else row.agrees(tolerance),
            }
            for row in rows
        ],
        "first_wrong": asdict(blame) if blame else None,
    }


def _show(model: Path, against: Path, how: str, tolerance: float, rows: list[Row]) -> None:
    console.line(
        f"{model.name} against {against.name} in ONNX Runtime: {how}, "
        f"allowed {tolerance:g} of the output range"
    )
    console.table(
        ("target", "isa", "difference", "result"),
        [
            (
                row.target,
                row.isa,
                "-" if row.difference is None else f"{row.difference:.1e}",
                f"skipped: {row.skipped}"
                if row.skipped
                else "agrees"
                if row.agrees(tolerance)
                else f'disagrees at output "{row.output}"',
            )
            for row in rows
        ],
    )


def _judge(
    rows: list[Row], blame: Blame | None, tolerance: float, model: Path, against: Path
) -> None:
    """Raise what the exit code says: 6 before 5."""
    from filigree.converter.errors import NumbersDisagree, ToolMissing

    wrong = [row for row in rows if row.difference is not None and not row.agrees(tolerance)]
    if wrong:
        problems = [
            f"{row.target} {row.isa}: difference {row.difference:.3g}, allowed {tolerance:g}"
            for row in wrong
        ]
        if blame:
            problems.insert(
                0,
                (
                    f'first at "{blame.node}" ({blame.kind}, op {blame.op}): difference '
                    f"{blame.difference:.3g}, made by the {blame.side}"
                ),
            )
        raise NumbersDisagree(
            "converted model disagrees with the original",
            problems,
            hint=f"filigree inspect {model} --layers",
        )
    missing = [row for row in rows if row.skipped and row.wanted]
    if missing:
        problems = [f"{row.target} {row.isa}: {row.skipped}" for row in missing]
        raise ToolMissing(
            f"{plural(len(missing), 'comparison')} asked for could not run",
            problems,
            hint="filigree doctor, or --on all for whatever can run here",
        )
