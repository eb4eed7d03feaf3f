"""drop_identity: what goes, and that no name of an output is lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from filigree.converter.passes import drop_identity
from tests.converter.small import assert_same_numbers, inferred, model, ops


def dropped(*nodes: str, outputs: Sequence[str] = ("y",), **constants: np.ndarray) -> list[str]:
    proto = model(*nodes, inputs={"x": (2, 3)}, outputs=outputs, **constants)
    graph = inferred(proto)
    before = ops(graph)
    assert drop_identity.apply(graph) == (ops(graph) != before)
    assert [value.name for value in graph.graph.outputs] == list(outputs)
    assert_same_numbers(proto, graph)
    return ops(graph)


def test_in_the_middle() -> None:
    assert dropped("a = Relu(x)", "b = Identity(a)", "y = Neg(b)") == ["Relu", "Neg"]
    assert dropped("a = Identity(x)", "b = Identity(a)", "y = Neg(b)") == ["Neg"]
    assert dropped("a = Identity(c)", "y = Add(x, a)", c=np.ones(3, np.float32)) == ["Add"]


def test_before_an_output_whose_name_stays() -> None:
    assert dropped("a = Relu(x)", "y = Identity(a)") == ["Relu"]
    assert dropped("a = Relu(x)", "b = Identity(a)", "y = Identity(b)") == ["Relu"]


@pytest.mark.parametrize(
    ("nodes", "outputs", "left"),
    [
        (["y = Identity(x)"], ["y"], 1),
        (["a = Relu(x)", "y = Identity(a)"], ["y", "a"], 2),
        (["a = Relu(x)", "y = Identity(a)", "z = Identity(a)"], ["y", "z"], 2),
        (["a = Relu(x)", "b = Identity(a)", "y = Identity(b)"], ["a", "b", "y"], 3),
    ],
)
def test_both_names_are_needed(nodes: list[str], outputs: list[str], left: int) -> None:
    assert len(dropped(*nodes, outputs=outputs)) == left


def test_a_constant_that_is_an_output() -> None:
    assert dropped("y = Identity(c)", "z = Relu(x)", outputs=("y", "z"), c=np.ones(2, np.float32))
