"""pool against float64: the three modes, padding, dilation, ceil mode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.kernels import library
from tests.kernels.harness import (
    F64,
    Case,
    activated,
    assert_close,
    epilogue,
    paint,
    planes,
    run,
    spread,
    up,
)
from tests.kernels.windows import Window, random_windows

MODES = ("max", "avg", "avg_pad")
CHANNELS = 3
WINDOWS = [
    Window(112, 112, 3, 3, 2, 2, top=1, left=1, bottom=1, right=1),
    Window(14, 14, 2, 2, 2, 2),
    Window(7, 7, 7, 7),
    *(Window(6, w, 3, 3, top=1, left=1, bottom=1, right=1) for w in (1, 2, 15, 16, 17, 33)),
    *(Window(6, w, 2, 3, 2, 2) for w in (3, 8, 15, 17, 31, 34, 67)),
    *random_windows(60),
]


def expected(window: Window, x: F64, mode: str) -> F64:
    taps = window.taps(x, outside=np.nan)
    inside = np.isfinite(taps)
    if mode == "max":
        return np.where(inside.any(axis=1), np.where(inside, taps, -np.inf).max(axis=1), 0.0)
    grown = replace(window, h=window.h + window.top + window.bottom, top=0, bottom=0)
    grown = replace(grown, w=window.w + window.left + window.right, left=0, right=0)
    padded = np.isfinite(grown.taps(np.zeros((1, grown.h, grown.w)), outside=np.nan))
    count = (inside if mode == "avg" else padded).sum(axis=1)
    total = np.where(inside, taps, 0.0).sum(axis=1)
    return np.where(inside.any(axis=1), total / np.maximum(count, 1), 0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_pool(isa: str, window: Window, mode: str) -> None:
    check(isa, window, mode, window)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("extra", [1, 2])
def test_cells_past_the_padding_never_count(isa: str, mode: str, extra: int) -> None:
    """Ceil mode: the last window hangs over the declared padding."""
    declared = Window(8, 20, 3, 3, 2, 2, top=1, left=1)
    check(isa, replace(declared, bottom=extra, right=extra), mode, declared)


def check(isa: str, window: Window, mode: str, declared: Window) -> None:
    lanes, n_in, n = library.lanes(isa), window.h * window.w, window.out_h * window.out_w
    act = ("clamp", -0.4, 0.6) if window.w % 2 else ("none", 0.0, 0.0)
    x = paint(CHANNELS, window.h, window.w)
    pads = {"pad_bottom": declared.bottom, "pad_right": declared.right}
    geometry = window.fields() | pads | {"channels": CHANNELS, "mode": MODES.index(mode)}
    x_pitch, out_pitch = up(n_in, lanes) + 2, up(n, lanes) + 1
    fields = {
        "g": geometry,
        "x_pitch": x_pitch,
        "out_pitch": out_pitch,
        "e": epilogue(act[0], lo=act[1], hi=act[2]),
    }
    arrays = {"x": spread(x.reshape(CHANNELS, -1), x_pitch, lanes)}
    got = run(Case("pool", arrays, fields, (CHANNELS - 1) * out_pitch + up(n, lanes)), isa)
    want = activated(expected_of(window, declared, x.astype(np.float64), mode), act)
    assert_close(planes(got, CHANNELS, n, out_pitch, lanes), want, 1.0)


def expected_of(window: Window, declared: Window, x: F64, mode: str) -> F64:
    if window == declared:
        return expected(window, x, mode)
    taps = window.taps(x, outside=np.nan)
    inside = np.isfinite(taps)
    cells = np.zeros((1, declared.h + declared.top, declared.w + declared.left))
    grown = replace(window, h=cells.shape[1], w=cells.shape[2], top=0, left=0)
    counted = np.isfinite(grown.taps(cells, outside=np.nan))
    if mode == "max":
        return np.where(inside, taps, -np.inf).max(axis=1)
    count = (inside if mode == "avg" else counted).sum(axis=1)
    return np.asarray(np.where(inside, taps, 0.0).sum(axis=1) / count)
