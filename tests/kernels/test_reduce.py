"""reduce and softmax against float64: every arrangement of axes, exact extents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.kernels.harness import (
    UNTOUCHED,
    Case,
    activated,
    assert_close,
    epilogue,
    paint,
    run,
)

FNS = ("mean", "sum", "max")


@dataclass(frozen=True)
class Axes:
    """outer x axis x inner elements, in ``order`` ("oai": inner fastest), rows ``gap`` apart."""

    outer: int
    axis: int
    inner: int
    order: str = "oai"
    gap: int = 0

    def __str__(self) -> str:
        return f"{self.outer}x{self.axis}x{self.inner}-{self.order}-gap{self.gap}"

    def strides(self) -> dict[str, int]:
        sizes = {"o": self.outer, "a": self.axis, "i": self.inner}
        found, step = {}, 1
        for letter in reversed(self.order):
            found[letter] = step
            step = step * sizes[letter] + (self.gap if letter == self.order[-1] else 0)
        return found

    def places(self) -> np.ndarray:
        """(outer, axis, inner): where each element lies."""
        s, grid = self.strides(), np.indices((self.outer, self.axis, self.inner))
        return np.asarray(grid[0] * s["o"] + grid[1] * s["a"] + grid[2] * s["i"])


def axes() -> list[Axes]:
    lengths = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 49, 65, 130)
    made = [Axes(3, n, 1) for n in lengths] + [Axes(2, 5, n) for n in lengths]
    made += [Axes(n, 6, 1, "aoi") for n in lengths] + [Axes(2, n, 3, gap=2) for n in lengths]
    return made + [Axes(4, n, 5, "ioa") for n in (3, 17)] + [Axes(4, n, 5, "iao") for n in (3, 17)]


@pytest.mark.parametrize("fn", FNS)
@pytest.mark.parametrize("shape", axes(), ids=str)
def test_reduce(isa: str, shape: Axes, fn: str) -> None:
    places, s = shape.places(), shape.strides()
    act = [("none", 0.0, 0.0), ("clamp", -0.1, 0.4), ("sigmoid", 0.0, 0.0)][shape.axis % 3]
    x = paint(int(places.max()) + 1)
    g = {
        "outer": shape.outer,
        "reduce": shape.axis,
        "inner": shape.inner,
        "outer_s": s["o"],
        "reduce_s": s["a"],
        "inner_s": s["i"],
        "outer_so": shape.inner * (1 + shape.gap),
        "inner_so": 1 + shape.gap,
        "fn": FNS.index(fn),
    }
    size = (shape.outer * shape.inner - 1) * (1 + shape.gap) + 1
    fields = {"g": g, "e": epilogue(act[0], lo=act[1], hi=act[2])}
    got = run(Case("reduce", {"x": x}, fields, size), isa)
    values = x.astype(np.float64)[places]
    linear = {"mean": values.mean(axis=1), "sum": values.sum(axis=1), "max": values.max(axis=1)}[fn]
    scale = np.abs(values).sum(axis=1).reshape(-1) + 1
    assert_close(got[:: 1 + shape.gap], activated(linear, act).reshape(-1), scale)
    between = np.delete(got, np.arange(0, got.size, 1 + shape.gap))
    assert (between == UNTOUCHED).all(), "writes between its elements"


@pytest.mark.parametrize("shape", axes(), ids=str)
def test_softmax(isa: str, shape: Axes) -> None:
    places, s = shape.places(), shape.strides()
    x = paint(int(places.max()) + 1) * np.float32(8)
    g = {
        "outer": shape.outer,
        "axis": shape.axis,
        "inner": shape.inner,
        "outer_s": s["o"],
        "axis_s": s["a"],
        "inner_s": s["i"],
    }
    got = run(Case("softmax", {"x": x}, {"g": g}, x.size), isa)
    values = x.astype(np.float64)[places]
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    assert_close(got[places], powers / powers.sum(axis=1, keepdims=True), 1.0)
    assert (np.delete(got, places) == UNTOUCHED).all(), "writes between its elements"
