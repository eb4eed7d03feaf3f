"""The trained network as ONNX, node by node from its weights: the same weights, the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from data import SIDE
from network import CLASSES, DigitsNet, Separable
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 17
IR_VERSION = 8
INPUT, OUTPUT = "image", "probabilities"


@dataclass
class Graph:
    """An ONNX graph that grows at its end; every method returns its node's output name."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: ArrayLike, dtype: type = np.float32) -> str:
        if all(tensor.name != name for tensor in self.tensors):
            array = np.ascontiguousarray(np.asarray(value, dtype))
            self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        outputs = [OUTPUT if op == "Softmax" else f"{name}/out"]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def conv(self, x: str, layer: nn.Conv2d, name: str) -> str:
        weight = self.constant(f"{name}/weight", layer.weight.detach().numpy())
        (pad_h, pad_w), (kernel_h, kernel_w) = layer.padding, layer.kernel_size
        return self.node(
            "Conv",
            [x, weight],
            name,
            group=layer.groups,
            kernel_shape=[kernel_h, kernel_w],
            pads=[pad_h, pad_w, pad_h, pad_w],
            strides=list(layer.stride),
        )

    def batch_norm(self, x: str, layer: nn.BatchNorm2d, name: str) -> str:
        parts = {
            "scale": layer.weight.detach(),
            "bias": layer.bias.detach(),
            "mean": layer.running_mean,
            "variance": layer.running_var,
        }
        names = [self.constant(f"{name}/{part}", value.numpy()) for part, value in parts.items()]
        return self.node("BatchNormalization", [x, *names], name, epsilon=layer.eps)

    def relu6(self, x: str, name: str) -> str:
        return self.node("Clip", [x, self.constant("zero", 0.0), self.constant("six", 6.0)], name)


def build(net: DigitsNet) -> onnx.ModelProto:
    """[1, 1, 16, 16] ``image`` in 0..1 to [1, 10] ``probabilities``; BatchNormalization stays."""
    graph = Graph()
    x = graph.batch_norm(graph.conv(INPUT, net.stem, "stem"), net.stem_bn, "stem/bn")
    x = graph.relu6(x, "stem/relu6")
    for index, block in enumerate(net.blocks, 1):
        x = _separable(graph, x, block, f"block{index}")
    x = graph.node("GlobalAveragePool", [x], "pool")
    x = graph.node("Flatten", [x], "flatten", axis=1)
    weight = graph.constant("classifier/weight", net.classifier.weight.detach().numpy())
    bias = graph.constant("classifier/bias", net.classifier.bias.detach().numpy())
    x = graph.node("Gemm", [x, weight, bias], "classifier", transB=1)
    graph.node("Softmax", [x], "softmax", axis=1)
    return _model(graph)


def save(net: DigitsNet, path: Path) -> None:
    """Write ``net`` as ONNX. Raises onnx.checker.ValidationError if the graph is not legal."""
    model = build(net)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _separable(graph: Graph, x: str, block: Separable, name: str) -> str:
    inner = graph.conv(x, block.depthwise, f"{name}/depthwise")
    inner = graph.batch_norm(inner, block.depthwise_bn, f"{name}/depthwise/bn")
    inner = graph.relu6(inner, f"{name}/depthwise/relu6")
    inner = graph.conv(inner, block.pointwise, f"{name}/pointwise")
    inner = graph.batch_norm(inner, block.pointwise_bn, f"{name}/pointwise/bn")
    if block.spec.residual:
        inner = graph.node("Add", [inner, x], f"{name}/add")
    return graph.relu6(inner, f"{name}/relu6")


def _model(graph: Graph) -> onnx.ModelProto:
    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    result = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, CLASSES])
    return helper.make_model(
        helper.make_graph(graph.nodes, "digits", [image], [result], graph.tensors),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="filigree samples/digits",
    )
