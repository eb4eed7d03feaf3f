"""bind_shapes: what becomes of open dims, and every problem at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from filigree.converter.errors import UsageError
from filigree.converter.passes import bind_shapes
from tests.converter.small import graph_of, model

Shapes = Mapping[str, Sequence[int | str | None] | None]


def bound(
    inputs: Shapes, *, batch: int = 1, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, tuple[int, ...]]:
    graph = graph_of(model("y = Relu(x)", inputs=inputs))
    bind_shapes.apply(graph, batch=batch, shapes=shapes or {})
    return {v.name or "": tuple(v.shape or ()) for v in graph.graph.inputs}  # type: ignore[misc]  # all known


def problems(
    inputs: Shapes, *, batch: int = 1, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> list[str]:
    with pytest.raises(UsageError, match="not settled") as raised:
        bound(inputs, batch=batch, shapes=shapes)
    return raised.value.lines


def test_a_static_shape_stays() -> None:
    assert bound({"x": (1, 3, 8, 8)}, batch=4) == {"x": (1, 3, 8, 8)}


def test_a_given_shape_fills_what_is_open() -> None:
    assert bound({"x": ("n", 3, None, 8)}, shapes={"x": (2, 3, 5, 8)}) == {"x": (2, 3, 5, 8)}
    assert bound({"x": None}, shapes={"x": (2, 3)}) == {"x": (2, 3)}


@pytest.mark.parametrize(
    ("given", "text"),
    [((2, 3), "has 4 dims, the shape given 2"), ((1, 4, 8, 8), "the shape given [1, 4, 8, 8]")],
)
def test_a_given_shape_must_fit(given: tuple[int, ...], text: str) -> None:
    (line,) = problems({"x": ("n", 3, "h", "w")}, shapes={"x": given})
    assert text in line


@pytest.mark.parametrize("given", [(0, 3), (-1, 3), (1, 2**40)])
def test_a_given_shape_must_be_positive_and_within_the_caps(given: tuple[int, ...]) -> None:
    (line,) = problems({"x": ("n", None)}, shapes={"x": given})
    assert str(list(given)) in line


@pytest.mark.parametrize("batch", [0, -3])
def test_the_batch_must_be_positive(batch: int) -> None:
    (line,) = problems({"x": ("n", 3)}, batch=batch)
    assert str(batch) in line


def test_a_symbol_is_bound_in_every_input() -> None:
    inputs = {"x": ("n", "h"), "z": (3, "h"), "u": ("h", "n")}
    found = bound(inputs, shapes={"x": (2, 7)})
    assert found == {"x": (2, 7), "z": (3, 7), "u": (7, 2)}


def test_the_batch_is_bound_in_every_input_too() -> None:
    assert bound({"x": ("n", 3), "z": (3, "n")}, batch=2) == {"x": (2, 3), "z": (3, 2)}
    assert bound({"z": (3, "n"), "x": ("n", 3)}, batch=2) == {"z": (3, 2), "x": (2, 3)}


def test_two_values_for_one_symbol() -> None:
    (line,) = problems({"x": ("n", "h"), "z": ("h", 2)}, shapes={"x": (1, 7), "z": (8, 2)})
    assert line == '"h" of input "z" is 7 and 8'


def test_an_open_first_axis_is_the_batch() -> None:
    assert bound({"x": ("n", 3), "z": (None, 4)}, batch=5) == {"x": (5, 3), "z": (5, 4)}


def test_what_is_still_open_is_refused_all_at_once() -> None:
    found = problems(
        {"x": ("n", 3, "h", None), "z": None, "u": (1, 2)}, shapes={"v": (1,), "u": (1, 2, 3)}
    )
    assert found == sorted(found)
    text = "\n".join(found)
    for part in (
        'axis 2 ("h") is open',
        'axis 3 ("?") is open',
        '"z" has no shape',
        'no input "v"',
    ):
        assert part in text
    assert '"u" has 2 dims, the shape given 3' in text


def test_recorded_shapes_are_forgotten() -> None:
    proto = model("v = Relu(x)", "y = Relu(v)", inputs={"x": ("n", 3)})
    graph = graph_of(proto)
    value = graph.graph[0].outputs[0]
    value.shape = graph.graph.inputs[0].shape
    bind_shapes.apply(graph, batch=1, shapes={})
    assert value.shape is None
