"""fold_constants: what is computed beforehand; a small file cannot unpack to a large one."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from filigree.converter import convert
from filigree.converter.errors import FiligreeError
from filigree.converter.passes import fold_constants
from tests.converter.small import assert_same_numbers, graph_of, model, ops, simplified

SIDE = np.array([2**14, 2**13], np.int64)  # 2^27 elements
MOST_SECONDS = 2.0
MOST_BYTES = 1 << 28


def test_nothing_to_fold_loads_nothing() -> None:
    graph = graph_of(model("y = Relu(x)", inputs={"x": (2,)}))
    assert not fold_constants.apply(graph)


def test_shapes_are_followed() -> None:
    proto = model(
        "s = Shape(x)",
        "n = Gather(s, zero)",
        "u = Unsqueeze(n, axes)",
        "t = Concat<axis=0>(u, rest)",
        "y = Reshape(x, t)",
        inputs={"x": (2, 3, 4)},
        zero=np.int64(0),
        axes=np.array([0]),
        rest=np.array([-1]),
    )
    graph = simplified(proto)
    assert ops(graph) == ["Reshape"]
    assert_same_numbers(proto, graph)


def test_arithmetic_of_constants() -> None:
    proto = model(
        "a = Mul(c, c)",
        "b = Transpose(a)",
        "y = MatMul(x, b)",
        inputs={"x": (2, 3)},
        c=np.arange(6, dtype=np.float32).reshape(2, 3),
    )
    graph = simplified(proto)
    assert ops(graph) == ["MatMul"]
    assert_same_numbers(proto, graph)


def test_random_numbers_are_not_folded() -> None:
    proto = model("r = RandomNormal<shape=[2]>()", "y = Add(x, r)", inputs={"x": (2,)})
    graph = graph_of(proto)
    fold_constants.apply(graph)
    assert "RandomNormal" in ops(graph)


def test_nodes_that_folding_made_have_names() -> None:
    proto = model("s = Shape(x)", "c = Cast<to=1>(s)", "y = Add(x, c)", inputs={"x": (2,)})
    graph = graph_of(proto)
    fold_constants.apply(graph)
    assert all(node.name for node in graph.graph)


def test_a_constant_part_that_cannot_be_computed() -> None:
    proto = model(
        "a = Gather(c, i)",
        "y = Add(x, a)",
        inputs={"x": (2,)},
        c=np.ones(3, np.float32),
        i=np.array([7, 8]),
    )
    with pytest.raises(FiligreeError, match="Gather"):
        simplified(proto)


def expanded() -> onnx.ModelProto:
    return model("v = Expand(c, s)", "y = Add(x, v)", inputs={"x": (1,)}, c=np.float32(1), s=SIDE)


def tiled() -> onnx.ModelProto:
    c = np.ones((1, 1), np.float32)
    return model("v = Tile(c, s)", "y = Add(x, v)", inputs={"x": (1,)}, c=c, s=SIDE)


def filled() -> onnx.ModelProto:
    return model("v = ConstantOfShape(s)", "y = Add(x, v)", inputs={"x": (1,)}, s=SIDE)


def ranged() -> onnx.ModelProto:
    ends = {"a": np.int64(0), "b": np.int64(2**40), "d": np.int64(1)}
    nodes = ("r = Range(a, b, d)", "f = Cast<to=1>(r)", "y = Add(x, f)")
    return model(*nodes, inputs={"x": (1,)}, **ends)


def chained() -> onnx.ModelProto:
    """Each within the bound, all together far over it."""
    half = np.array([2**13, 2**13], np.int64)
    many = 60
    nodes = [f"v{i} = Expand(c{i}, s)" for i in range(many)]
    nodes += [f"m{i} = ReduceMax(v{i})" for i in range(many)]
    constants = {f"c{i}": np.float32(i) for i in range(many)}
    total = f"y = Sum(x, {', '.join(f'm{i}' for i in range(many))})"
    return model(*nodes, total, inputs={"x": (1, 1)}, s=half, **constants)


@pytest.mark.parametrize("build", [expanded, tiled, filled, ranged, chained])
def test_a_small_file_stays_small(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # a builder
    """Refused, or converted without being unpacked; quickly, and in little memory either way."""
    simplified(model("s = Shape(x)", "y = Reshape(x, s)", inputs={"x": (2,)}))  # loads onnxscript
    path = tmp_path / "bomb.onnx"
    onnx.save(build(), path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with contextlib.suppress(FiligreeError):
        convert(path)
    assert time.process_time() - start < MOST_SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MOST_BYTES
