"""filigree.converter: a model becomes a packed model.

    from filigree.converter import ConvertOptions, convert, packfile
    converted = convert(Path("model.onnx"), options=ConvertOptions())
    packfile.write(Path("model.fil"), converted.data)

Importing this package loads none of the heavy ones (numpy, onnx); ``convert`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filigree.converter.quantize.options import QuantizeOptions

if TYPE_CHECKING:
    from filigree.converter.lowering.program import Program
    from filigree.converter.report import Report

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class ConvertOptions:
    """What may be asked of a conversion; the defaults suit a pruned model on this machine.

    ``target``: host, x86-64, arm64, wasm or a Cortex-M core (cortex-m4), whose cost table chooses
    patterns (the packed model runs everywhere); ``isa`` narrows it ("avx2"), ``cost_table`` names
    another: a shipped table ("arm64-a55") or the path of one.
    ``pattern``: auto, dense, 1x1, 2x1, 4x1 or 8x1; ``objective``: time or size, for auto.
    ``dtype``: float32, float16 or int4 (fully connected and 1x1 layers, the others float16), of the
    stored weights, with arithmetic in float32; or int8, of weights, activations and arithmetic,
    which needs ``calib``; ``quantize`` says how, and for int4 too which layers stay float32.
    ``activations``: float32 or float16, which needs weights of float16 and, to run, a processor
    with armv8.2-a+fp16.
    ``calib``: real inputs (.npz or .npy), and labels or not: what int8 is calibrated on, what shows
    which values are too large for float16 (None: noise), and by whose means biases make up for what
    rounding to int4 changes (None: they stay as they are).
    ``batch``: what a symbolic batch axis becomes; ``shapes``: of inputs the model leaves open.
    ``input_layout``: NCHW or NHWC, in which the caller gives images (None: the model's own).
    ``rearrange``: reorder channels of a pruned model so that its zeros line up in blocks;
    ``effort``: how much work goes into the order (1: seconds for a MobileNet).
    ``bands``: auto (large feature maps are passed on some rows at a time where that saves the
    target's cache; on a microcontroller it is small), small (all of them are, for the least
    memory), off.
    ``external_data``: read weights that the model keeps in files beside it.
    ``outputs``: values to cut the model at. ``name``: of the packed model (None: the file's).
    ``labels``, ``mean``, ``scale`` and ``size`` (height, width) travel in the metadata.
    """

    target: str = "host"
    isa: str | None = None
    cost_table: str | Path | None = None
    pattern: str = "auto"
    objective: str = "time"
    dtype: str = "float32"
    activations: str = "float32"
    calib: Path | None = None
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    batch: int = 1
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    input_layout: str | None = None
    rearrange: bool = True
    effort: float = 1.0
    bands: str = "auto"
    external_data: bool = False
    outputs: tuple[str, ...] = ()
    name: str | None = None
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    size: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Converted:
    """The packed model as program and as bytes, why each layer is as it is, and seconds a stage."""

    program: Program
    data: bytes
    report: Report
    seconds: Mapping[str, float]


def convert(
    source: Path, *, options: ConvertOptions | None = None, progress: Progress | None = None
) -> Converted:
    """Convert the model at ``source`` (ONNX or TFLite); nothing is written.

    ``progress(stage, fraction)`` is called as stages start. Raises errors of
    ``filigree.converter.errors``, every problem of a kind at once.
    """
    from filigree.converter.pipeline import run

    return run(Path(source), options or ConvertOptions(), progress=progress)
