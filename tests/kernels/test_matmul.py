"""matmul against float64: every edge of its tiles, transposed and broadcast operands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.kernels.harness import UNTOUCHED, Case, activated, assert_close, epilogue, paint, run


@dataclass(frozen=True)
class Product:
    batch: int
    m: int
    n: int
    k: int
    turned: bool = False  # A is stored (k, m)
    shared: bool = False  # one B for every batch
    gap: int = 0

    def __str__(self) -> str:
        flags = f"{'-turned' * self.turned}{'-shared' * self.shared}"
        return f"{self.batch}x{self.m}x{self.n}x{self.k}{flags}-gap{self.gap}"


def products() -> list[Product]:
    made = [
        Product(1 + n % 2, m, n, 5, turned=n % 3 == 0, shared=m % 2 == 0, gap=n % 4)
        for n in (1, 3, 4, 5, 8, 9, 15, 16, 17, 33, 64, 65, 80)
        for m in (1, 3, 4, 5, 9)
    ]
    return [*made, Product(1, 1, 1, 1), Product(3, 7, 20, 130), Product(2, 64, 64, 32)]


@pytest.mark.parametrize("p", products(), ids=str)
def test_matmul(isa: str, p: Product) -> None:
    b_pitch, c_pitch = p.n + p.gap, p.n + 2 * p.gap
    a, b = paint(p.batch, p.m, p.k), paint(1 if p.shared else p.batch, p.k, b_pitch, seed=4)
    g = {
        "batch": p.batch,
        "m": p.m,
        "n": p.n,
        "k": p.k,
        "ab": p.m * p.k,
        "am": 1 if p.turned else p.k,
        "ak": p.m if p.turned else 1,
        "bb": 0 if p.shared else p.k * b_pitch,
        "bk": b_pitch,
        "cb": p.m * c_pitch,
        "cm": c_pitch,
    }
    held = a.transpose(0, 2, 1) if p.turned else a
    act = ("clamp", -2.0, 3.0) if p.m % 2 else ("silu", 0.0, 0.0)
    fields = {"g": g, "e": epilogue(act[0], lo=act[1], hi=act[2])}
    end = p.batch * p.m * c_pitch - (c_pitch - p.n)
    arrays = {"a": held, "b": b.reshape(-1)[: b.size - p.gap]}
    got = np.full(p.batch * p.m * c_pitch, UNTOUCHED)
    got[:end] = run(Case("matmul", arrays, fields, end), isa)
    grid = got.reshape(p.batch, p.m, c_pitch)
    left, right = a.astype(np.float64), b.astype(np.float64)[:, :, : p.n]
    scale = np.abs(left) @ np.abs(right) + 1
    assert_close(grid[:, :, : p.n], activated(left @ right, act), scale)
    assert (grid[:, :, p.n :] == UNTOUCHED).all(), "writes between its rows"
