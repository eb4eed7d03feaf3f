"""dwconv against float64: constant kernels, any kernel, every stride, dilation and width."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels import library
from tests.kernels.harness import (
    ACTS,
    F32,
    SMOOTH,
    Case,
    activated,
    assert_close,
    assert_same,
    epilogue,
    paint,
    planes,
    run,
    spread,
    up,
)
from tests.kernels.matrices import halves
from tests.kernels.windows import Window, random_windows

CHANNELS = 3


def same(h: int, w: int, k: int, stride: int, dilation: int = 1) -> Window:
    pad = (k - 1) * dilation // 2
    return Window(h, w, k, k, stride, stride, dilation, dilation, pad, pad, pad, pad)


SIZES = ((1, 1), (2, 3), (7, 7), (14, 14), (9, 15), (10, 16), (11, 17), (5, 31), (6, 33), (56, 56))
WINDOWS = [
    *(same(h, w, k, s) for h, w in SIZES for k in (3, 5) for s in (1, 2)),
    *(same(h, w, 7, s) for h, w in SIZES[2:5] for s in (1, 2, 3)),
    *(same(20, 21, 3, 1, dilation) for dilation in (2, 3, 7)),
    same(112, 112, 3, 1),
    same(224, 30, 3, 2),
    Window(112, 112, 3, 3, 2, 2, bottom=1, right=1),
    Window(4, 300, 3, 3, 1, 2, top=1, left=1),
    Window(7, 7, 7, 7),
    Window(25, 5, 10, 4, 2, 2, top=5, left=1, bottom=5, right=1),
    Window(3, 3, 3, 3, top=9, left=20, bottom=9, right=20),
    *random_windows(80),
]


def case(window: Window, w: F32, lanes: int, *, half: bool = False) -> Case:
    ffi, lib = library.load()
    n_in, n = window.h * window.w, window.out_h * window.out_w
    act = ACTS[(window.h + window.kw) % len(ACTS)]
    pitches = {"x_pitch": up(n_in, lanes) + 1, "out_pitch": up(n, lanes) + 16}
    matrix = {"rows": CHANNELS, "cols": window.kh * window.kw, "groups": CHANNELS, "block_rows": 1}
    fields = {
        "w": matrix,
        "g": window.fields() | {"channels": CHANNELS},
        "e": {**epilogue(act[0], lo=act[1], hi=act[2]), "residual_pitch": up(n, lanes)},
        **pitches,
        **{"first": 0, "rows": window.out_h, "ring": window.h},
    }
    arrays = halves(w, widened=w.shape[1]) if half else {"w.values": w}
    arrays |= {"w.bias": paint(CHANNELS, seed=5)}
    arrays["x"] = spread(paint(CHANNELS, n_in), pitches["x_pitch"], lanes)
    if window.w % 2 == 0:
        arrays["e.residual"] = spread(paint(CHANNELS, n, seed=9), up(n, lanes), lanes)
    geometry = ffi.new("fil_conv *", fields["g"])
    scratch = ("scratch", int(lib.fil_dwconv_scratch(geometry)))
    size = (CHANNELS - 1) * pitches["out_pitch"] + up(n, lanes)
    return Case("dwconv", arrays, fields, size, scratch)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_dwconv(isa: str, window: Window) -> None:
    lanes, n = library.lanes(isa), window.out_h * window.out_w
    act = ACTS[(window.h + window.kw) % len(ACTS)]
    x, w = paint(CHANNELS, window.h, window.w), paint(CHANNELS, window.kh * window.kw, seed=3)
    bias, residual = paint(CHANNELS, seed=5), paint(CHANNELS, n, seed=9)
    made = case(window, w, lanes)
    got = planes(run(made, isa), CHANNELS, n, made.fields["out_pitch"], lanes)
    taps, kernel = window.taps(x.astype(np.float64)), w.astype(np.float64)[:, :, None]
    extra = residual.astype(np.float64) * (window.w % 2 == 0)
    want = activated((taps * kernel).sum(axis=1) + bias[:, None] + extra, act)
    scale = np.abs(taps * kernel).sum(axis=1) + 2 + (act[0] in SMOOTH)
    assert_close(got, want, scale)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_halves(isa: str, window: Window) -> None:
    w = paint(CHANNELS, window.kh * window.kw, seed=3).astype(np.float16).astype(np.float32)
    made = [case(window, w, library.lanes(isa), half=half) for half in (False, True)]
    assert_same(*(run(one, isa) for one in made))


@pytest.mark.parametrize("window", [w for w in WINDOWS if w.out_h > 3], ids=str)
def test_some_rows_from_a_ring(isa: str, window: Window) -> None:
    """Rows [1, out_h - 1) of an input of which only the rows that they read are there."""
    ffi, lib = library.load()
    lanes, rows = library.lanes(isa), window.out_h - 2
    n = rows * window.out_w
    x, w = paint(CHANNELS, window.h, window.w), paint(CHANNELS, window.kh * window.kw, seed=3)
    held = window.ring(x, 1, rows)
    pitches = {"x_pitch": up(held[0].size, lanes), "out_pitch": up(n, lanes)}
    fields = {
        "w": {"rows": CHANNELS, "cols": window.kh * window.kw, "block_rows": 1},
        "g": window.fields() | {"channels": CHANNELS},
        "e": epilogue("clamp", lo=0.0, hi=6.0),
        **pitches,
        **{"first": 1, "rows": rows, "ring": held.shape[1]},
    }
    arrays = {"w.values": w, "w.bias": paint(CHANNELS, seed=5)}
    arrays["x"] = spread(held.reshape(CHANNELS, -1), pitches["x_pitch"], lanes)
    scratch = ("scratch", int(lib.fil_dwconv_scratch(ffi.new("fil_conv *", fields["g"]))))
    size = CHANNELS * pitches["out_pitch"]
    got = run(Case("dwconv", arrays, fields, size, scratch), isa)
    taps = window.taps(x.astype(np.float64))[:, :, window.out_w :][:, :, :n]
    products = taps * w.astype(np.float64)[:, :, None]
    want = activated(products.sum(axis=1) + arrays["w.bias"][:, None], ("clamp", 0.0, 6.0))
    assert_close(
        planes(got, CHANNELS, n, pitches["out_pitch"], lanes),
        want,
        np.abs(products).sum(axis=1) + 2,
    )


def test_scratch_of_a_hostile_geometry_does_not_wrap() -> None:
    if library.compiler() is None:
        pytest.skip("no C compiler (apt-get install gcc)")
    ffi, lib = library.load()
    g = dict.fromkeys(("out_h", "out_w"), 2**20) | {"kh": 9, "kw": 9, "dh": 1, "dw": 2**15}
    g |= {"sh": 1023, "sw": 2}
    assert lib.fil_dwconv_scratch(ffi.new("fil_conv *", g)) > 2**20 * 4
