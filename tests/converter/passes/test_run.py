"""All passes together: what holds after them."""

from __future__ import annotations

import numpy as np
import pytest

from filigree.converter import passes
from filigree.converter.lowering import supported_ops
from tests.converter.graphs import random_graph
from tests.converter.small import assert_same_numbers, graph_of, model, ops, simplified

INTERNAL = {"Swish", "HardSwish"}  # at any opset


@pytest.mark.parametrize("seed", range(40), ids=lambda s: f"seed-{s}")
def test_what_holds_after_all_passes(seed: int) -> None:
    proto = random_graph(seed).model
    outputs = [value.name for value in proto.graph.output]
    graph = simplified(proto).graph
    assert [value.name for value in graph.outputs] == outputs
    known = supported_ops().keys() | INTERNAL
    for node in graph:
        assert node.op_type in known and node.name
        given = [value for value in node.inputs if value is not None]
        assert not all(value.const_value is not None for value in given)
        for value in (*given, *node.outputs):
            assert value.shape is not None and all(
                isinstance(d, int) and d > 0 for d in value.shape
            )
    names = [v.name for n in graph for v in n.outputs] + [*graph.initializers]
    assert len(names) == len(set(names))


def test_initializers_among_the_inputs_are_constants() -> None:
    proto = model("y = Add(x, c)", inputs={"x": (2,), "c": (2,)}, c=np.ones(2, np.float32))
    assert [value.name for value in simplified(proto).graph.inputs] == ["x"]


def test_constant_nodes_are_initializers() -> None:
    proto = model("c = Constant<value_float=2.0>()", "y = Add(x, c)", inputs={"x": (2,)})
    graph = simplified(proto)
    assert ops(graph) == ["Add"]
    assert_same_numbers(proto, graph)


def test_a_whole_layer_is_one_node() -> None:
    numbers = np.random.default_rng(0)
    statistics = {n: numbers.random(4).astype(np.float32) + 0.5 for n in "gomv"}
    proto = model(
        "p = Pad(x, pads)",
        "i = Identity(p)",
        "l = Conv(i, w)",
        "n = BatchNormalization(l, g, o, m, v)",
        "s = Sigmoid(n)",
        "y = Mul(n, s)",
        inputs={"x": (1, 3, 5, 5)},
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        w=numbers.standard_normal((4, 3, 3, 3)).astype(np.float32),
        **statistics,
    )
    graph = simplified(proto)
    assert ops(graph) == ["Conv", "Swish"]
    assert_same_numbers(proto, graph)


def test_the_graph_is_changed_in_place() -> None:
    graph = graph_of(model("y = Identity(x)", inputs={"x": (2,)}))
    assert passes.run(graph) is graph
