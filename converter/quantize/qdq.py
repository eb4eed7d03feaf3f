"""A float network becomes a quantised one in ONNX's own terms: QuantizeLinear and DequantizeLinear
around the operators of each kept value.

1. A node is quantised if its operator is in QUANTISED, its weights, if it has any, are constant,
   and the user did not keep it float. An activation right behind a layer that nothing else reads
   belongs to the layer: there is nothing to round between them.
2. A value is rounded if a quantised node makes or reads it. Operators that only move or pick
   elements (ALIKE) take and give the same scale, and so do all operands of a Concat.
3. Weights are symmetric, a scale per output channel; biases int32 on the grid of input times
   weights. Softmax and Sigmoid give 0 to 1 in steps of 1/256.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
from numpy.typing import NDArray

from filigree.converter.passes.graph import constant, initializer, sole_user
from filigree.converter.quantize.ranges import WEIGHT_MOST, Params, weight_scales

LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
ALIKE = frozenset(
    {
        "Concat",
        "Flatten",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
ACTIVATIONS = frozenset({"Relu", "Clip"})
FIXED = {"Softmax": Params(1 / 256, -128), "Sigmoid": Params(1 / 256, -128)}
ARITHMETIC = frozenset(
    {
        "Add",
        "AveragePool",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mul",
        "PRelu",
        "ReduceMean",
        "Sub",
        "Tanh",
    }
)
QUANTISED = LAYERS | ALIKE | ACTIVATIONS | ARITHMETIC | frozenset(FIXED)
MOST_BIAS = 2**30
OPSET = 13  # the first with scales per channel


@dataclass
class Sites:
    """Where a graph is rounded: ``values`` by name, each with the name whose scale it has, and the
    names of the nodes that then work on integers."""

    nodes: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


def layers_of(model: ir.Model) -> list[ir.Node]:
    """Convolutions of every kind and products with constant weights."""
    return [n for n in model.graph if n.op_type in LAYERS and _weights(n) is not None]


def sites(model: ir.Model, keep: Set[str] = frozenset()) -> Sites:
    """Where ``model`` is rounded if the nodes named ``keep`` stay float."""
    found = Sites()
    rounded: dict[str, ir.Value] = {}
    for node in model.graph:
        if not _is_quantised(node, keep):
            continue
        found.nodes.append(node.name or "")
        made = [v for v in node.outputs[:1] if not _is_inside(v, keep)]
        read = [v for v in _activations(node) if not _is_inside(v, keep)]
        rounded |= {v.name or "": v for v in (*read, *made)}
    found.values = _shared(model, rounded, set(found.nodes))
    return found


def insert(model: ir.Model, where: Sites, params: Mapping[str, Params], weights: str) -> None:
    """Quantise ``model`` in place: ``params`` by the names that ``where`` gives scales to;
    ``weights`` is a method of ranges.weight_scales."""
    nodes = {n.name or "": n for n in model.graph}
    values = {v.name or "": v for v in values_of(model) if v.name in where.values}
    scales = {name: params[source] for name, source in where.values.items()}
    for name in where.nodes:
        node = nodes[name]
        array = _weights(node) if node.op_type in LAYERS else None
        x = node.inputs[0].name if node.inputs[0] is not None else None
        if array is None or x not in scales:
            continue
        axis = row_axis(node, array)
        rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
        scale = weight_scales(rows, weights)
        scale = _enough_for_bias(node, scale, scales[x or ""].scale)
        _quantise_weights(model, node, array, scale, axis)
        _quantise_bias(model, node, scale, scales[x or ""].scale)
    for name, value in values.items():
        _round_value(model, value, scales[name])
    common.RemoveUnusedNodesPass()(model)  # and the constants that nothing reads any more
    version = model.opset_imports.get("", OPSET)
    model.opset_imports[""] = max(version, OPSET)


def row_axis(node: ir.Node, weight: NDArray[np.generic]) -> int:
    """The axis of a layer's weights that counts its outputs."""
    if node.op_type == "Conv" or node.attributes.get_int("transB", 0) == 1:
        return 0
    return weight.ndim - 1


# --- what is rounded ---


def _is_quantised(node: ir.Node, keep: Set[str]) -> bool:
    maker = _layer_of(node)
    if maker is not None:
        return _is_quantised(maker, keep)
    if node.op_type not in QUANTISED or (node.name or "") in keep:
        return False
    if node.op_type in LAYERS and _weights(node) is None:
        return False
    return not _has_open_bounds(node) and bool(_activations(node))


def _layer_of(node: ir.Node) -> ir.Node | None:
    """The layer or sum that an activation belongs to."""
    x = node.inputs[0] if node.inputs else None
    if node.op_type not in ACTIVATIONS or x is None or sole_user(x) is not node:
        return None
    maker = x.producer()
    fuses = maker is not None and (maker.op_type in LAYERS or maker.op_type == "Add")
    return maker if fuses and not _has_open_bounds(node) else None


def _has_open_bounds(node: ir.Node) -> bool:
    return node.op_type == "Clip" and any(constant(v) is None for v in node.inputs[1:] if v)


