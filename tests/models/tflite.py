"""Write a network as .tflite, with TensorFlow Lite's own sparse tensors if asked.

A sparse tensor holds the nonzeros of a 1x1 filter by rows (CSR); DENSIFY turns it into the filter.
XNNPACK runs sparse convolutions on planes where there are such filters, more than two thirds of
their weights are zero, and every layer from the 3x3 stride-2 stem to the mean can run on planes:
those of stride 2 cannot where they are padded SAME, so they get a PAD of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tests.models.network import F32, Layer, Network

SPARSE_FROM = 2 / 3  # share of zeros
OPS = schema.BuiltinOperator
ACTIVATIONS = {
    "": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}


def write(network: Network, target: Path, *, sparse: bool = False) -> None:
    """``sparse``: 1x1 convolutions with at least SPARSE_FROM zeros get sparse tensors."""
    writer = _Writer(network, sparse=sparse)
    for layer in network.layers:
        writer.add(layer)
    target.write_bytes(writer.finish(network.layers[-1].output))


class _Writer:
    """Buffers, tensors and operators of the one subgraph, in order."""

    def __init__(self, network: Network, *, sparse: bool) -> None:
        self._sparse, self._shapes = sparse, network.shapes
        self._buffers = [schema.BufferT()]  # number 0 is empty by convention
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: list[int] = []
        self._index = {network.input: self._value(network.input, network.shape)}
        self._inputs = list(self._index.values())

    def add(self, layer: Layer) -> None:
        make = {
            "conv": self._conv,
            "depthwise": self._conv,
            "dense": self._dense,
            "mean": self._mean,
            "add": self._add,
            "softmax": self._softmax,
        }[layer.kind]
        inputs = [self._index[name] for name in layer.inputs]
        self._index[layer.output] = self._value(layer.output, layer.shape)
        make(layer, inputs)

    def finish(self, output: str) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = self._inputs, [self._index[output]]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self._buffers
        model.operatorCodes = [_code(op) for op in self._codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _conv(self, layer: Layer, inputs: list[int]) -> None:
        depthwise = layer.kind == "depthwise"
        padding = layer.padding(self._shapes[layer.inputs[0]][1:3])
        x = inputs[0]
        if padding == "EXPLICIT":
            x, padding = self._pad(layer, x), "VALID"
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        options.padding = PADDING[padding]
        options.strideH = options.strideW = layer.stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = ACTIVATIONS[layer.activation]
        if depthwise:
            options.depthMultiplier = 1
        axes = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        weights = self._filter(layer, np.ascontiguousarray(layer.weights.transpose(axes)))
        bias = self._constant(f"{layer.output}/bias", layer.bias)
        op = OPS.DEPTHWISE_CONV_2D if depthwise else OPS.CONV_2D
        self._operator(op, [x, weights, bias], layer.output, options)

    def _pad(self, layer: Layer, x: int) -> int:
        name, (n, h, w, c) = f"{layer.output}/padded", self._shapes[layer.inputs[0]]
        top, left, bottom, right = layer.pads
        pairs = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        shape = (n, h + top + bottom, w + left + right, c)
        self._index[name] = self._value(name, shape)
        amounts = self._constant(f"{name}/amounts", pairs)
        self._operator(OPS.PAD, [x, amounts], name, schema.PadOptionsT())
        return self._index[name]

    def _filter(self, layer: Layer, weights: F32) -> int:
        name = f"{layer.output}/weights"
        point = layer.kind == "conv" and weights.shape[1:3] == (1, 1)
        if not (self._sparse and point and np.mean(weights == 0) >= SPARSE_FROM):
            return self._constant(name, weights)
        stored = self._constant(f"{name}/sparse", weights[weights != 0], shape=weights.shape)
        self._tensors[stored].sparsity = _csr(weights)
        self._index[name] = self._value(name, weights.shape)
        self._operator(OPS.DENSIFY, [stored], name, schema.DensifyOptionsT())
        return self._index[name]

    def _dense(self, layer: Layer, inputs: list[int]) -> None:
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[layer.activation]
        weights = self._constant(f"{layer.output}/weights", layer.weights)
        bias = self._constant(f"{layer.output}/bias", layer.bias)
        self._operator(OPS.FULLY_CONNECTED, [*inputs, weights, bias], layer.output, options)

    def _mean(self, layer: Layer, inputs: list[int]) -> None:
        axes = self._constant(f"{layer.output}/axes", np.array([1, 2], np.int32))
        self._operator(OPS.MEAN, [*inputs, axes], layer.output, schema.ReducerOptionsT())

    def _add(self, layer: Layer, inputs: list[int]) -> None:
        options = schema.AddOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[layer.activation]
        self._operator(OPS.ADD, inputs, layer.output, options)

    def _softmax(self, layer: Layer, inputs: list[int]) -> None:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        self._operator(OPS.SOFTMAX, inputs, layer.output, options)

    def _operator(self, op: int, inputs: list[int], output: str, options: Any) -> None:
        if op not in self._codes:
            self._codes.append(op)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.index(op)
        operator.inputs, operator.outputs = inputs, [self._index[output]]
        kind = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = options
        self._operators.append(operator)

    def _constant(
        self, name: str, data: NDArray[Any], *, shape: tuple[int, ...] | None = None
    ) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self._buffers.append(buffer)
        integers = data.dtype == np.int32
        kind = schema.TensorType.INT32 if integers else schema.TensorType.FLOAT32
        return self._value(name, shape or data.shape, kind, len(self._buffers) - 1)

    def _value(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int = schema.TensorType.FLOAT32,
        buffer: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, list(shape)
        tensor.type, tensor.buffer = kind, buffer
        self._tensors.append(tensor)
        return len(self._tensors) - 1


def _csr(weights: F32) -> Any:
    """[O, 1, 1, I], the last axis compressed."""
    rows = weights.reshape(weights.shape[0], -1) != 0
    found = schema.SparsityParametersT()
    found.traversalOrder = [0, 1, 2, 3]
    found.dimMetadata = [_dense_axis(size) for size in weights.shape[:3]]
    last = schema.DimensionMetadataT()
    last.format = schema.DimensionType.SPARSE_CSR
    last.arraySegmentsType = last.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    last.arraySegments, last.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    last.arraySegments.values = np.concatenate([[0], np.cumsum(rows.sum(axis=1))]).astype(np.int32)
    last.arrayIndices.values = np.nonzero(rows)[1].astype(np.int32)
    found.dimMetadata.append(last)
    return found


def _dense_axis(size: int) -> Any:
    axis = schema.DimensionMetadataT()
    axis.format, axis.denseSize = schema.DimensionType.DENSE, size
    return axis


def _code(op: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = op
    code.deprecatedBuiltinCode = min(op, 127)  # old readers look here
    code.version = 1
    return code
