"""``filigree convert``: a model becomes a packed model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filigree.cli.console import console, percent, plural, size
from filigree.cli.options import (
    byte_size,
    dims,
    effort_option,
    external_data_option,
    force_option,
    json_option,
    mean_option,
    named_dims,
    names,
    no_rearrange_option,
    register,
    report_option,
    scale_option,
)
from filigree.packaging.targets import MCUS

if TYPE_CHECKING:
    from filigree.converter import Converted, ConvertOptions
    from filigree.converter.quantize.options import QuantizeOptions

PATTERNS = ("auto", "dense", "1x1", "2x1", "4x1", "8x1")
RANGES = ("mse", "minmax", "percentile", "entropy")
BANDS = ("auto", "small", "off")
DTYPES = ("float32", "float16")  # of weights and of activations
TARGETS = ("host", "x86-64", "arm64", "wasm", *(row.name for row in MCUS))


@dataclass(frozen=True)
class Flags:
    """What the user asked of the conversion itself."""

    pattern: str
    dtype: str
    activations: str
    calib: Path | None
    ranges: str
    keep_float: tuple[str, ...] | None
    accuracy_budget: float | None
    target: str
    cost_table: str | None
    batch: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    input_layout: str | None
    labels: Path | None
    mean: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    size: tuple[int, ...] | None
    outputs: tuple[str, ...]
    external_data: bool
    no_rearrange: bool
    effort: float
    bands: str

    @property
    def table(self) -> Path | None:
        """The file that ``--cost-table`` names, if it names one."""
        given = self.cost_table
        return Path(given) if given and given.endswith(".json") else None


@register("convert", "Turn a model into a packed model.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The packed model (.fil)."
)
@click.option(
    "--pattern",
    type=click.Choice(PATTERNS),
    default="auto",
    show_default=True,
    help="How weights are grouped; auto chooses per layer by the target's cost table.",
)
@click.option(
    "--dtype",
    type=click.Choice((*DTYPES, "int4", "int8")),
    default="float32",
    show_default=True,
    help="float16, int4: what weights are stored as (of int4 those of fully connected and 1x1 "
    "layers, the others as float16); int8: what everything is, after --calib.",
)
@click.option(
    "--activations",
    type=click.Choice(DTYPES),
    default="float32",
    show_default=True,
    help="What layers compute in and pass on; float16 needs --dtype float16, --target arm64 and, "
    "to run, a processor with armv8.2-a+fp16.",
)
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Real inputs (.npz), with labels or without: what int8 is calibrated on, what shows which "
    "values float16 cannot hold, and by whose means biases make up for what int4 weights change.",
)
@click.option(
    "--ranges",
    type=click.Choice(RANGES),
    default="mse",
    show_default=True,
    help="Of int8: what of each value's distribution the 8 bits cover.",
)
@click.option(
    "--keep-float",
    type=names,
    metavar="LAYER,...",
    help="Of int8 and int4: layers that stay float32; * and ? stand for anything.",
)
@click.option(
    "--accuracy-budget",
    type=click.FloatRange(0),
    metavar="POINTS",
    help="Of int8: keep the most sensitive layers float32 until no more accuracy is lost.",
)
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    default="host",
    show_default=True,
    help="What the packed model is tuned for; it runs everywhere.",
)
@click.option(
    "--cost-table",
    metavar="NAME|FILE",
    help="Choose patterns by another table, e.g. arm64-a55, or one that calibrate wrote.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="What a symbolic batch axis becomes.",
)
@click.option(
    "--shape",
    "shapes",
    type=named_dims,
    multiple=True,
    metavar="NAME=1x3x96x96",
    help="An input's shape, where the model leaves it open.",
)
@click.option(
    "--input-layout",
    type=click.Choice(["NHWC", "NCHW"]),
    help="The layout in which the caller will give images.",
)
@click.option("--labels", type=click.Path(path_type=Path), help="Class names, one a line.")
@mean_option
@scale_option
@click.option("--size", type=dims, metavar="HxW", help="Height x width images are resized to.")
@external_data_option
@no_rearrange_option
@effort_option
@click.option("--output", "outputs", multiple=True, metavar="VALUE", help="Cut the model here.")
@click.option(
    "--bands",
    type=click.Choice(BANDS),
    default="auto",
    show_default=True,
    help="Pass feature maps on some rows at a time: those too large for the target's cache, "
    "all (the least memory; auto on a microcontroller), none.",
)
@click.option(
    "--ram",
    type=byte_size,
    metavar="SIZE",
    help="Exit code 4 if the arena is larger, e.g. 256KiB; on a microcontroller with inputs, "
    "outputs and stack.",
)
@click.option(
    "--flash", type=byte_size, metavar="SIZE", help="Exit code 4 if the file is larger, e.g. 1MB."
)
@report_option
@force_option
@json_option
def command(
    model: Path,
    out: Path,
    ram: int | None,
    flash: int | None,
    report: Path | None,
    force: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Convert MODEL (.onnx or .tflite) to a packed model that every filigree runtime reads."""
    from filigree.cli.failures import check_paths, nothing_written

    asked = Flags(**flags)
    with nothing_written():
        check_paths(
            reads=[model, asked.labels, asked.table, asked.calib], writes=[out, report], force=force
        )
        from filigree.cli.tasks.budget import Budget, check_budget
        from filigree.converter import packfile

        converted = _convert(model, asked)
        check_budget(converted, Budget(ram, flash))
        html = _page(model, converted) if report else b""
    packfile.write(out, converted.data)
    if report:
        packfile.write(report, html)
    if as_json:
        console.json(_as_json(model, out, converted))
        return
    _show(model, out, converted)
    if asked.dtype == "int4" and asked.calib is None:
        console.line("with real inputs (--calib DATA) biases make up for part of what int4 changes")
    if report:
        console.line(f"wrote {report}")
    console.line(f"next: filigree verify {out} --against {model}")


