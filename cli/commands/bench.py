"""``filigree bench``: a packed model against its dense twin and other runtimes, taking turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filigree.cli.console import console, duration, percent, size
from filigree.cli.options import (
    force_option,
    json_option,
    names,
    register,
    report_option,
    threads_option,
)
from filigree.packaging.targets import MCUS

if TYPE_CHECKING:
    from filigree.cli.tasks.bench import Bench
    from filigree.cli.tasks.insight import Insight
    from filigree.cli.tasks.layers import Measured
    from filigree.cli.tasks.peers import Peer

PEERS = {"onnxruntime": ".onnx", "openvino": ".onnx", "litert": ".tflite"}
CORES = tuple(row.name for row in MCUS)


@dataclass(frozen=True)
class Outputs:
    """What to write, and how to say it."""

    chart: Path | None
    report: Path | None
    by_layer: bool
    as_json: bool


@register("bench", "Time a packed model against others.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--vs",
    type=names,
    metavar="PEER[=MODEL],...",
    help="Other runtimes: onnxruntime, openvino, litert; onnxruntime=model.onnx. In WebAssembly "
    "onnxruntime-web, litert-js, litert-js-sparse, tfjs-wasm.",
)
@click.option(
    "--on",
    type=click.Choice(("host", "wasm", "node", "chromium", *CORES)),
    default="host",
    show_default=True,
    metavar="TARGET",
    help="Where: host, WebAssembly in node (wasm is the same) or headless chromium; cortex-m0plus, "
    "-m3, -m4, -m7, -m33, -m55: emulated, so that instructions are counted.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="The original model, for --dense and for peers without a model of their own.",
)
@click.option("--dense", is_flag=True, help="Also time our own dense twin (needs --against).")
@click.option("--layers", "by_layer", is_flag=True, help="Also time every layer.")
@click.option(
    "--roofline", is_flag=True, help="Also hold every layer against this machine's limits."
)
@click.option("--explain", is_flag=True, help="Also hold the cost table's predictions against it.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.01, 120),
    default=2.0,
    show_default=True,
    help="Time to spend on each candidate.",
)
@click.option("--isa", help="Force an instruction set (filigree doctor lists them).")
@threads_option
@click.option(
    "--chart", type=click.Path(path_type=Path), metavar="SVG", help="Also draw the times as bars."
)
@report_option
@force_option
@json_option
def command(
    model: Path,
    vs: tuple[str, ...] | None,
    on: str,
    against: Path | None,
    dense: bool,
    by_layer: bool,
    roofline: bool,
    explain: bool,
    seconds: float,
    isa: str | None,
    threads: int,
    chart: Path | None,
    report: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Time MODEL (.fil), taking turns with the others, all with the same number of threads and on
    as many pinned cores."""
    from filigree.cli.failures import check_paths
    from filigree.cli.tasks import bench, insight
    from filigree.cli.tasks.conversion import twin_of
    from filigree.cli.tasks.packed import open_packed
    from filigree.native.model import Model

    of_host = {"--layers": by_layer, "--roofline": roofline, "--explain": explain}
    of_host["--threads"] = threads > 1
    if on in CORES:
        refused = {**of_host, "--vs": bool(vs), "--chart": bool(chart), "--report": bool(report)}
        _count(model, against, on, dense=dense, isa=isa, refused=refused, as_json=as_json)
        return
    peers = _peers(vs or (), against, on=on, dense=dense, of_host=of_host)
    reads = [model, against, *(p.model for p in peers)]
    check_paths(reads=reads, writes=[chart, report], force=force)
    out = Outputs(chart, report, by_layer=by_layer, as_json=as_json)
    if on != "host":
        result = _in_wasm(model, against if dense else None, on, peers, seconds=seconds, isa=isa)
        _tell(result, insight.Insight(), model, out)
        return
    ours = bench.Ours(open_packed(model, isa=isa, threads=threads), model.stat().st_size)
    with console.progress() as progress:
        twin = None
        if dense and against is not None:
            data = twin_of(against, model, progress=progress).data
            twin = bench.Ours(Model.from_bytes(data, isa=isa, threads=threads), len(data))
        result = bench.measure(ours, twin, peers=peers, seconds=seconds, progress=progress)
        if by_layer or report:
            layers = bench.layer_times(ours.model, twin.model if twin else None)
            result = replace(result, layers=layers)
        seen = insight.study(
            model,
            isa=ours.model.isa,
            of_roofline=roofline,
            of_explain=explain,
            seconds=seconds,
            progress=progress,
        )
    _tell(result, seen, model, out)


def _count(
    model: Path,
    against: Path | None,
    on: str,
    *,
    dense: bool,
    isa: str | None,
    refused: Mapping[str, bool],
    as_json: bool,
) -> None:
    """What ``filigree count`` says. ``refused``: options that need a clock, if they were given."""
    from filigree.cli.commands.count import report
    from filigree.converter.errors import UsageError

    given = [name for name, asked in refused.items() if asked and name != "--layers"]
    if given:
        raise UsageError(f"{', '.join(given)}: on {on} only instructions are counted")
    if dense and against is None:
        raise UsageError("--dense needs --against MODEL, the model that was converted")
    report(model, against if dense else None, target=on, isa=isa, as_json=as_json)