def _weights(node: ir.Node) -> NDArray[np.float32] | None:
    array = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return array if array is not None and array.dtype == np.float32 and array.ndim > 1 else None


def _activations(node: ir.Node) -> list[ir.Value]:
    """Float operands that are not constant, and constants of arithmetic with two operands."""
    given = node.inputs[:2] if node.op_type in ("Add", "Mul", "Sub") else node.inputs[:1]
    if node.op_type == "Concat":
        given = node.inputs
    return [v for v in given if v is not None and constant(v) is None]


def _is_inside(value: ir.Value, keep: Set[str]) -> bool:
    """The value is between a layer and its activation."""
    user = sole_user(value)
    maker = _layer_of(user) if user is not None else None
    return maker is not None and maker is value.producer() and _is_quantised(maker, keep)


def _shared(model: ir.Model, rounded: Mapping[str, ir.Value], nodes: Set[str]) -> dict[str, str]:
    """Each rounded value with the one of its class that stands for all."""
    parent = {name: name for name in rounded}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in model.graph:
        if node.op_type not in ALIKE or (node.name or "") not in nodes:
            continue
        ends = [v.name or "" for v in (*_activations(node), *node.outputs[:1])]
        known = [n for n in ends if n in parent]
        for name in known[1:]:
            parent[root(name)] = root(known[0])
    return {name: root(name) for name in rounded}


def values_of(model: ir.Model) -> Iterator[ir.Value]:
    yield from model.graph.inputs
    for node in model.graph:
        yield from node.outputs


# --- how ---


def _enough_for_bias(
    node: ir.Node, scale: NDArray[np.float32], x_scale: float
) -> NDArray[np.float32]:
    """Scales large enough that the biases fit int32."""
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is None or bias.size != scale.size:
        return scale
    least = np.abs(bias.reshape(-1).astype(np.float64)) / MOST_BIAS / x_scale
    return np.maximum(scale, least).astype(np.float32)


def _quantise_weights(
    model: ir.Model,
    node: ir.Node,
    array: NDArray[np.float32],
    scale: NDArray[np.float32],
    axis: int,
) -> None:
    shape = [-1 if a == axis else 1 for a in range(array.ndim)]
    steps = np.rint(array.astype(np.float64) / scale.reshape(shape))
    q = np.clip(steps, -WEIGHT_MOST, WEIGHT_MOST).astype(np.int8)
    _read_through(model, node, 1, q, scale, axis=axis)


def _quantise_bias(
    model: ir.Model, node: ir.Node, scale: NDArray[np.float32], x_scale: float
) -> None:
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is None:
        return
    grid = (np.float32(x_scale) * scale).astype(np.float32)
    flat = np.broadcast_to(bias.reshape(-1), scale.shape).astype(np.float64)
    q = np.rint(flat / grid).astype(np.int32)
    _read_through(model, node, 2, q, grid, axis=0)


def _read_through(
    model: ir.Model,
    node: ir.Node,
    index: int,
    q: NDArray[np.generic],
    scale: NDArray[np.float32],
    *,
    axis: int,
) -> None:
    """Input ``index`` of the node becomes a DequantizeLinear of ``q``."""
    near = node.inputs[index]
    assert near is not None and node.graph is not None
    given = [initializer(model, near, q), initializer(model, near, scale)]
    made = ir.node("DequantizeLinear", given, {"axis": axis}, name=f"{near.name}/dequantise")
    made.outputs[0].name = f"{given[0].name}.float"
    made.outputs[0].shape = ir.Shape(q.shape)
    made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    node.graph.insert_before(node, made)
    node.replace_input_with(index, made.outputs[0])


def _round_value(model: ir.Model, value: ir.Value, by: Params) -> None:
    """Everything that reads the value, reads it rounded."""
    scale = initializer(model, value, np.array(by.scale, np.float32))
    zero = initializer(model, value, np.array(by.zero, np.int8))
    name, maker, graph = value.name or "", value.producer(), model.graph
    first = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}/quantise")
    second = ir.node("DequantizeLinear", [first.outputs[0], scale, zero], name=f"{name}/dequantise")
    first.outputs[0].name, second.outputs[0].name = f"{name}.q", f"{name}.rounded"
    for node, kind in ((first, ir.DataType.INT8), (second, ir.DataType.FLOAT)):
        node.outputs[0].shape, node.outputs[0].type = value.shape, ir.TensorType(kind)
    is_output = value.is_graph_output()
    value.replace_all_uses_with(second.outputs[0], replace_graph_outputs=True)
    first.replace_input_with(0, value)
    if maker is not None:
        graph.insert_after(maker, [first, second])
    else:
        graph.insert_before(graph[0], [first, second])
    if is_output:
        value.name, second.outputs[0].name = f"{name}.exact", name


def named(nodes: Iterable[ir.Node], patterns: Iterable[str]) -> tuple[set[str], list[str]]:
    """Names of nodes that a pattern (fnmatch) takes, and the patterns that take none."""
    names = [n.name or "" for n in nodes]
    found = {p: {n for n in names if fnmatchcase(n, p)} for p in patterns}
    return set().union(*found.values()), [p for p, taken in found.items() if not taken]
