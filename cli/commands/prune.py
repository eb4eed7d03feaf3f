"""``filigree prune``: cut a model's weights to a pattern, and say what that cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filigree.cli.console import console, percent, plural
from filigree.cli.options import (
    effort_option,
    force_option,
    json_option,
    label_offset_option,
    layer_option,
    mean_option,
    names,
    no_rearrange_option,
    register,
    report_option,
    scale_option,
    seed_option,
    sparsity_option,
)

if TYPE_CHECKING:
    from filigree.cli.tasks.pruning import Outcome, Point, Quality
    from filigree.converter.calibration import Data
    from filigree.converter.prune import PruneOptions

METHODS = ("magnitude", "random", "wanda", "wgsef", "obs")
REFINEMENTS = ("dsnot", "least_squares")
BUDGETS = ("uniform", "erk", "global", "sensitivity")


@dataclass(frozen=True)
class Samples:
    """Where data comes from and how it becomes what the model takes."""

    calib: Path | None
    test: Path | None
    samples: int | None
    label_offset: int
    mean: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    crop: float | None


@dataclass(frozen=True)
class Way:
    """How to prune."""

    sparsity: float
    pattern: str
    method: str
    refine: tuple[str, ...] | None
    reconstruct: bool
    budget: str
    unit: str
    target: str
    no_rearrange: bool
    layers: tuple[str, ...]
    seed: int
    effort: float


@register("prune", "Cut a model's weights to a pattern.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The pruned model (.onnx).")
@sparsity_option
@click.option(
    "--pattern",
    default="4x1",
    show_default=True,
    metavar="OX1|N:M|OX1+N:M|auto",
    help="Blocks of O outputs x 1 input; N of every M inputs. 1x1 is unstructured; auto is the "
    "best height for each layer, with --unit time.",
)
@click.option("--method", type=click.Choice(METHODS), default="magnitude", show_default=True)
@click.option(
    "--refine",
    type=names,
    metavar=",".join(REFINEMENTS),
    help="Improve on what the method chose, in this order.",
)
@click.option(
    "--reconstruct", is_flag=True, help="Prune each layer on what the ones before it hand on."
)
@click.option("--budget", type=click.Choice(BUDGETS), default="uniform", show_default=True)
@click.option(
    "--unit",
    type=click.Choice(("weights", "work", "time")),
    default="weights",
    show_default=True,
    help="What the sparsity counts: weights, multiply-accumulates, or predicted time.",
)
@click.option(
    "--target",
    type=click.Choice(("host", "x86-64", "arm64", "wasm")),
    default="host",
    show_default=True,
    help="Where time is predicted for.",
)
@layer_option
@no_rearrange_option
@effort_option
@seed_option
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Calibration data: .npz, .npy or a folder of images (labels in labels.csv).",
)
@click.option(
    "--test", type=click.Path(path_type=Path), metavar="DATA", help="Data to judge the result by."
)
@click.option("--samples", type=click.IntRange(1), help="Use the first so many samples.")
@label_offset_option
@mean_option
@scale_option
@click.option("--crop", type=float, help="Centred square of an image, e.g. 0.875.")
@click.option(
    "--compare",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Draw accuracy against sparsity for several ways into FOLDER.",
)
@click.option(
    "--average",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Average MODEL's weights with these of the same zeros instead of pruning.",
)
@report_option
@force_option
@json_option
def command(
    model: Path,
    out: Path | None,
    compare: Path | None,
    average: tuple[Path, ...],
    report: Path | None,
    force: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Prune MODEL (.onnx or .tflite) and write it as ONNX, ready for convert or any other tool."""
    from filigree.cli.failures import check_paths, nothing_written
    from filigree.converter.errors import UsageError

    given, way = _split(flags)
    with nothing_written():
        files = [path for path in (given.calib, given.test) if path is None or not path.is_dir()]
        drawn = _comparison_files(compare) if compare is not None and compare.is_dir() else []
        check_paths(reads=[model, *files, *average], writes=[out, report, *drawn], force=force)
        if out is None and compare is None:
            raise UsageError("nothing to write: give -o pruned.onnx, or --compare FOLDER")
        _check_modes(out, compare, average, report)
        if average:
            assert out is not None
            _average(model, out, average, as_json=as_json)
            return
        if compare is not None:
            _compare(model, compare, given, way, as_json=as_json)
            return
        outcome = _prune(model, given, way)
        assert out is not None
        html = _page(model, outcome) if report else b""
    _write(out, outcome, report, html)
    if as_json:
        console.json({"model": str(model), "written": str(out), **outcome.as_json()})
        return
    _show(model, out, outcome)
    if report:
        console.line(f"wrote {report}")
    console.line(f"next: filigree convert {out} -o {out.with_suffix('.fil')}")


