"""spmm against float64: every block height, coding, width, activation and residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.kernels import library
from tests.kernels.harness import (
    ACTS,
    SMOOTH,
    Case,
    act_name,
    activated,
    assert_close,
    epilogue,
    paint,
    planes,
    run,
    spread,
    up,
)
from tests.kernels.matrices import CODINGS, matrix


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


@pytest.mark.parametrize("shape", shapes(), ids=str)
def test_spmm(isa: str, shape: Shape) -> None:
    lanes, p = library.lanes(isa), shape.positions
    w = matrix(shape.rows, shape.cols, shape.block_rows, shape.coding, density=0.02)
    if shape.cols < 100:
        w = matrix(shape.rows, shape.cols, shape.block_rows, shape.coding)
    x, residual = paint(shape.cols, p), paint(shape.rows, p, seed=9)
    x_pitch, out_pitch = up(p, lanes) + shape.gap, up(p, lanes) + 2 * shape.gap
    name, lo, hi = shape.act
    fields = {
        "w": w.fields(),
        "x_pitch": x_pitch,
        "out_pitch": out_pitch,
        "positions": p,
        "e": {**epilogue(name, lo=lo, hi=hi), "residual_pitch": x_pitch},
    }
    arrays = {**w.arrays(), "x": spread(x, x_pitch, lanes)}
    if shape.residual:
        arrays["e.residual"] = spread(residual, x_pitch, lanes)
    size = (shape.rows - 1) * out_pitch + up(p, lanes)
    got = run(Case("spmm", arrays, fields, size), isa)
    dense, bias = w.dense.astype(np.float64), w.bias.astype(np.float64)[:, None]
    extra = residual.astype(np.float64) * shape.residual
    want = activated(dense @ x + bias + extra, shape.act)
    scale = np.abs(dense) @ np.abs(x) + np.abs(bias) + np.abs(extra) + (name in SMOOTH)
    assert_close(planes(got, shape.rows, p, out_pitch, lanes), want, scale)
