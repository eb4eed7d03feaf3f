"""MobileNet-like networks as a list of layers, for the writers of peers' formats.

Values are NHWC, what comes after the mean [1, C]; weights are laid out as ONNX has them. There are
convolution (plain or depthwise), residual sum, global mean, fully connected and softmax, with ReLU
or ReLU6 behind any of them; everything else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter import passes
from filigree.converter.frontends import onnx as frontend
from filigree.converter.sparsity import axes
from tests.models.sparsify import fold

F32 = NDArray[np.float32]
PASSED = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity")  # the same numbers in a row


@dataclass(frozen=True)
class Layer:
    """``kind``: conv, depthwise, add, mean, dense or softmax. ``weights`` [O, I, kh, kw] (depthwise
    [C, 1, kh, kw], dense [O, I]); ``pads`` top, left, bottom, right; ``shape`` of the result."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...]
    weights: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    bias: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    stride: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation: str = ""  # "", relu, relu6

    def padding(self, size: tuple[int, int]) -> str:
        """VALID or SAME where TensorFlow means these ``pads`` on an input of that size by it, else
        EXPLICIT."""
        if not any(self.pads):
            return "VALID"
        kernel = self.weights.shape[2:]
        whole = [same(n, k, self.stride) for n, k in zip(size, kernel, strict=True)]
        (top, bottom), (left, right) = whole
        return "SAME" if self.pads == (top, left, bottom, right) else "EXPLICIT"


@dataclass(frozen=True)
class Network:
    """Layers in order; the last one's output is the network's."""

    input: str
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {self.input: self.shape, **{layer.output: layer.shape for layer in self.layers}}


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis: before and after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def symmetric(source: Path, target: Path) -> None:
    """Write ``source`` with TensorFlow's padding of stride-2 3x3 layers, nothing before and one
    after, made one on each side: the same shapes and weights, another network. XNNPACK's sparse
    path wants that."""
    model = fold(onnx.load(source))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "pads" and list(attribute.ints) == [0, 0, 1, 1]:
                attribute.ints[:] = [1, 1, 1, 1]
    onnx.save(model, target)


def with_relu(source: Path, target: Path) -> None:
    """Write ``source`` with ReLU in place of ReLU6, which some runtimes do sooner: the same shapes
    and weights, another network."""
    model = onnx.load(source)
    for node in model.graph.node:
        if node.op_type == "Clip":
            node.op_type = "Relu"
            del node.input[1:]
            del node.attribute[:]
    onnx.save(model, target)


def shuffle(source: Path, target: Path, *, seed: int = 0) -> None:
    """Write ``source`` with every free channel variable in a random order: the same function, zeros
    in no blocks. XNNPACK takes kernels for blocks of rows where it finds blocks, and its
    WebAssembly ones are scalar: twice the time."""
    model = _simplified(source)
    found = axes.find(model)
    draw = np.random.default_rng(seed)
    axes.permute(model, found, {v.name: draw.permutation(v.size) for v in found.free})
    ir.save(model, target)


def read(source: Path) -> Network:
    """The network of an ONNX file. Raises ValueError for an operator that is none of the above."""
    model = _simplified(source)
    reader = _Reader(model.graph)
    for node in model.graph:
        reader.add(node)
    value = model.graph.inputs[0]
    return Network(str(value.name), _nhwc(value), tuple(reader.layers))


def ranges(source: Path, samples: F32) -> dict[str, tuple[float, float]]:
    """The least and the greatest of every value that read(source) names, over the samples."""
    import onnxruntime as ort

    proto = ir.to_proto(_simplified(source))
    assert isinstance(proto, onnx.ModelProto)
    named = read(source).shapes
    inner = [name for name in named if name != proto.graph.input[0].name]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inner)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    given, found = session.get_inputs()[0].name, []
    for x in samples:
        values = [x, *session.run(inner, {given: x[None]})]
        found.append([(float(v.min()), float(v.max())) for v in values])
    bounds = np.array(found)
    least, most = bounds[..., 0].min(axis=0), bounds[..., 1].max(axis=0)
    return dict(zip([given, *inner], zip(least.tolist(), most.tolist(), strict=True), strict=True))


def _simplified(source: Path) -> ir.Model:
    return passes.run(frontend.load(source, external_data=False), portable=True)


