"""infer_shapes: every value gets a type and a shape, or its node is refused."""

from __future__ import annotations

import numpy as np
import pytest

from filigree.converter.errors import BadFile
from filigree.converter.passes import bind_shapes, infer_shapes
from filigree.native import enums as c
from tests.converter.small import (
    assert_same_numbers,
    graph_of,
    inferred,
    model,
    onnx_runtime,
    random_inputs,
)


def problems(
    *nodes: str, shape: tuple[int, ...] = (1, 3, 8, 8), **constants: np.ndarray
) -> list[str]:
    with pytest.raises(BadFile, match="contradicts itself") as raised:
        inferred(model(*nodes, inputs={"x": shape}, **constants))
    return raised.value.lines


def test_every_value_has_a_shape() -> None:
    proto = model("a = Flatten(x)", "y = Relu(a)", inputs={"x": (2, 3, 4)})
    graph = inferred(proto)
    assert [tuple(n.outputs[0].shape or ()) for n in graph.graph] == [(2, 12), (2, 12)]


def test_a_node_that_contradicts_its_operator() -> None:
    (line,) = problems("[bad] y = Add(x, c)", c=np.ones(5, np.float32))
    assert line.startswith('node "bad" (Add): ')


def test_every_contradiction_but_not_what_follows() -> None:
    lines = problems(
        "[one] a = Add(x, c)",
        "[after] b = Relu(a)",
        "[two] d = MatMul(x, c)",
        "[fine] e = Relu(x)",
        "[both] y = Sum(b, d, e)",
        c=np.ones(5, np.float32),
    )
    assert [line.split('"')[1] for line in lines] == ["one", "two"]


def test_a_shape_that_depends_on_data() -> None:
    (line,) = problems("[some] y = NonZero(x)")
    assert "depends on data" in line


def test_an_empty_value() -> None:
    none = np.array([0], np.int64)
    (line,) = problems("[cut] y = Slice(x, none, none)", none=none)
    assert f"each must be 1 to {c.FIL_MAX_DIM}" in line


@pytest.mark.parametrize(("shape", "text"), [((2**21,), "each must be"), ((2**15, 2**15), "over")])
def test_a_value_over_the_caps(shape: tuple[int, ...], text: str) -> None:
    (line,) = problems("[wide] y = Expand(x, s)", shape=(1,), s=np.array(shape, np.int64))
    assert text in line and "wide" in line


def test_a_shape_declared_in_the_file_does_not_count() -> None:
    proto = model("v = Relu(x)", "y = Relu(v)", inputs={"x": ("n", 3)})
    wrong = proto.graph.value_info.add(name="v")
    wrong.CopyFrom(proto.graph.input[0])
    wrong.name = "v"
    wrong.type.tensor_type.shape.dim[1].dim_value = 77
    graph = graph_of(proto)
    bind_shapes.apply(graph, batch=2, shapes={})
    infer_shapes.apply(graph)
    assert tuple(graph.graph.outputs[0].shape or ()) == (2, 3)


@pytest.mark.parametrize("opset", [11, 17, 22])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad"), [(16, 1, 2, 0), (7, 2, 2, 1), (7, 2, 2, 0), (5, 3, 4, 1)]
)
def test_ceil_mode_has_the_windows_that_runtimes_have(
    op: str, opset: int, size: int, kernel: int, stride: int, pad: int
) -> None:
    window = f"ceil_mode=1, kernel_shape=[{kernel}], strides=[{stride}], pads=[{pad}, {pad}]"
    proto = model(f"y = {op}<{window}>(x)", inputs={"x": (1, 2, size)}, opset=opset)
    (want,) = onnx_runtime(proto, random_inputs(proto))
    graph = inferred(proto)
    assert tuple(graph.graph.outputs[0].shape or ()) == want.shape
    assert_same_numbers(proto, graph)
