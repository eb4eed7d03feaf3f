"""spmv against float64: exact extents on every side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.kernels.harness import (
    ACTS,
    SMOOTH,
    Case,
    act_name,
    activated,
    assert_close,
    epilogue,
    paint,
    run,
)
from tests.kernels.matrices import CODINGS, matrix


@dataclass(frozen=True)
class Shape:
    rows: int
    cols: int
    block_rows: int
    coding: str
    act: tuple[str, float, float] = ACTS[0]
    residual: bool = False

    def __str__(self) -> str:
        tail = f"{act_name(self.act)}{'-residual' * self.residual}"
        return f"{self.rows}x{self.cols}-{self.block_rows}x1-{self.coding}-{tail}"


def shapes() -> list[Shape]:
    made = []
    for o in (1, 2, 4, 8, 16):
        for coding in CODINGS:
            for rows in (1, o - 1, o, o + 1, 2 * o + 3):
                for cols in (1, 2, 15, 17, 40, 260):
                    k = len(made)
                    made.append(
                        Shape(max(rows, 1), cols, o, coding, ACTS[k % len(ACTS)], k % 3 == 0)
                    )
    return list(dict.fromkeys(made))


@pytest.mark.parametrize("shape", shapes(), ids=str)
def test_spmv(isa: str, shape: Shape) -> None:
    w = matrix(shape.rows, shape.cols, shape.block_rows, shape.coding)
    x, residual = paint(shape.cols), paint(shape.rows, seed=9)
    name, lo, hi = shape.act
    fields = {"w": w.fields(), "e": epilogue(name, lo=lo, hi=hi)}
    arrays = {**w.arrays(), "x": x}
    if shape.residual:
        arrays["e.residual"] = residual
    got = run(Case("spmv", arrays, fields, shape.rows), isa)
    dense, extra = w.dense.astype(np.float64), residual.astype(np.float64) * shape.residual
    want = activated(dense @ x + w.bias + extra, shape.act)
    scale = np.abs(dense) @ np.abs(x) + np.abs(w.bias) + np.abs(extra) + (name in SMOOTH)
    assert_close(got, want, scale)
