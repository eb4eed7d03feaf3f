"""pixels against float64: interleaved and planar, bytes and floats, rows with and without a gap,
from any position on."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels import library
from tests.kernels.harness import Case, assert_close, paint, planes, run, up

SIZES = ((1, 1), (3, 5), (2, 16), (4, 33), (3, 64), (2, 131))
CHANNELS = (1, 2, 3, 4, 5)


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("bytes_", [False, True], ids=["floats", "bytes"])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_interleaved(
    isa: str, size: tuple[int, int], channels: int, bytes_: bool, gap: int
) -> None:
    height, width = size
    steps = {"cs": 1, "ys": width * channels + gap, "xs": channels}
    for first in sorted({0, height * width // 3, height * width - 1}):
        check(isa, size, channels, bytes_, steps, first)


@pytest.mark.parametrize("bytes_", [False, True], ids=["floats", "bytes"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_planar(isa: str, size: tuple[int, int], bytes_: bool) -> None:
    height, width = size
    check(isa, size, 3, bytes_, {"cs": height * width + 1, "ys": width, "xs": 1}, 0)


def check(
    isa: str,
    size: tuple[int, int],
    channels: int,
    bytes_: bool,
    steps: dict[str, int],
    first: int,
) -> None:
    height, width = size
    index = np.indices((channels, height, width))
    at = sum(i * s for i, s in zip(index, steps.values(), strict=True))
    elements = int(at.max()) + 1
    x = paint(elements)
    if bytes_:
        x = (np.arange(elements) * 89 % 256).astype(np.uint8)
    scale, shift = paint(channels, seed=3), paint(channels, seed=5)
    n, lanes = height * width - first, library.lanes(isa)
    pitch = up(n, lanes) + 1
    fields = {
        "g": {"channels": channels, "in_h": height, "in_w": width, **steps},
        "out_pitch": pitch,
        "first": first,
        "positions": n,
    }
    arrays = {"bytes" if bytes_ else "floats": x, "scale": scale, "shift": shift}
    got = run(Case("pixels", arrays, fields, (channels - 1) * pitch + up(n, lanes)), isa)
    want = x.astype(np.float64)[at].reshape(channels, -1)[:, first:]
    want = want * scale[:, None] + shift[:, None]
    assert_close(planes(got, channels, n, pitch, lanes), want, 256.0 if bytes_ else 1.0)