def _check_modes(
    out: Path | None, compare: Path | None, average: tuple[Path, ...], report: Path | None
) -> None:
    """Comparing, averaging and pruning are one command, but not at once."""
    from filigree.converter.errors import UsageError

    given = {"-o": out, "--average": average, "--report": report}
    problems = [f"{name} with --compare" for name, value in given.items() if compare and value]
    if average and report:
        problems.append("--report with --average")
    if problems:
        raise UsageError("the options do not go together", problems)


def _split(flags: dict[str, Any]) -> tuple[Samples, Way]:
    fields = Samples.__dataclass_fields__
    return (
        Samples(**{k: v for k, v in flags.items() if k in fields}),
        Way(**{k: v for k, v in flags.items() if k not in fields}),
    )


def _options(way: Way) -> PruneOptions:
    from filigree.cli.tasks.pruning import override
    from filigree.converter.errors import UsageError
    from filigree.converter.prune import Pattern, PruneOptions

    problems, overrides = [], {}
    pattern: Pattern | None = None
    for text in way.layers:
        try:
            name, found = override(text)
            overrides[name] = found
        except ValueError as error:
            problems.append(str(error))
    try:
        pattern = None if way.pattern == "auto" else Pattern.parse(way.pattern)
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise UsageError("the options cannot be read", problems)
    return PruneOptions(
        sparsity=way.sparsity,
        pattern=pattern,
        method=way.method,
        refine=way.refine or (),
        reconstruct=way.reconstruct,
        budget=way.budget,
        unit=way.unit,
        target=way.target,
        rearrange=not way.no_rearrange,
        overrides=overrides,
        seed=way.seed,
        effort=way.effort,
    )


def _data(model: Path, given: Samples, path: Path | None) -> Data | None:
    from filigree.cli.tasks import data

    if path is None:
        return None
    pixels = data.Pixels(given.mean, given.scale, given.crop)
    return data.for_model(model, path, pixels, most=given.samples, offset=given.label_offset)


def _prune(model: Path, given: Samples, way: Way) -> Outcome:
    from filigree.cli.tasks import pruning

    options = _options(way)
    with console.progress() as progress:
        calib, test = _data(model, given, given.calib), _data(model, given, given.test)
        return pruning.run(model, options, calib=calib, test=test, progress=progress)


def _average(model: Path, out: Path, others: tuple[Path, ...], *, as_json: bool) -> None:
    from filigree.converter import packfile, prune

    proto = prune.average([model, *others])
    packfile.write(out, proto.SerializeToString(deterministic=True))
    if as_json:
        console.json({"written": str(out), "models": [str(path) for path in (model, *others)]})
        return
    console.line(f"wrote {out}: the average of {plural(1 + len(others), 'model')}")


