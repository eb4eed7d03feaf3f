"""supported: every operator that there is no way to run, at once."""

from __future__ import annotations

import pytest

from filigree.converter.errors import UnsupportedModel
from filigree.converter.passes import supported
from tests.converter.small import graph_of, model


def test_nothing_to_refuse() -> None:
    assert not supported.apply(graph_of(model("y = Relu(x)", inputs={"x": (1,)})))


def test_every_operator_with_its_uses_and_where_to_cut() -> None:
    nodes = [
        "a = Relu(x)",
        "[one] b = Erf(a)",
        "[two] d = Erf(b)",
        "[odd] e = com.example.Relu(d)",
        "y = Relu(e)",
    ]
    with pytest.raises(UnsupportedModel) as raised:
        supported.apply(graph_of(model(*nodes, inputs={"x": (1,)})))
    assert [(p.op, p.node, p.before) for p in raised.value.problems] == [
        ("Erf", "one", "a"),
        ("Erf", "two", "b"),
        ("com.example.Relu", "odd", "d"),
    ]
    assert str(raised.value) == (
        "2 operators in the model are not supported\n"
        '  Erf               2 uses, first at node "one": no such operator here\n'
        '  com.example.Relu  1 use at node "odd": no such operator here\n'
        "  next: filigree inspect the model --ops   or cut before: --output a"
    )


def test_the_long_name_of_onnx_is_onnx() -> None:
    proto = model("y = Relu(x)", inputs={"x": (1,)})
    proto.graph.node[0].domain = "ai.onnx"
    assert not supported.apply(graph_of(proto))
