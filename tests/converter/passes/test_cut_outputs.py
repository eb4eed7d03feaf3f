"""cut_outputs: by a value's name or a node's."""

from __future__ import annotations

import pytest

from filigree.converter.errors import UsageError
from filigree.converter.passes import cut_outputs
from tests.converter.small import assert_same_numbers, graph_of, model, ops, simplified

NODES = ("[first] v = Relu(x)", "[v2] a, b = Split<axis=1>(v)", "[last] y = Add(a, b)")


def cut(*names: str) -> list[str]:
    graph = graph_of(model(*NODES, inputs={"x": (1, 4)}))
    assert cut_outputs.apply(graph, names)
    return [value.name or "" for value in graph.graph.outputs]


def test_nothing_to_cut() -> None:
    graph = graph_of(model(*NODES, inputs={"x": (1, 4)}))
    assert not cut_outputs.apply(graph, ())
    assert [value.name for value in graph.graph.outputs] == ["y"]


def test_a_values_name_then_a_nodes() -> None:
    assert cut("v") == ["v"]
    assert cut("b", "a") == ["b", "a"]
    assert cut("first") == ["v"]
    assert cut("v2") == ["a"]
    assert cut("last") == ["y"]


def test_a_value_goes_before_a_node_of_its_name() -> None:
    graph = graph_of(model("[a] v = Relu(x)", "[b] a = Neg(v)", inputs={"x": (1,)}, outputs=("a",)))
    cut_outputs.apply(graph, ["a"])
    assert [value.name for value in graph.graph.outputs] == ["a"]


def test_one_value_twice_is_one_output() -> None:
    assert cut("v", "v") == ["v"]
    assert cut("v", "first") == ["v"]


def test_unknown_names_all_at_once() -> None:
    with pytest.raises(UsageError, match="no value or node") as raised:
        cut("nope", "v", "neither", "")
    assert raised.value.lines == ["nope", "neither", ""]


def test_a_node_without_outputs_has_no_value() -> None:
    proto = model(*NODES, inputs={"x": (1, 4)})
    proto.graph.node.add(op_type="Relu", name="empty")
    with pytest.raises(UsageError):
        cut_outputs.apply(graph_of(proto), ["empty"])


def test_what_comes_after_the_cut_is_gone_supported_or_not() -> None:
    proto = model(
        "[head] v = Relu(x)", '[odd] y = Einsum<equation="ij->ji">(v)', inputs={"x": (1, 4)}
    )
    graph = simplified(proto, outputs=["v"])
    assert ops(graph) == ["Relu"]
    proto.graph.node.pop()
    proto.graph.output[0].name = "v"
    assert_same_numbers(proto, graph)
