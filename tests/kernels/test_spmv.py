"""spmv against float64: exact extents on every side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

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
    run,
)
from tests.kernels.matrices import CODINGS, Matrix, both, every_half, four_bits, matrix


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


def case(shape: Shape, w: Matrix) -> Case:
    name, lo, hi = shape.act
    fields = {"w": w.fields(), "e": epilogue(name, lo=lo, hi=hi)}
    arrays = {**w.arrays(), "x": paint(shape.cols)}
    arrays.pop("w.wide", None)  # spmv widens in registers
    if shape.residual:
        arrays["e.residual"] = paint(shape.rows, seed=9)
    return Case("spmv", arrays, fields, shape.rows)


@pytest.mark.parametrize("shape", shapes(), ids=str)
def test_spmv(isa: str, shape: Shape) -> None:
    w = matrix(shape.rows, shape.cols, shape.block_rows, shape.coding)
    x, residual = paint(shape.cols), paint(shape.rows, seed=9)
    got = run(case(shape, w), isa)
    dense, extra = w.dense.astype(np.float64), residual.astype(np.float64) * shape.residual
    want = activated(dense @ x + w.bias + extra, shape.act)
    smooth = shape.act[0] in SMOOTH
    scale = np.abs(dense) @ np.abs(x) + np.abs(w.bias) + np.abs(extra) + smooth
    assert_close(got, want, scale)


@pytest.mark.parametrize("shape", shapes(), ids=str)
def test_halves(isa: str, shape: Shape) -> None:
    w = matrix(shape.rows, shape.cols, shape.block_rows, shape.coding)
    assert_same(*(run(case(shape, one), isa) for one in both(w)))


@pytest.mark.parametrize("shape", shapes(), ids=str)
def test_four_bits(isa: str, shape: Shape) -> None:
    w, arrays = four_bits(matrix(shape.rows, shape.cols, shape.block_rows, shape.coding))
    made = case(shape, w)
    kept = {name: x for name, x in made.arrays.items() if not name.startswith("w.")}
    got = run(replace(made, kernel="spmv4", arrays={**kept, **arrays}), isa)
    dense, x = w.dense.astype(np.float64), paint(shape.cols)
    extra = paint(shape.rows, seed=9).astype(np.float64) * shape.residual
    want = activated(dense @ x + w.bias + extra, shape.act)
    scale = np.abs(dense) @ np.abs(x) + np.abs(w.bias) + np.abs(extra)
    assert_close(got, want, scale + (shape.act[0] in SMOOTH))


@pytest.mark.parametrize("block_rows", [1, 2, 4, 8, 16])
def test_every_half(isa: str, block_rows: int) -> None:
    bias = np.zeros(every_half().size, np.float32)
    w = Matrix(every_half()[:, None], bias, block_rows, "none", half=True)
    made = case(Shape(w.dense.size, 1, block_rows, "none"), w)
    one = {**made.arrays, "x": np.ones(1, np.float32)}
    np.testing.assert_array_equal(run(replace(made, arrays=one), isa), w.dense[:, 0])