def _compare(model: Path, folder: Path, given: Samples, way: Way, *, as_json: bool) -> None:
    from filigree.cli.tasks import pruning
    from filigree.converter.errors import UsageError

    calib, test = _data(model, given, given.calib), _data(model, given, given.test)
    if calib is None:
        raise UsageError("--compare needs data: --calib DATA")
    if test is None:
        calib, test = pruning.halves(calib)
    with console.progress() as progress:
        dense, points = pruning.compare(
            model,
            _options(way),
            calib=calib,
            test=test,
            sparsities=pruning.COMPARED_AT,
            progress=progress,
        )
    written = _write_comparison(model, folder, dense, points)
    if as_json:
        console.json(_comparison_json(model, dense, points))
        return
    _show_comparison(dense, points)
    for path in written:
        console.line(f"wrote {path}")


def _comparison_json(model: Path, dense: Quality, points: list[Point]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": model.name,
        "dense": asdict(dense),
        "points": [asdict(point) for point in points],
    }


def _write_comparison(model: Path, folder: Path, dense: Quality, points: list[Point]) -> list[Path]:
    import json

    from filigree.cli.console import finite
    from filigree.cli.pages.pruned import comparison_svg
    from filigree.converter import packfile

    folder.mkdir(parents=True, exist_ok=True)
    chart, data = _comparison_files(folder)
    packfile.write(chart, comparison_svg(model.name, dense, points).encode())
    text = json.dumps(finite(_comparison_json(model, dense, points)), indent=2)
    packfile.write(data, text.encode())
    return [chart, data]


def _comparison_files(folder: Path) -> list[Path]:
    return [folder / "accuracy.svg", folder / "accuracy.json"]


def _show_comparison(dense: Quality, points: list[Point]) -> None:
    sparsities = list(dict.fromkeys(point.asked for point in points))
    ways = list(dict.fromkeys(point.way for point in points))
    by = {(p.way, p.asked): p.quality for p in points}
    console.line(
        f"dense: {_score(dense)} on {plural(dense.samples, 'sample')} that pruning did not see"
    )
    rows = [[way, *(_score(by[way, s]) for s in sparsities)] for way in ways]
    console.table(["zeros", *(f"{s:.0%}" for s in sparsities)], rows)


def _score(found: Quality) -> str:
    if found.accuracy is not None:
        return f"{found.accuracy:.1f} %"
    return f"error {found.error:.2g}"


def _write(out: Path, outcome: Outcome, report: Path | None, html: bytes) -> None:
    from filigree.converter import packfile

    packfile.write(out, outcome.pruned.proto.SerializeToString(deterministic=True))
    if report:
        packfile.write(report, html)


def _page(model: Path, outcome: Outcome) -> bytes:
    from filigree.cli.pages.html import page
    from filigree.cli.pages.pruned import sections

    return page(f"{model.name}, pruned", _summary(outcome), sections=sections(outcome)).encode()


def _summary(outcome: Outcome) -> str:
    layers = outcome.pruned.layers
    return (
        f"{percent(outcome.pruned.sparsity)} of the weights of {plural(len(layers), 'layer')} cut"
    )


def _show(model: Path, out: Path, outcome: Outcome) -> None:
    console.line(f"wrote {out}: {_summary(outcome)}")
    arranged = outcome.pruned.rearranged
    if arranged is not None:
        console.line(f"{plural(len(arranged.orders), 'group')} of channels reordered")
    if outcome.before is not None and outcome.after is not None:
        console.line(_judgement(outcome.before, outcome.after))
    console.line()
    console.table(
        ("layer", "weights", "pattern", "zeros", "blocks kept", "output error"),
        [
            (
                layer.name,
                f"{layer.rows}x{layer.cols}",
                layer.pattern,
                percent(layer.sparsity),
                f"{layer.blocks}/{layer.of}",
                "-" if layer.error is None else f"{layer.error:.2g}",
            )
            for layer in outcome.pruned.layers
        ],
    )
    console.line()


def _judgement(before: Quality, after: Quality) -> str:
    on = f"on {plural(after.samples, 'sample')}"
    if before.accuracy is not None and after.accuracy is not None:
        return f"accuracy {before.accuracy:.1f} % -> {after.accuracy:.1f} % {on}"
    return f"output error {after.error:.2g}, top-1 as before in {after.agreement:.1f} % {on}"
