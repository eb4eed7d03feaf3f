"""fold_pad: zero padding moves into the convolutions that read it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from filigree.converter.passes import fold_pad
from tests.converter.small import assert_same_numbers, inferred, model, ops

NUMBERS = np.random.default_rng(0)
W = NUMBERS.standard_normal((2, 3, 3, 3)).astype(np.float32)
PADS = np.array([0, 0, 1, 0, 0, 0, 2, 1], np.int64)
IMAGE = (1, 3, 5, 6)


def folded(*nodes: str, opset: int = 17, **constants: Any) -> list[str]:
    """Operators after the pass, whose numbers are checked."""
    text = " ".join(nodes)
    given = {"w": W, "p": PADS, "zero": np.float32(0), "one": np.float32(1), **constants}
    used = {n: a for n, a in given.items() if f"{n})" in text or f"{n}," in text}
    proto = model(*nodes, inputs={"x": IMAGE}, opset=opset, **used)
    graph = inferred(proto)
    before = ops(graph)
    assert fold_pad.apply(graph) == (ops(graph) != before)
    assert_same_numbers(proto, graph)
    return ops(graph)


@pytest.mark.parametrize(
    "conv",
    [
        "y = Conv(v, w)",
        "y = Conv<pads=[1, 0, 0, 2]>(v, w)",
        'y = Conv<auto_pad="VALID">(v, w)',
        'y = Conv<auto_pad="NOTSET", strides=[2, 1]>(v, w)',
    ],
)
@pytest.mark.parametrize("pad", ["v = Pad(x, p)", "v = Pad(x, p, zero)"])
def test_into_a_convolution(pad: str, conv: str) -> None:
    assert folded(pad, conv) == ["Conv"]


def test_attributes_of_old_opsets() -> None:
    assert folded("v = Pad<pads=[0,0,1,0,0,0,2,1]>(x)", "y = Conv(v, w)", opset=9) == ["Conv"]
    kept = folded("v = Pad<pads=[0,0,1,0,0,0,2,1], value=1.0>(x)", "y = Conv(v, w)", opset=9)
    assert kept == ["Pad", "Conv"]


def test_into_all_readers_or_none() -> None:
    convs = ("a = Conv(v, w)", "b = Conv(v, w)", "y = Add(a, b)")
    assert folded("v = Pad(x, p)", *convs) == ["Conv", "Conv", "Add"]
    convs = ("a = Conv(v, w)", "b = MaxPool<kernel_shape=[3, 3]>(v)", "y = Concat<axis=1>(a, b)")
    assert folded("v = Pad(x, p)", *convs) == ["Pad", "Conv", "MaxPool", "Concat"]


def test_two_pads_in_a_row() -> None:
    assert folded("u = Pad(x, p)", "v = Pad(u, p)", "y = Conv(v, w)")[-1] == "Conv"


@pytest.mark.parametrize(
    ("pads", "node"),
    [
        pytest.param(PADS, "v = Pad(x, p, one)", id="value"),
        pytest.param(PADS, 'v = Pad<mode="edge">(x, p)', id="mode"),
        pytest.param([0, 0, -1, 0, 0, 0, 2, 1], "v = Pad(x, p)", id="negative"),
        pytest.param([0, 0, 1, 1, 1, 0, 0, 0], "v = Pad(x, p)", id="batch"),
        pytest.param([0, 1, 1, 1, 0, 1, 0, 0], "v = Pad(x, p)", id="channels"),
    ],
)
def test_what_stays(pads: list[int], node: str) -> None:
    w = np.ones((2, 3 + pads[1] + pads[5], 3, 3), np.float32)
    constants = {"p": np.array(pads, np.int64), "w": w}
    constants |= {"one": np.float32(1)} if "one" in node else {}
    proto = model(node, "y = Conv(v, w)", inputs={"x": IMAGE}, **constants)
    graph = inferred(proto)
    assert not fold_pad.apply(graph)
    assert ops(graph) == ["Pad", "Conv"]


def test_same_padding_stays() -> None:
    conv = 'y = Conv<auto_pad="SAME_UPPER", strides=[2, 2]>(v, w)'
    assert folded("v = Pad(x, p)", conv) == ["Pad", "Conv"]


def test_axes_as_an_input_stay() -> None:
    pads, axes = np.array([1, 0, 2, 1], np.int64), np.array([2, 3], np.int64)
    nodes = ("v = Pad(x, q, zero, axes)", "y = Conv(v, w)")
    assert folded(*nodes, opset=18, q=pads, axes=axes) == ["Pad", "Conv"]


def test_an_output_stays() -> None:
    proto = model(
        "v = Pad(x, p)", "y = Conv(v, w)", inputs={"x": IMAGE}, outputs=("y", "v"), w=W, p=PADS
    )
    graph = inferred(proto)
    assert not fold_pad.apply(graph)
    assert_same_numbers(proto, graph)
