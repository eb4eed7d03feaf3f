"""Fold what only scales or shifts output channels into the layer before it.

1. BatchNormalization (inference), Mul, Div, Add, Sub by a constant that varies at most along the
   output channels, right after Conv, Gemm or MatMul with constant weights, if nothing else reads
   the layer's result. The folded weights are computed in float64.
2. Zeros stay zeros: the pattern of pruned weights is kept.
3. A scale that is not finite, or a variance below zero, is refused by what reads the weights later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.passes.graph import bypass, constant, dims, initializer, sole_user

F64 = NDArray[np.float64]
ONNX_LAYERS = ("Conv", "Gemm")
LAYERS = (*ONNX_LAYERS, "MatMul")  # a MatMul with a bias is not ONNX any more


@dataclass(frozen=True)
class _Affine:
    """y = x * scale + shift, per output channel: [rows]."""

    scale: F64
    shift: F64


def apply(model: ir.Model, *, layers: Sequence[str] = LAYERS) -> bool:
    """Fold into layers of these kinds until nothing is left to fold."""
    changed = False
    for node in list(model.graph):
        if node.graph is None:
            continue
        layer, value = _layer_before(node)
        if layer is None or value is None or layer.op_type not in layers:
            continue
        affine = _affine(node, value, _axis(layer))
        if affine is not None and _fold(model, layer, affine):
            bypass(node, value)
            changed = True
    return changed


def _layer_before(node: ir.Node) -> tuple[ir.Node | None, ir.Value | None]:
    """The layer whose result only ``node`` reads, and that result."""
    for value in node.inputs:
        layer = value.producer() if value is not None else None
        if value is None or layer is None or layer.op_type not in LAYERS:
            continue
        if sole_user(value) is node and constant(layer.inputs[1]) is not None:
            return layer, value
    return None, None


def _axis(layer: ir.Node) -> int:
    """The axis of output channels, counted from the end."""
    return 1 - len(dims(layer.outputs[0])) if layer.op_type == "Conv" else -1


def _affine(node: ir.Node, x: ir.Value, axis: int) -> _Affine | None:
    if len(dims(x)) < 2:
        return None
    rows = dims(x)[axis]
    if node.op_type == "BatchNormalization":
        return _batch_norm(node, x, axis)
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or dims(node.outputs[0]) != dims(x):
        return None
    first = node.inputs[0] is x
    other = _per_channel(constant(node.inputs[1] if first else node.inputs[0]), rows, axis)
    if other is None:
        return None
    one, none = np.ones(rows), np.zeros(rows)
    if node.op_type == "Add":
        return _Affine(one, other)
    if node.op_type == "Sub":
        return _Affine(one, -other) if first else _Affine(-one, other)
    if node.op_type == "Mul":
        return _Affine(other, none)
    return _Affine(1 / other, none) if first and np.all(other != 0) else None


def _per_channel(array: NDArray[Any] | None, rows: int, axis: int) -> F64 | None:
    """A constant as one value per channel, if it varies along ``axis`` alone."""
    if array is None:
        return None
    aligned = np.asarray(array, np.float64)
    aligned = aligned.reshape((1,) * max(0, -axis - aligned.ndim) + aligned.shape)
    channels = aligned.shape[axis]
    if aligned.size != channels or channels not in (1, rows):
        return None
    return np.broadcast_to(aligned.reshape(-1), (rows,))


def batch_norm(node: ir.Node) -> tuple[F64, F64] | None:
    """scale and shift per channel of a BatchNormalization in inference, if it is constant."""
    arrays = [constant(value) for value in node.inputs[1:5]]
    training = node.attributes.get_int("training_mode", 0)
    if training or any(array is None for array in arrays) or len(arrays) != 4:
        return None
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return scale, beta - mean * scale


def _batch_norm(node: ir.Node, x: ir.Value, axis: int) -> _Affine | None:
    found = batch_norm(node)
    if found is None or node.inputs[0] is not x or axis != 1 - len(dims(x)):
        return None
    return _Affine(*found)


def _fold(model: ir.Model, layer: ir.Node, by: _Affine) -> bool:
    weight, bias = constant(layer.inputs[1]), _bias(layer, by.shift.size)
    if weight is None or bias is None or layer.attributes.get_float("alpha", 1.0) != 1.0:
        return False
    axis = _row_axis(layer, weight)
    if layer.op_type == "MatMul" and weight.ndim != 2:
        return False
    if weight.ndim < 2 or weight.shape[axis] != by.scale.size:
        return False
    scale = by.scale.reshape([-1 if i == axis % weight.ndim else 1 for i in range(weight.ndim)])
    _set(model, layer, 1, weight * scale)
    _set(model, layer, 2, bias * by.scale + by.shift)
    if "beta" in layer.attributes:
        layer.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    return True


def _row_axis(layer: ir.Node, weight: NDArray[Any]) -> int:
    if layer.op_type == "Conv" or layer.attributes.get_int("transB", 0) == 1:
        return 0
    return weight.ndim - 1


def _bias(layer: ir.Node, rows: int) -> F64 | None:
    """The layer's bias, one value per row, None if it is anything else."""
    given = layer.inputs[2] if len(layer.inputs) > 2 else None
    if given is None:
        return np.zeros(rows)
    found = _per_channel(constant(given), rows, -1)
    return None if found is None else found * layer.attributes.get_float("beta", 1.0)


def _set(model: ir.Model, layer: ir.Node, index: int, array: F64) -> None:
    old = layer.inputs[1]
    assert old is not None
    with np.errstate(all="ignore"):
        value = initializer(model, old, array.astype(np.float32))
    if index < len(layer.inputs):
        layer.replace_input_with(index, value)
    else:
        layer.resize_inputs(index + 1)
        layer.replace_input_with(index, value)