def _convert(model: Path, flags: Flags) -> Converted:
    from filigree.converter import convert

    options = _options(flags)
    with console.progress() as progress:
        converted = convert(model, options=options, progress=progress)
    _check_labels(converted, flags)
    return converted


def _options(flags: Flags) -> ConvertOptions:
    from filigree.cli.tasks.labels import read_labels
    from filigree.converter import ConvertOptions

    return ConvertOptions(
        pattern=flags.pattern,
        dtype=flags.dtype,
        activations=flags.activations,
        calib=flags.calib,
        quantize=_quantize(flags),
        target=flags.target,
        cost_table=flags.table or flags.cost_table,
        batch=flags.batch,
        shapes=dict(flags.shapes),
        input_layout=flags.input_layout,
        labels=tuple(read_labels(flags.labels)) if flags.labels else (),
        mean=flags.mean or (),
        scale=flags.scale or (),
        size=flags.size,
        outputs=flags.outputs,
        external_data=flags.external_data,
        rearrange=not flags.no_rearrange,
        effort=flags.effort,
        bands=flags.bands,
    )


def _quantize(flags: Flags) -> QuantizeOptions:
    from filigree.converter.quantize.options import QuantizeOptions

    return QuantizeOptions(
        ranges=flags.ranges,
        keep_float=flags.keep_float or (),
        accuracy_budget=flags.accuracy_budget,
    )


def _check_labels(converted: Converted, flags: Flags) -> None:
    from filigree.converter.errors import UsageError

    labels = converted.program.meta.get("labels") or []
    port = converted.program.outputs[0]
    if labels and len(labels) != port.shape[-1]:
        raise UsageError(
            f'{flags.labels} has {len(labels)} labels, output "{port.name}" '
            f"{plural(port.shape[-1], 'value')}"
        )


def _as_json(model: Path, out: Path, converted: Converted) -> dict[str, Any]:
    from filigree.cli.tasks.memory import peak

    plan = converted.program.plan
    return {
        "model": str(model),
        "model_bytes": model.stat().st_size,
        "written": str(out),
        "bytes": len(converted.data),
        "arena_bytes": plan.arena_bytes if plan else None,
        "arena_lower_bound": plan.lower_bound if plan else None,
        "peak": peak(converted.program).node if converted.program.ops else None,
        "seconds": converted.seconds,
        **converted.report.to_json(),
    }


def _show(model: Path, out: Path, converted: Converted) -> None:
    from filigree.cli.tasks.layers import halved, layers, summary, table
    from filigree.cli.tasks.memory import peak

    before, after = model.stat().st_size, len(converted.data)
    console.line(f"wrote {out}: {after:,} bytes, {after / before:.2f}x {model.name} ({before:,})")
    plan = converted.program.plan
    if plan is not None:
        console.line(f'arena {size(plan.arena_bytes)}, peak at "{peak(converted.program).node}"')
    found = layers(converted.program.meta)
    console.line(summary(found))
    arranged = converted.report.rearranged
    if arranged:
        console.line(
            f"{plural(len(arranged['orders']), 'group')} of channels reordered: "
            f"{arranged['blocks_before']:,} -> {arranged['blocks_after']:,} stored blocks of "
            f"{arranged['block_rows']}x1"
        )
    if converted.report.quantized:
        console.line(_quantized(converted.report.quantized))
    if converted.report.activations != "float32":
        for line in halved(converted.report):
            console.line(line)
    if found:
        console.line()
        console.table(*table(found))
        console.line()


def _quantized(found: dict[str, Any]) -> str:
    text = (
        f"{found['layers']} of {plural(found['of'], 'layer')} in int8, the output "
        f"{found['output_signal_to_noise']:.1f} dB over its error"
    )
    if found["accuracy_before"] is None:
        return text
    was, now = percent(found["accuracy_before"]), percent(found["accuracy_after"])
    return f"{text}; accuracy on the calibration data {was} before, {now} after"


def _page(model: Path, converted: Converted) -> bytes:
    from filigree.cli.pages.html import facts, page
    from filigree.cli.pages.model import model_sections
    from filigree.cli.tasks.layers import layers, summary

    before, after = model.stat().st_size, len(converted.data)
    plan = converted.program.plan
    cards = [
        ("packed model", size(after)),
        ("of the original", f"{after / before:.2f}x"),
        ("arena", size(plan.arena_bytes) if plan else "-"),
        ("operations", str(len(converted.program.ops))),
    ]
    sections = [facts(cards), *model_sections(converted.program, measured={})]
    subtitle = summary(layers(converted.program.meta))
    return page(f"{model.name}, converted", subtitle, sections=sections).encode()