def _in_wasm(
    model: Path,
    source: Path | None,
    on: str,
    peers: list[Peer],
    *,
    seconds: float,
    isa: str | None,
) -> Bench:
    from filigree.cli.tasks import web
    from filigree.cli.tasks.conversion import twin_of

    with console.progress() as progress:
        twin = twin_of(source, model, progress=progress).data if source else None
        return web.measure(
            model, twin, on=on, peers=peers, seconds=seconds, isa=isa, progress=progress
        )


def _tell(result: Bench, seen: Insight, model: Path, out: Outputs) -> None:
    """Chart, page, JSON or text."""
    from filigree.cli.tasks import bench, insight

    if out.chart:
        write_chart(out.chart, result)
    if out.report:
        write_page(out.report, model, result, seen)
    if out.as_json:
        console.json({"model": model.name, **bench.as_json(result), **insight.as_json(seen)})
        return
    show(result, by_layer=out.by_layer)
    for table in insight.tables(seen):
        console.line()
        for line in table.lines:
            console.line(line)
        console.table(table.header, table.rows)
    for written in filter(None, (out.chart, out.report)):
        console.line(f"wrote {written}")


def _peers(
    vs: tuple[str, ...],
    against: Path | None,
    *,
    on: str,
    dense: bool,
    of_host: Mapping[str, bool],
) -> list[Peer]:
    """``of_host``: options that only the host can do, and whether they were given."""
    from filigree.cli.tasks.peers import Peer
    from filigree.converter.errors import UsageError

    suffixes = PEERS if on == "host" else _in_web()
    problems, peers = [], []
    if on != "host":
        refused = [option for option, asked in of_host.items() if asked]
        problems += [f"{option} times on the host alone" for option in refused]
    if dense and against is None:
        problems.append("--dense needs --against MODEL, the model that was converted")
    for item in vs:
        name, _, given = item.partition("=")
        suffix = suffixes.get(name, "")
        own = name in PEERS or suffix == ".onnx"  # it can run the model that was converted
        path = Path(given) if given else _fitting(against, suffix) if own else None
        if name not in suffixes:
            problems.append(f"--vs {name}: unknown peer; known: {', '.join(suffixes)}")
        elif path is None:
            other = f" or --against MODEL{suffix}" if own else ""
            problems.append(f"--vs {name} needs a model: --vs {name}=model{suffix}{other}")
        else:
            peers.append(Peer(name, path))
    if len(problems) == 1:
        raise UsageError(problems[0])
    if problems:
        raise UsageError("the options do not go together", problems)
    return peers


def _fitting(against: Path | None, suffix: str) -> Path | None:
    """The model that was converted, if it is of the kind that a peer runs."""
    from filigree.converter.frontends import is_tflite

    if against is None:
        return None
    return against if is_tflite(against) == (suffix == ".tflite") else None


def _in_web() -> dict[str, str]:
    """The peers of node and browsers, with the suffix of the models that they run."""
    from filigree.cli.tasks import web

    return {name: suffix for name, (_, suffix) in web.PEERS.items()}


def show(result: Bench, *, by_layer: bool) -> None:
    """The result as text."""
    from filigree.cli.tasks.bench import how

    ours = result.timings[0].median
    console.line(how(result))
    rows = []
    for timing in result.timings:
        bytes_, gap = result.sizes.get(timing.name), result.differences.get(timing.name)
        rows.append(
            (
                timing.name,
                duration(timing.median),
                duration(timing.minimum),
                duration(timing.iqr),
                f"{timing.median / ours:.2f}x",
                "-" if bytes_ is None else size(bytes_),
                "-" if gap is None else f"{gap:.1e}",
            )
        )
    console.table(
        ("what", "median", "fastest", "middle half", "to ours", "file", "difference"), rows
    )
    if by_layer:
        console.line()
        _show_layers(result.layers)


def _show_layers(layers: Mapping[str, Measured]) -> None:
    total = sum(m.seconds for m in layers.values()) or 1.0
    console.table(
        ("layer", "time", "share", "dense twin", "speed-up"),
        [
            (
                node,
                duration(m.seconds),
                percent(m.seconds / total),
                "-" if m.dense_seconds is None else duration(m.dense_seconds),
                "-" if m.speedup is None else f"{m.speedup:.2f}x",
            )
            for node, m in layers.items()
        ],
    )


def write_chart(chart: Path, result: Bench) -> None:
    """Bars of the medians as an .svg file."""
    from filigree.cli.pages.model import chart_svg
    from filigree.converter import packfile

    packfile.write(chart, chart_svg(result).encode())


def write_page(report: Path, model: Path, result: Bench, seen: Insight) -> None:
    """The HTML page: speed, size, layers with measured times, limits, pictures, memory."""
    from filigree.cli.pages import insight
    from filigree.cli.pages.html import facts, page
    from filigree.cli.pages.model import model_sections, timing_section
    from filigree.cli.tasks.bench import how
    from filigree.cli.tasks.packed import open_program
    from filigree.converter import packfile

    program = open_program(model)
    cards = [(timing.name, duration(timing.median)) for timing in result.timings]
    sections = [
        facts([*cards, ("packed model", size(model.stat().st_size)), ("ISA", result.isa)]),
        timing_section(result.timings, result.sizes, how=f"{how(result)}."),
        *insight.sections(seen),
        *model_sections(program, measured=result.layers),
    ]
    packfile.write(report, page(f"{model.name}: speed", how(result), sections=sections).encode())
