"""activations: every spelled-out form becomes one node with ONNX Runtime's numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir.passes.common as common
import pytest

from filigree.converter.passes import activations
from tests.converter.small import assert_same_numbers, inferred, model, ops

SHAPE = (2, 3, 4, 5)
CONSTANTS = {
    "three": np.float32(3),
    "zero": np.float32(0),
    "six": np.float32(6),
    "sixth": np.float32(1 / 6),
    "five": np.float32(5),
    "one6": np.full((1,), 6, np.float32),
    "deep3": np.full((1,) * 5, 3, np.float32),
    "deep6": np.full((1,) * 5, 6, np.float32),
}
ADDS = {"x-first": "a = Add(x, three)", "three-first": "a = Add(three, x)"}
CLIP = "c = Clip(a, zero, six)"
GATES = {
    "div": "g = Div(c, six)",
    "div-by-one-element": "g = Div(c, one6)",
    "mul": "g = Mul(c, sixth)",
    "mul-first": "g = Mul(sixth, c)",
}
PRODUCTS = ("y = Mul(x, {})", "y = Mul({}, x)")


def found(*nodes: str, opset: int = 17, outputs: tuple[str, ...] = ("y",)) -> list[str]:
    """Operators after the pass, whose numbers are checked."""
    text = " ".join(nodes)
    used = {n: a for n, a in CONSTANTS.items() if f"{n})" in text or f"{n}," in text}
    proto = model(*nodes, inputs={"x": SHAPE}, outputs=outputs, opset=opset, **used)
    graph = inferred(proto)
    changed = activations.apply(graph)
    common.RemoveUnusedNodesPass()(graph)
    names = [value.name for value in graph.graph.outputs]
    assert names == list(outputs)
    assert_same_numbers(proto, graph)
    after = ops(graph)
    assert changed == (after != [n.op_type for n in proto.graph.node])
    return after


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("add", ADDS)
def test_hard_sigmoid(add: str, gate: str) -> None:
    assert found(ADDS[add], CLIP, GATES[gate].replace("g =", "y =")) == ["HardSigmoid"]


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("add", ADDS)
def test_hard_swish_divided_first(add: str, gate: str, product: str) -> None:
    assert found(ADDS[add], CLIP, GATES[gate], product.format("g")) == ["HardSwish"]


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("add", ADDS)
def test_hard_swish_divided_last(add: str, gate: str, product: str) -> None:
    last = GATES[gate].replace("c", "p").replace("g =", "y =")
    assert found(ADDS[add], CLIP, product.format("c").replace("y =", "p ="), last) == ["HardSwish"]


@pytest.mark.parametrize("product", PRODUCTS)
def test_hard_swish_of_hard_sigmoid(product: str) -> None:
    gate = "g = HardSigmoid<alpha=0.16666667, beta=0.5>(x)"
    assert found(gate, product.format("g")) == ["HardSwish"]


@pytest.mark.parametrize("opset", [7, 10])
def test_clip_with_attributes(opset: int) -> None:
    clip = "c = Clip<min=0.0, max=6.0>(a)"
    nodes = (ADDS["x-first"], clip, GATES["div"], PRODUCTS[0].format("g"))
    assert found(*nodes, opset=opset) == ["HardSwish"]


@pytest.mark.parametrize("product", PRODUCTS)
def test_silu(product: str) -> None:
    assert found("g = Sigmoid(x)", product.format("g")) == ["Swish"]


def test_two_in_a_row_and_after_a_layer() -> None:
    silu = ("g = Sigmoid(x)", "v = Mul(x, g)", "h = Sigmoid(v)", "y = Mul(v, h)")
    assert found(*silu) == ["Swish", "Swish"]


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param(("g = Sigmoid(x)", "m = Mul(x, g)", "y = Add(m, g)"), id="gate-read-twice"),
        pytest.param(("r = Relu(x)", "g = Sigmoid(r)", "y = Mul(x, g)"), id="gate-of-another"),
        pytest.param(("g = Sigmoid(x)", "y = Mul(g, g)"), id="gate-squared"),
        pytest.param(("g = HardSigmoid<alpha=0.2>(x)", "y = Mul(x, g)"), id="other-slope"),
        pytest.param(("a = Add(x, five)", CLIP, "y = Div(c, six)"), id="plus-five"),
        pytest.param((ADDS["x-first"], CLIP, "y = Div(c, five)"), id="over-five"),
        pytest.param((ADDS["x-first"], CLIP, "y = Div(six, c)"), id="six-over-it"),
        pytest.param((ADDS["x-first"], "c = Clip(a, zero, five)", "y = Div(c, six)"), id="to-five"),
        pytest.param((ADDS["x-first"], CLIP, "d = Div(c, six)", "y = Add(d, a)"), id="sum-read"),
        pytest.param((ADDS["x-first"], CLIP, "y = Div(c, deep6)"), id="six-adds-an-axis"),
        pytest.param(("a = Add(x, deep3)", CLIP, "y = Div(c, six)"), id="three-adds-an-axis"),
        pytest.param(
            ("a = Add(x, three)", CLIP, "p = Mul(x, c)", "y = Div(p, deep6)"),
            id="last-adds-an-axis",
        ),
    ],
)
def test_what_stays(nodes: tuple[str, ...]) -> None:
    assert "HardSwish" not in found(*nodes) and "Swish" not in found(*nodes)
    kept = [onnx_op.split(" = ")[1].split("(")[0].split("<")[0] for onnx_op in nodes]
    assert found(*nodes) == kept


def test_what_is_an_output_stays() -> None:
    nodes = ("g = Sigmoid(x)", "y = Mul(x, g)")
    assert found(*nodes, outputs=("y", "g")) == ["Sigmoid", "Mul"]
    nodes = (ADDS["x-first"], CLIP, "y = Div(c, six)")
    assert found(*nodes, outputs=("y", "c")) == ["Add", "Clip", "Div"]