class _Reader:
    """Collects layers; ``_alias`` maps values that are another one's numbers."""

    def __init__(self, graph: ir.Graph) -> None:
        self.layers: list[Layer] = []
        self._alias: dict[str, str] = {}
        self._constants = {name: v.const_value for name, v in graph.initializers.items()}

    def add(self, node: ir.Node) -> None:
        op, output = node.op_type, str(node.outputs[0].name)
        if op in PASSED:
            self._alias[output] = self._name(node.inputs[0])
        elif op in ("Relu", "Clip"):
            self._activate(node, output)
        else:
            self.layers.append(self._layer(node, op, output))

    def _layer(self, node: ir.Node, op: str, output: str) -> Layer:
        shape = _nhwc(node.outputs[0])
        if op == "Conv":
            return self._conv(node, output, shape)
        if op == "Gemm":
            return self._dense(node, output, shape)
        kind = {"Add": "add", "GlobalAveragePool": "mean", "Softmax": "softmax"}.get(op)
        if kind is None:
            raise ValueError(f"{op} is not an operator of a MobileNet")
        inputs = tuple(self._name(value) for value in node.inputs)
        return Layer(kind, inputs, output, shape)

    def _conv(self, node: ir.Node, output: str, shape: tuple[int, ...]) -> Layer:
        weights, bias = self._weights(node)
        group, strides = _int(node, "group", 1), _ints(node, "strides", (1, 1))
        if len(shape) == 2:  # on one position
            weights = weights.reshape(weights.shape[:2])
            return Layer("dense", (self._name(node.inputs[0]),), output, shape, weights, bias)
        depthwise = group == weights.shape[0] and weights.shape[1] == 1 and group > 1
        if (group > 1 and not depthwise) or strides[0] != strides[1]:
            raise ValueError(f"{node.name}: grouped, or strides {strides}")
        top, left, bottom, right = _ints(node, "pads", (0, 0, 0, 0))
        return Layer(
            "depthwise" if depthwise else "conv",
            (self._name(node.inputs[0]),),
            output,
            shape,
            weights,
            bias,
            stride=strides[0],
            pads=(top, left, bottom, right),
        )

    def _dense(self, node: ir.Node, output: str, shape: tuple[int, ...]) -> Layer:
        weights, bias = self._weights(node)
        return Layer("dense", (self._name(node.inputs[0]),), output, shape, weights, bias)

    def _weights(self, node: ir.Node) -> tuple[F32, F32]:
        weights = self._constant(node.inputs[1])
        if node.op_type == "Gemm" and _int(node, "transB", 0) == 0:
            weights = np.ascontiguousarray(weights.T)
        bias = self._constant(node.inputs[2]) if len(node.inputs) > 2 else None
        return weights, np.zeros(weights.shape[0], np.float32) if bias is None else bias.ravel()

    def _activate(self, node: ir.Node, output: str) -> None:
        """Fuse with the layer that made the input, which nothing else reads."""
        before = self._name(node.inputs[0])
        layer = self.layers[-1]
        if layer.output != before or len(node.inputs[0].uses()) > 1:
            raise ValueError(f"{node.op_type} is not behind the layer that it belongs to")
        limits = [float(self._constant(value).ravel()[0]) for value in node.inputs[1:]]
        kind = {"Relu": "relu"}.get(node.op_type) or {(0.0, 6.0): "relu6"}[(limits[0], limits[1])]
        self.layers[-1] = replace(layer, activation=kind)
        self._alias[output] = before

    def _constant(self, value: ir.Value | None) -> F32:
        tensor = self._constants[str(value.name)] if value is not None else None
        if tensor is None:
            raise ValueError("weights are not constant")
        return np.asarray(tensor.numpy(), np.float32)

    def _name(self, value: ir.Value | None) -> str:
        name = str(value.name) if value is not None else ""
        return self._alias.get(name, name)


def _nhwc(value: ir.Value) -> tuple[int, ...]:
    dims = tuple(int(dim) for dim in value.shape or ())
    if len(dims) != 4:
        return dims
    n, c, h, w = dims
    return (n, c) if h == w == 1 else (n, h, w, c)


def _int(node: ir.Node, name: str, otherwise: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else otherwise


def _ints(node: ir.Node, name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(node.attributes[name].as_ints()) if name in node.attributes else otherwise
