"""spmm against float64: every block height, coding, width, activation and residual."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from filigree.native import enums as c
from tests.kernels import library
from tests.kernels.harness import (
    ACTS,
    SMOOTH,
    Case,
    act_name,
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
from tests.kernels.matrices import CODINGS, Matrix, both, every_half, four_bits, matrix


@dataclass(frozen=True)
class Shape:
    rows: int
    cols: int
    positions: int
    block_rows: int
    coding: str
    act: tuple[str, float, float] = ACTS[0]
    residual: bool = False
    gap: int = 0  # extra elements between planes

    def __str__(self) -> str:
        tail = f"{act_name(self.act)}{'-residual' * self.residual}"
        size = f"{self.rows}x{self.cols}x{self.positions}"
        return f"{size}-{self.block_rows}x1-{self.coding}-{tail}-gap{self.gap}"


def shapes() -> list[Shape]:
    widths = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 49, 64, 65, 81, 97, 113, 129, 196)
    made = []
    for i, positions in enumerate(widths):
        for o in (1, 2, 4, 8, 16):
            for coding in CODINGS:
                k = len(made)
                rows = max(1, (o - 1, o, o + 1, 2 * o + 3)[k % 4])
                act = ACTS[k % len(ACTS)]
                cols = (1, 5, 33)[(i + o) % 3]
                made.append(
                    Shape(rows, cols, positions, o, coding, act, k % 5 == 0, (0, 1, 16)[k % 3])
                )
    wide = [Shape(20, 700, 21, o, coding) for o in (1, 4) for coding in CODINGS]
    return made + wide


def weights(shape: Shape) -> Matrix:
    density = 0.02 if shape.cols > 100 else 0.3
    return matrix(shape.rows, shape.cols, shape.block_rows, shape.coding, density=density)


def case(shape: Shape, w: Matrix, lanes: int) -> Case:
    p = shape.positions
    x_pitch, out_pitch = up(p, lanes) + shape.gap, up(p, lanes) + 2 * shape.gap
    name, lo, hi = shape.act
    fields = {
        "w": w.fields(),
        "x_pitch": x_pitch,
        "out_pitch": out_pitch,
        "positions": p,
        "e": {**epilogue(name, lo=lo, hi=hi), "residual_pitch": x_pitch},
    }
    arrays = {**w.arrays(), "x": spread(paint(shape.cols, p), x_pitch, lanes)}
    if shape.residual:
        arrays["e.residual"] = spread(paint(shape.rows, p, seed=9), x_pitch, lanes)
    return Case("spmm", arrays, fields, (shape.rows - 1) * out_pitch + up(p, lanes))


@pytest.mark.parametrize("shape", shapes(), ids=str)
def test_spmm(isa: str, shape: Shape) -> None:
    lanes, p, w = library.lanes(isa), shape.positions, weights(shape)
    made = case(shape, w, lanes)
    got = planes(run(made, isa), shape.rows, p, made.fields["out_pitch"], lanes)
    x, residual = paint(shape.cols, p), paint(shape.rows, p, seed=9)
    dense, bias = w.dense.astype(np.float64), w.bias.astype(np.float64)[:, None]
    extra = residual.astype(np.float64) * shape.residual
    want = activated(dense @ x + bias + extra, shape.act)
    smooth = shape.act[0] in SMOOTH
    scale = np.abs(dense) @ np.abs(x) + np.abs(bias) + np.abs(extra) + smooth
    assert_close(got, want, scale)


HALVES = [
    *shapes(),
    *(Shape(45, 300, 37, o, coding, ACTS[3], True) for o in (1, 4, 16) for coding in CODINGS),
    Shape(33, 1100, 20, 8, "none"),  # one group is more than is widened at a time
]


@pytest.mark.parametrize("shape", HALVES, ids=str)
def test_halves(isa: str, shape: Shape) -> None:
    made = [case(shape, w, library.lanes(isa)) for w in both(weights(shape))]
    assert_same(*(run(one, isa) for one in made))


FOUR_BITS = [shape for shape in HALVES if shape.cols * shape.block_rows <= c.FIL_WIDE]


@pytest.mark.parametrize("shape", FOUR_BITS, ids=str)
def test_four_bits(isa: str, shape: Shape) -> None:
    """What float32 weights of the same values give, to the bit."""
    exact, arrays = four_bits(weights(shape))
    one = case(shape, exact, library.lanes(isa))
    kept = {name: x for name, x in one.arrays.items() if not name.startswith("w.")}
    assert_same(run(one, isa), run(replace(one, kernel="spmm4", arrays={**kept, **arrays}), isa))


LARGE = [
    Shape(9, 1100, p, o, coding, ACTS[k % len(ACTS)], k % 2 == 0, gap)
    for k, (p, o, gap) in enumerate(((1, 4, 0), (70, 8, 16), (129, 16, 1), (64, 8, 0)))
    for coding in CODINGS
]


@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_four_bits_in_pieces(isa: str, shape: Shape) -> None:
    """Groups of which only a piece is unpacked at a time."""
    lanes, p = library.lanes(isa), shape.positions
    density = 1.0 if shape.coding == "u16" else 0.7
    w = matrix(shape.rows, shape.cols, shape.block_rows, shape.coding, density=density)
    exact, arrays = four_bits(w)
    made = case(shape, exact, lanes)
    kept = {name: x for name, x in made.arrays.items() if not name.startswith("w.")}
    made = replace(made, kernel="spmm4", arrays={**kept, **arrays})
    got = planes(run(made, isa), shape.rows, p, made.fields["out_pitch"], lanes)
    x, dense = paint(shape.cols, p), exact.dense.astype(np.float64)
    bias = exact.bias.astype(np.float64)[:, None]
    extra = paint(shape.rows, p, seed=9).astype(np.float64) * shape.residual
    scale = np.abs(dense) @ np.abs(x) + np.abs(bias) + np.abs(extra) + 1
    assert_close(got, activated(dense @ x + bias + extra, shape.act), scale)


def test_every_half(isa: str) -> None:
    w = Matrix(every_half()[:, None], np.zeros(every_half().size, np.float32), 8, "none", half=True)
    made = case(Shape(w.dense.size, 1, 1, 8, "none"), w, library.lanes(isa))
    one = {**made.arrays, "x": np.ones_like(made.arrays["x"])}
    got = run(replace(made, arrays=one), isa)
    np.testing.assert_array_equal(got[:: made.fields["out_pitch"]], w.dense[:, 0])
