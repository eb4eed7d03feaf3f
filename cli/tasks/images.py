"""Image files to network inputs: crop, resize, normalise, lay out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks.packed import as_integers, is_bytes
from filigree.converter.errors import BadFile, UsageError
from filigree.converter.layout import is_channels_last
from filigree.native.model import Port

F32 = NDArray[np.float32]
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}


@dataclass(frozen=True)
class Preprocess:
    """How a pixel 0..255 becomes a value: ``(pixel - mean) / scale``, per channel or for all.

    ``size`` is (height, width); ``crop`` is the side of the centred square that is kept, as a
    fraction of the image's shorter side (None: the whole image, squashed); ``layout`` says where
    the channel axis is; ``raw``: the values are the pixels, uint8; ``port``: one of integers, that
    the values are rounded to.
    """

    size: tuple[int, int]
    channels: int
    layout: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    crop: float | None = None
    raw: bool = False
    port: Port | None = None


@dataclass(frozen=True)
class PixelFlags:
    """What the command line says about pixels; None: what the model says."""

    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    size: tuple[int, ...] | None = None
    layout: str | None = None
    crop: float | None = None


def preprocess(meta: dict[str, Any], port: Port, *, flags: PixelFlags) -> Preprocess:
    """The model's own preprocessing with flags on top. Raises UsageError if something is unknown.

    ``port``: the model's input, with the batch in front. One of uint8 takes the pixels as they are,
    unless it has a scale and the model or a flag says what a pixel stands for.
    """
    shape, stored = tuple(port.shape), dict(meta.get("preprocess") or {})
    said = bool((flags.mean or stored.get("mean")) and (flags.scale or stored.get("scale")))
    raw = port.dtype == "uint8" and (is_bytes(port) or not said)
    if raw and (flags.mean or flags.scale):
        raise UsageError("the model takes pixels as they are: no --mean, no --scale")
    if raw:
        stored |= {"mean": (0.0,), "scale": (1.0,)}
    layout = flags.layout or _layout(shape, stored.get("layout"))
    height, width, channels = _extent(shape, layout)
    mean = flags.mean or tuple(stored.get("mean") or ())
    scale = flags.scale or tuple(stored.get("scale") or ())
    if not mean or not scale:
        raise UsageError(
            "the model does not say how pixels become values",
            hint="--mean 127.5 --scale 127.5 for -1..1, --mean 0 --scale 255 for 0..1",
        )
    for label, values in (("mean", mean), ("scale", scale)):
        if len(values) not in (1, channels):
            raise UsageError(f"--{label} has {len(values)} values, the input {channels} channels")
    if 0 in scale:
        raise UsageError("--scale must not be 0")
    wanted = tuple(flags.size or stored.get("size") or (height, width))
    if wanted != (height, width):
        raise UsageError(
            f"--size is {'x'.join(map(str, wanted))}, the model's input {height}x{width}"
        )
    crop = flags.crop or stored.get("crop")
    rounded = None if raw or port.dtype == "float32" else port
    return Preprocess((height, width), channels, layout, mean, scale, crop, raw, rounded)


def load_image(path: Path, how: Preprocess) -> NDArray[Any]:
    """The image as the model's input takes it, [1, C, H, W] or [1, H, W, C]. Raises BadFile if it
    is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB" if how.channels == 3 else "L")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, SyntaxError) as error:
        raise BadFile(f"{path.name} is not an image that can be read", [str(error)]) from error
    if how.crop:
        image = image.crop(_centre(image.width, image.height, how.crop))
    height, width = how.size
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    pixels = pixels.reshape(height, width, how.channels)
    mean, scale = np.array(how.mean, np.float32), np.array(how.scale, np.float32)
    values: NDArray[Any] = (pixels - mean) / scale
    if how.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    if how.port is not None:
        values = as_integers(values, how.port)
    elif how.raw:
        values = values.astype(np.uint8)
    return np.ascontiguousarray(values[np.newaxis])


def _layout(shape: tuple[int, ...], stored: str | None) -> str:
    if stored in ("NCHW", "NHWC"):
        return str(stored)
    return "NHWC" if is_channels_last(shape) else "NCHW"


def _extent(shape: tuple[int, ...], layout: str) -> tuple[int, int, int]:
    if len(shape) != 4 or shape[0] != 1:
        text = "x".join(str(dim) for dim in shape)
        raise UsageError(f"the model's input is {text}, not one image", hint="give a .npy file")
    channels = shape[1] if layout == "NCHW" else shape[3]
    if channels not in (1, 3):
        raise UsageError(f"the model's input has {channels} channels ({layout}), an image 1 or 3")
    return (*shape[2:], channels) if layout == "NCHW" else (*shape[1:3], channels)


def _centre(width: int, height: int, fraction: float) -> tuple[int, int, int, int]:
    side = max(1, round(min(width, height) * fraction))
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
