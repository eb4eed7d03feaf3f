"""map against float64: every function, broadcast, transposition and activation, exact extents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from filigree.native import enums as c
from tests.kernels.harness import (
    ACTS,
    F32,
    F64,
    UNTOUCHED,
    Case,
    act_name,
    activated,
    assert_close,
    epilogue,
    paint,
    run,
)

FNS = ("copy", "add", "sub", "mul", "div", "min", "max", "prelu")


@dataclass(frozen=True)
class Walk:
    """Dimensions, and the strides of a, b and out over them."""

    dim: tuple[int, int, int, int]
    sa: tuple[int, int, int, int]
    sb: tuple[int, int, int, int]
    so: tuple[int, int, int, int]

    def __str__(self) -> str:
        return "-".join(".".join(map(str, x)) for x in (self.dim, self.sa, self.sb, self.so))


def row_major(*dim: int) -> tuple[int, int, int, int]:
    a, b, d = dim[1] * dim[2] * dim[3], dim[2] * dim[3], dim[3]
    return a, b, d, 1


def walks() -> list[Walk]:
    none = (0, 0, 0, 0)
    made = []
    for n in (1, 3, 4, 5, 8, 15, 16, 17, 33, 1023, 1025, 2100):
        made.append(Walk((1, 1, 1, n), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 1)))
        made.append(Walk((1, 1, 1, n), (0, 0, 0, 1), none, (0, 0, 0, 1)))
        made.append(Walk((1, 1, 1, n), none, (0, 0, 0, 1), (0, 0, 0, 1)))
        made.append(Walk((1, 1, 1, n), (0, 0, 0, 2), (0, 0, 0, 3), (0, 0, 0, 1)))
        made.append(Walk((1, 1, 1, n), (0, 0, 0, 1), none, (0, 0, 0, 2)))
    for dim in ((1, 3, 5, 7), (2, 3, 4, 17), (2, 1, 19, 3), (5, 4, 3, 2)):
        full = row_major(*dim)
        made.append(Walk(dim, full, full, full))
        made.append(Walk(dim, full, (0, 1, 0, 0), full))
        made.append(Walk(dim, full, (0, 0, 0, 1), full))
        made.append(Walk(dim, (full[0], full[1] + 40, full[2], 1), (0, 1, 0, 0), full))
        turned = (full[0], 1, dim[3] * dim[1], dim[1])  # channels last
        made.append(Walk(dim, full, none, turned))
        made.append(Walk(dim, turned, none, full))
    return made


def span(dim: tuple[int, ...], stride: tuple[int, ...]) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(dim, stride, strict=True))


def at(walk: Walk, stride: tuple[int, ...]) -> np.ndarray:
    grids = np.indices(walk.dim).reshape(4, -1)
    return np.asarray((grids * np.array(stride)[:, None]).sum(axis=0))


def combined(fn: str, a: F64, b: F64) -> F64:
    with np.errstate(all="ignore"):
        table = {
            "copy": a,
            "add": a + b,
            "sub": a - b,
            "mul": a * b,
            "div": a / b,
            "min": np.minimum(a, b),
            "max": np.maximum(a, b),
            "prelu": np.where(a < 0, a * b, a),
        }
    return table[fn]


def fields(walk: Walk, fn: str, act: tuple[str, float, float]) -> dict[str, object]:
    geometry = {"dim": walk.dim, "sa": walk.sa, "sb": walk.sb, "so": walk.so}
    number = getattr(c, f"FIL_MAP_{fn.upper()}")
    return {"g": geometry, "fn": number, "e": epilogue(act[0], lo=act[1], hi=act[2])}


@pytest.mark.parametrize("fn", FNS)
@pytest.mark.parametrize("walk", walks(), ids=str)
def test_map(isa: str, walk: Walk, fn: str) -> None:
    a, b = paint(span(walk.dim, walk.sa)), paint(span(walk.dim, walk.sb), seed=2)
    act = ACTS[(sum(walk.dim) + FNS.index(fn)) % len(ACTS)]
    arrays = {"a": a} if fn == "copy" else {"a": a, "b": b}
    strides = walk if fn != "copy" else Walk(walk.dim, walk.sa, (0, 0, 0, 0), walk.so)
    got = run(Case("map", arrays, fields(strides, fn, act), span(walk.dim, walk.so)), isa)
    x, y = a.astype(np.float64)[at(walk, walk.sa)], b.astype(np.float64)[at(walk, walk.sb)]
    linear = combined(fn, x, y)
    places = at(walk, walk.so)
    assert_close(got[places], activated(linear, act), np.abs(linear) + 1)
    assert (np.delete(got, places) == UNTOUCHED).all(), "writes between its elements"


@pytest.mark.parametrize("walk", [w for w in walks() if w.sa == w.sb], ids=str)
def test_fill(isa: str, walk: Walk) -> None:
    none = (0, 0, 0, 0)
    filled = Walk(walk.dim, none, none, walk.so)
    given = fields(filled, "fill", ("none", 2.5, 0))
    got = run(Case("map", {}, given, span(walk.dim, walk.so)), isa)
    assert (got[at(walk, walk.so)] == np.float32(2.5)).all()


def values_for(act: str) -> F32:
    return paint(251) * np.float32(20) if act != "sqrt" else np.abs(paint(251)) * np.float32(20)


@pytest.mark.parametrize("act", [*ACTS, ("exp", 0, 0), ("sqrt", 0, 0)], ids=act_name)
def test_activation(isa: str, act: tuple[str, float, float]) -> None:
    x = values_for(act[0])
    walk = Walk((1, 1, 1, x.size), (0, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 1))
    got = run(Case("map", {"a": x}, fields(walk, "copy", act), x.size), isa)
    want = activated(x.astype(np.float64), act)
    assert_close(got, want, np.abs(want) + (act[0].startswith("hard")))


@pytest.mark.parametrize("act", ["clamp", "sigmoid", "tanh", "silu", "exp", "sqrt", "abs", "neg"])
def test_nan_stays(isa: str, act: str) -> None:
    x = np.full(37, np.nan, np.float32)
    walk = Walk((1, 1, 1, 37), (0, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 1))
    got = run(Case("map", {"a": x}, fields(walk, "copy", (act, -1.0, 1.0)), 37), isa)
    assert np.isnan(got).all()
