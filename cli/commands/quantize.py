"""``filigree quantize``: a float model to int8 after training, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filigree.cli.console import console, percent, plural
from filigree.cli.options import (
    force_option,
    json_option,
    label_offset_option,
    mean_option,
    names,
    register,
    scale_option,
)

if TYPE_CHECKING:
    from filigree.cli.tasks.quantizing import Outcome
    from filigree.converter.calibration import Data

RANGES = ("mse", "minmax", "percentile", "entropy")
WEIGHTS = ("minmax", "mse")


@dataclass(frozen=True)
class Samples:
    """Where data comes from and how it becomes what the model takes."""

    calib: Path
    test: Path | None
    samples: int | None
    label_offset: int
    mean: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    crop: float | None


@register("quantize", "Round a float model to int8, calibrated on data.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The int8 model (.onnx)."
)
@click.option(
    "--calib",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Calibration data: .npz, .npy or a folder of images (labels in labels.csv).",
)
@click.option(
    "--ranges",
    type=click.Choice(RANGES),
    default="mse",
    show_default=True,
    help="What of each value's distribution the 8 bits cover.",
)
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    default="minmax",
    show_default=True,
    help="How the scale of each row of weights is chosen.",
)
@click.option(
    "--no-bias-correction", is_flag=True, help="Leave the biases as they are after rounding."
)
@click.option(
    "--keep-float",
    type=names,
    metavar="LAYER,...",
    help="Layers that stay float32; * and ? stand for anything.",
)
@click.option(
    "--accuracy-budget",
    type=click.FloatRange(0),
    metavar="POINTS",
    help="Keep the most sensitive layers float32 until no more accuracy than this is lost on the "
    "calibration data, which must have labels.",
)
@click.option(
    "--test", type=click.Path(path_type=Path), metavar="DATA", help="Data to judge the result by."
)
@click.option("--samples", type=click.IntRange(1), help="Use the first so many samples.")
@label_offset_option
@mean_option
@scale_option
@click.option("--crop", type=float, help="Centred square of an image, e.g. 0.875.")
@force_option
@json_option
def command(
    model: Path,
    out: Path,
    ranges: str,
    weights: str,
    no_bias_correction: bool,
    keep_float: tuple[str, ...] | None,
    accuracy_budget: float | None,
    force: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Quantise MODEL (.onnx or .tflite) and write it as ONNX with QuantizeLinear and
    DequantizeLinear, ready for filigree convert or any other tool."""
    from filigree.cli.failures import check_paths, nothing_written
    from filigree.cli.tasks import quantizing
    from filigree.converter.quantize.options import QuantizeOptions

    given = Samples(**flags)
    options = QuantizeOptions(
        ranges=ranges,
        weights=weights,
        bias_correction=not no_bias_correction,
        keep_float=keep_float or (),
        accuracy_budget=accuracy_budget,
    )
    with nothing_written():
        files = [path for path in (given.calib, given.test) if path is None or not path.is_dir()]
        check_paths(reads=[model, *files], writes=[out], force=force)
        with console.progress() as progress:
            calib = _data(model, given, given.calib)
            test = _data(model, given, given.test) if given.test else None
            outcome = quantizing.run(model, options, calib=calib, test=test, progress=progress)
        quantizing.write(out, outcome)
    if as_json:
        console.json({"model": str(model), "written": str(out), **outcome.as_json()})
        return
    _show(model, out, outcome)


def _data(model: Path, given: Samples, path: Path) -> Data:
    from filigree.cli.tasks import data

    pixels = data.Pixels(given.mean, given.scale, given.crop)
    return data.for_model(model, path, pixels, most=given.samples, offset=given.label_offset)


def _show(model: Path, out: Path, outcome: Outcome) -> None:
    quantized = outcome.quantized
    kept = sum(layer.kept_float for layer in quantized.layers)
    before, after = model.stat().st_size, out.stat().st_size
    console.line(f"wrote {out}: {after:,} bytes, {after / before:.2f}x {model.name} ({before:,})")
    whole = len(quantized.layers)
    console.line(
        f"{whole - kept} of {plural(whole, 'layer')} in int8, calibrated on "
        f"{plural(outcome.samples, 'sample')}; the output is "
        f"{quantized.output_signal_to_noise:.1f} dB over its error"
    )
    console.line()
    rows = [
        [
            layer.name,
            "float32" if layer.kept_float else "int8",
            f"{layer.signal_to_noise:.1f} dB",
            "-" if layer.alone is None else f"{layer.alone:.1f} dB",
        ]
        for layer in quantized.layers
    ]
    console.table(["layer", "type", "signal to noise", "output, if alone"], rows)
    console.line()
    for name, was, now in outcome.accuracies():
        console.line(f"accuracy on {name}: {percent(was)} before, {percent(now)} after")
    console.line(f"next: filigree convert {out} -o {out.with_suffix('.fil')}")
