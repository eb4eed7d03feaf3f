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


@register("verify", "Compare a packed model with its original.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--against",
    required=True,
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="The original model (.onnx or .tflite).",
)
@click.option(
    "--on",
    "targets",
    type=names,
    default="host",
    metavar="TARGET,...",
    help="host, arm64, armv7, riscv64, wasm, wasm-threads-node, cortex-m0plus, -m3, -m4, -m7, "
    "-m33, -m55; all: whatever can run here.  [default: host]",
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
    help="Largest difference allowed, relative to the output range; of int8 outputs in steps of "
    "their scale.  [default: 0.0001; for float16 and int4 weights 4 times what moving each "
    "by half a step changes is added, with activations of float16 moved along; of int8 outputs "
    "1.5, and 4 times what moving multipliers in their last places changes, and what LiteRT's own "
    "two sets of kernels differ by]",
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
    tolerance: float | None,
    data: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Compare MODEL (.fil) with the original in its own runtime; exit code 6 if they disagree.

    WebAssembly has one thread, wasm-threads-node at least two.
    """
    from filigree.cli.failures import check_paths
    from filigree.cli.tasks.compare import compare, make_case, with_bits, with_rounded
    from filigree.cli.tasks.packed import inputs_of, open_program, steps_of
    from filigree.cli.tasks.rounding import allowed

    check_paths(reads=[model, against, data], writes=[], force=False)
    everywhere, chosen = _targets(targets), _isas(isas)
    with console.progress() as progress:
        progress("reference", 0.0)
        program = open_program(model)
        steps = steps_of(program)
        made = make_case(against, inputs_of(program), count=inputs, data=data, steps=steps)
        case = with_bits(with_rounded(made, program), model, program)
        most = allowed(program, case) if tolerance is None else tolerance
        rows = compare(
            model,
            case,
            targets=everywhere,
            isas=chosen,
            threads=threads,
            named="all" not in targets,
            progress=progress,
        )
        blame = _blame(model, against, case, rows, most)
    if as_json:
        found = _as_dict(model, against, case, most, rows, blame)
        console.json({**found, "threads": threads})
    else:
        how = plural(len(case.inputs), "input") + (f", {threads} threads" if threads > 1 else "")
        unit = "steps of the output's scale" if case.steps else "of the output range"
        _show(model, f"{against.name} in {case.engine}", how, f"{most:.3g} {unit}", rows, most)
    _judge(rows, blame, most, model, against)


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
    from filigree.cli.tasks.compare import TOLERANCE

    wrong = next((r for r in rows if r.difference is not None and not r.agrees(tolerance)), None)
    if wrong is None or case.narrow:  # only this machine's runtime can be looked into
        return None
    isa = wrong.isa if wrong.target == "host" else None
    return first_wrong(model, against, case, isa=isa, allowed=max(tolerance, TOLERANCE))


def _as_dict(
    model: Path, against: Path, case: Case, tolerance: float, rows: list[Row], blame: Blame | None
) -> dict[str, Any]:
    unit = "steps" if case.steps else "output range"
    return {
        "model": model.name,
        "against": against.name,
        "inputs": len(case.inputs),
        "tolerance": tolerance,
        "unit": unit,
        "rows": [
            {
                **{k: v for k, v in asdict(row).items() if k != "wanted"},
                "agrees": None if row.skipped else row.agrees(tolerance),
            }
            for row in rows
        ],
        "first_wrong": asdict(blame) if blame else None,
    }


def _show(
    model: Path, against: str, how: str, allowed: str, rows: list[Row], tolerance: float
) -> None:
    console.line(f"{model.name} against {against}: {how}, allowed {allowed}")
    halves = any(row.arithmetic is not None for row in rows)
    steps = any(row.close is not None for row in rows)
    whole = any(row.same_bits is not None for row in rows)
    more = (*["arithmetic"] * halves, *["within a step"] * steps, *["bits"] * whole)
    console.table(
        ("target", "isa", "difference", *more, "result"),
        [
            (
                row.target,
                row.isa,
                _gap(row.difference) if row.close is None else f"{row.difference:.1f}",
                *[_gap(row.arithmetic)] * halves,
                *["-" if row.close is None else f"{row.close:.2%}"] * steps,
                *[{None: "-", True: "same", False: "other"}[row.same_bits]] * whole,
                _verdict(row, tolerance),
            )
            for row in rows
        ],
    )
    if halves:
        console.line("arithmetic: against the packed model's own rounded weights, in float64")
    if whole:
        console.line("bits: of the outputs, held against the scalar kernels of this machine")


def _gap(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _verdict(row: Row, tolerance: float) -> str:
    if row.skipped:
        return f"skipped: {row.skipped}"
    return "agrees" if row.agrees(tolerance) else f'disagrees at output "{row.output}"'


def _problem(row: Row, tolerance: float) -> str:
    text = f"{row.target} {row.isa}: difference {row.difference:.3g}, allowed {tolerance:.3g}"
    if row.same_bits is False:
        text += "; other bits than the scalar kernels of this machine"
    return text if row.arithmetic is None else f"{text}; arithmetic {row.arithmetic:.3g}"


def _judge(
    rows: list[Row], blame: Blame | None, tolerance: float, model: Path, against: Path
) -> None:
    """Raise what the exit code says: 6 before 5."""
    from filigree.converter.errors import NumbersDisagree, ToolMissing

    wrong = [row for row in rows if row.difference is not None and not row.agrees(tolerance)]
    if wrong:
        problems = [_problem(row, tolerance) for row in wrong]
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
