"""What the TFLite front end makes of names, layouts and operators that it cannot write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from filigree.converter import ConvertOptions, convert
from filigree.converter.frontends import as_onnx, is_tflite, load, onnx
from filigree.native import enums as c
from tests.converter.tflite.nets import RELU, VALID, Net
from tests.converter.tflite.test_operators import CLOSE, in_litert, inputs_of, program_outputs
from tests.models.flat import Scales


def saved(net: Net, folder: Path, *outputs: int) -> Path:
    net.file.outputs = list(outputs)
    path = folder / "net.tflite"
    path.write_bytes(net.file.finish())
    return path


def ops_of(path: Path) -> list[str]:
    return [node.op_type for node in load(path).graph]


def network(folder: Path) -> Path:
    """Two convolutions, a residual sum, a mean over the image, a classifier."""
    net = Net("network")
    x = net.conv(net.input(1, 8, 8, 3), 4, (8, 8), act=RELU)
    y = net.conv(x, 4, (8, 8), act=RELU)
    y = net.op("ADD", [y, x], (1, 8, 8, 4), "AddOptions")
    y = net.op("MEAN", [y, net.ints([1, 2])], (1, 4), "ReducerOptions")
    return saved(net, folder, net.dense(y, 3, (1, 3), cols=4))


def test_transposes_stand_at_the_ends_alone(tmp_path: Path) -> None:
    assert ops_of(network(tmp_path)) == [
        *("Transpose", "Conv", "Relu", "Conv", "Relu", "Add", "ReduceMean", "Gemm")
    ]


def test_images_are_read_in_place(tmp_path: Path) -> None:
    """Channels last, by the first operation: nothing is copied."""
    program = convert(network(tmp_path)).program
    assert program.inputs[0].shape == (1, 8, 8, 3)
    first = program.ops[0]
    assert first.kind in (c.FIL_OP_CONV, c.FIL_OP_PIXELS) and first.inputs[0] == "x0"
    assert not any(op.kind == c.FIL_OP_MAP and op.fn == c.FIL_MAP_COPY for op in program.ops)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_the_caller_may_choose_the_layout(layout: str, tmp_path: Path) -> None:
    program = convert(network(tmp_path), options=ConvertOptions(input_layout=layout)).program
    assert program.inputs[0].shape == ((1, 8, 8, 3) if layout == "NHWC" else (1, 3, 8, 8))


def test_names_are_those_of_the_tensors(tmp_path: Path) -> None:
    """Where TFLite has folded layers, the first one names the node, all of them the value."""
    net = Net("names")
    x = net.input(1, 4, 4, 2)
    y = net.conv(x, 3, (4, 4), act=RELU)
    net.file.tensors[y].name = "block/Relu;block/BiasAdd;block/Conv2D"
    z = net.conv(y, 3, (4, 4))
    net.file.tensors[z].name = "block/Relu;block/BiasAdd;block/Conv2D1"
    graph = load(saved(net, tmp_path, z)).graph
    assert [node.name for node in graph] == [
        *("x0.nchw", "block/Relu", "block/Relu.relu", "block/Relu.1", "block/Relu.transpose")
    ]
    assert graph.outputs[0].name == "block/Relu;block/BiasAdd;block/Conv2D1"


def test_names_that_are_empty_or_given_twice(tmp_path: Path) -> None:
    net = Net("twice")
    x = net.input(1, 3)
    y = net.op("RELU", [x], (1, 3))
    z = net.op("TANH", [y], (1, 3))
    for index, name in ((x, "same"), (y, "same"), (z, "")):
        net.file.tensors[index].name = name
    graph = load(saved(net, tmp_path, z)).graph
    assert [value.name for node in graph for value in node.outputs] == ["same.1", "tensor.2"]


def test_a_quantised_model_stays_one(tmp_path: Path) -> None:
    net = Net("eight bits")
    x = net.input(1, 3)
    y = net.op("RELU", [x], (1, 3))
    for index in (x, y):
        net.file.tensors[index].kind, net.file.tensors[index].scales = 9, Scales([0.1], [3])
    path = saved(net, tmp_path, y)
    assert ops_of(path) == ["DequantizeLinear", "Relu", "QuantizeLinear"]
    program = convert(path).program
    assert {tensor.dtype for tensor in program.tensors.values()} == {"int8"}


def test_a_quantised_image_is_turned_as_integers(tmp_path: Path) -> None:
    net = Net("image of eight bits")
    x = net.input(1, 4, 4, 2)
    y = net.op("RELU", [x], (1, 4, 4, 2))
    for index in (x, y):
        net.file.tensors[index].kind, net.file.tensors[index].scales = 3, Scales([0.1], [128])
    assert ops_of(saved(net, tmp_path, y)) == [
        *("Transpose", "DequantizeLinear", "Relu", "QuantizeLinear", "Transpose")
    ]


def test_inputs_and_constants_that_are_outputs(tmp_path: Path) -> None:
    net = Net("passed on")
    x, rows = net.input(1, 2, 2, 3), net.input(2, 3)
    constant = net.floats(1, 2, 1, 3)
    y = net.op("RELU", [x], (1, 2, 2, 3))
    path = saved(net, tmp_path, y, x, rows, constant)
    from filigree.native.model import Model

    given = [np.full((1, 2, 2, 3), -2, np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)]
    found = Model.from_bytes(convert(path).data).run(*given)
    stored = np.frombuffer(net.file.buffers[-1], np.float32).reshape(1, 2, 1, 3)
    for got, want in zip(found, (0 * given[0], *given, stored), strict=True):
        np.testing.assert_array_equal(got, want)


def test_one_layer_has_its_weights_once(tmp_path: Path) -> None:
    """Two convolutions that share their weights do so in ONNX."""
    net = Net("shared")
    x = net.conv(net.input(1, 5, 5, 4), 4, (5, 5))
    first = net.file.operators[-1]
    y = net.op("CONV_2D", [x, *first.inputs[1:]], (1, 3, 3, 4), *(first.options or ("",))[:1])
    _, fields = net.file.operators[-1].options or ("", {})
    fields.update(Padding=VALID, StrideH=1, StrideW=1)
    assert len(load(saved(net, tmp_path, y)).graph.initializers) == 2


def test_a_shape_that_is_computed(tmp_path: Path) -> None:
    """Flattening with an open batch: the shape on file is what counts, the rest goes."""
    net = Net("open batch")
    x = net.conv(net.input(1, 3, 3, 2), 3, (3, 3))
    shape = net.op("SHAPE", [x], (4,), "ShapeOptions", OutType=2)
    ends = [net.ints([n]) for n in (0, 1, 1)]
    options = {"ShrinkAxisMask": 1}
    batch = net.op("STRIDED_SLICE", [shape, *ends], (), "StridedSliceOptions", **options)
    packed = net.op("PACK", [batch, net.ints(27)], (2,), "PackOptions", ValuesCount=2)
    for index in (shape, batch, packed):
        net.file.tensors[index].kind = 2
    y = net.op("RESHAPE", [x, packed], (1, 27), "ReshapeOptions")
    path = saved(net, tmp_path, net.dense(y, 4, (1, 4), cols=27))
    assert ops_of(path) == ["Transpose", "Conv", "Transpose", "Reshape", "Gemm"]
    inputs = inputs_of(load(path))
    (got,) = program_outputs(path, inputs)
    (want,) = in_litert(path.read_bytes(), inputs)
    np.testing.assert_allclose(got, want, atol=CLOSE, rtol=CLOSE)


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    path = network(tmp_path)
    other = tmp_path / "model.onnx"
    other.write_bytes(as_onnx(path).SerializeToString())
    assert is_tflite(path) and not is_tflite(other)
    assert len(onnx.load(other).graph) == len(load(path).graph) == 8
    assert onnx.source_of(load(path)) == "net.tflite"
