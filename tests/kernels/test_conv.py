"""conv against float64: planar and interleaved inputs of exact extent, every stride."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.kernels import library
from tests.kernels.harness import (
    Case,
    activated,
    assert_close,
    assert_same,
    epilogue,
    paint,
    planes,
    run,
    up,
)
from tests.kernels.matrices import Matrix, both, matrix
from tests.kernels.windows import Window, random_windows

SAME3 = {"top": 1, "left": 1, "bottom": 1, "right": 1}
SIZES = ((1, 1), (3, 16), (4, 17), (9, 15), (14, 14), (3, 70))
HALVED = ((5, 5), (14, 14), (8, 33), (3, 66), (64, 3))
WINDOWS = [
    *(Window(*size, 3, 3, **SAME3) for size in SIZES),
    *(Window(*size, 3, 3, 2, 2, **SAME3) for size in HALVED),
    Window(32, 32, 3, 3, 2, 2, bottom=1, right=1),
    Window(9, 65, 1, 1, 2, 2),
    Window(7, 7, 7, 7),
    Window(12, 12, 5, 3, 3, 3, top=2, left=1),
    *random_windows(60),
]


def fields(w: Matrix, window: Window, layout: str, channels: int, out_pitch: int) -> dict[str, Any]:
    planar = {"cs": window.h * window.w + 3, "ys": window.w, "xs": 1}
    pixels = {"cs": 1, "ys": window.w * channels, "xs": channels}
    geometry = window.fields() | {"channels": channels} | (planar if layout == "planar" else pixels)
    activation = {**epilogue("clamp", lo=-1.0, hi=float("inf")), "residual_pitch": out_pitch}
    part = {"first": 0, "positions": window.out_h * window.out_w, "ring": window.h}
    return {"w": w.fields(), "g": geometry, "out_pitch": out_pitch, "e": activation, **part}


def weights(window: Window) -> Matrix:
    kind = itertools.cycle([(8, "none"), (4, "d8"), (1, "u16"), (2, "d8")])
    o, coding = next(itertools.islice(kind, (window.h + window.w + window.kh) % 4, None))
    return matrix(o + 1, (1 + window.w % 3) * window.kh * window.kw, o, coding)


def case(window: Window, layout: str, w: Matrix, lanes: int) -> Case:
    channels, n = w.dense.shape[1] // (window.kh * window.kw), window.out_h * window.out_w
    rows, x = len(w.dense), paint(channels, window.h, window.w)
    gaps = np.pad(x.reshape(channels, -1), ((0, 0), (0, 3)), constant_values=np.nan).ravel()[:-3]
    held = gaps if layout == "planar" else x.transpose(1, 2, 0)
    pitch = up(n, lanes) + lanes * (rows % 2)
    size = (rows - 1) * pitch + up(n, lanes)
    residual = paint(rows * pitch, seed=9)[:size]
    arrays = {**w.arrays(), "x": held, "e.residual": residual}
    scratch = ("panel", w.dense.shape[1] * 64 * 4)
    return Case("conv", arrays, fields(w, window, layout, channels, pitch), size, scratch)


@pytest.mark.parametrize("layout", ["planar", "pixels"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_conv(isa: str, window: Window, layout: str) -> None:
    lanes, n, w = library.lanes(isa), window.out_h * window.out_w, weights(window)
    made = case(window, layout, w, lanes)
    rows, pitch = len(w.dense), made.fields["out_pitch"]
    got = planes(run(made, isa), rows, n, pitch, lanes)
    channels = w.dense.shape[1] // (window.kh * window.kw)
    x = paint(channels, window.h, window.w).astype(np.float64)
    dense, taps = w.dense.astype(np.float64), window.taps(x).reshape(-1, n)
    extra = paint(rows * pitch, seed=9).reshape(rows, pitch)[:, :n].astype(np.float64)
    bias = w.bias.astype(np.float64)[:, None]
    want = activated(dense @ taps + bias + extra, ("clamp", -1.0, float("inf")))
    scale = np.abs(dense) @ np.abs(taps) + np.abs(bias) + np.abs(extra)
    assert_close(got, want, scale)


@pytest.mark.parametrize("window", [w for w in WINDOWS if w.out_h > 3], ids=str)
def test_some_rows_from_a_ring(isa: str, window: Window) -> None:
    """Rows [1, out_h - 1) of a planar input of which only the rows that they read are there."""
    lanes, channels, rows = library.lanes(isa), 2, 5
    first, n = 1, (window.out_h - 2) * window.out_w
    w = matrix(rows, channels * window.kh * window.kw, 4, "d8")
    x = paint(channels, window.h, window.w)
    held = window.ring(x, first, window.out_h - 2)
    pitch = up(n, lanes)
    given = fields(w, window, "planar", channels, pitch)
    given["g"] |= {"cs": held[0].size}
    given |= {"first": first * window.out_w, "positions": n, "ring": held.shape[1]}
    scratch = ("panel", w.dense.shape[1] * 64 * 4)
    made = Case("conv", {**w.arrays(), "x": held}, given, rows * pitch, scratch)
    got = planes(run(made, isa), rows, n, pitch, lanes)
    taps = window.taps(x.astype(np.float64)).reshape(channels * window.kh * window.kw, -1)
    taps, dense = taps[:, window.out_w :][:, :n], w.dense.astype(np.float64)
    want = activated(dense @ taps + w.bias[:, None], ("clamp", -1.0, float("inf")))
    assert_close(got, want, np.abs(dense) @ np.abs(taps) + 1)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_halves(isa: str, window: Window) -> None:
    lanes = library.lanes(isa)
    made = [case(window, "planar", w, lanes) for w in both(weights(window))]
    assert_same(*(run(one, isa) for one in made))


def test_halves_in_parts(isa: str) -> None:
    window, lanes = Window(9, 17, 3, 3, **SAME3), library.lanes(isa)
    made = [case(window, "planar", w, lanes) for w in both(matrix(75, 90, 8, "none"))]
    assert_same(*(run(one, isa) for one in made))
