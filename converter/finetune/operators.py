"""ONNX operators in PyTorch: one table from operator to a function that builds it for a node.

1. A builder reads a node's attributes, constants and static shapes once, and returns a function of
   the node's inputs. It raises ValueError for a form it does not have.
2. The first axis is the batch and may have any length: static shapes are used without it.
3. Normalisation uses the statistics that the model holds; they are not trained.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from filigree.converter.finetune.windows import average_pool, conv, max_pool
from filigree.converter.passes.graph import constant, dims, scalar

Apply = Callable[..., Tensor]
Build = Callable[[ir.Node, int], Apply]
SINGLE_AXIS_OPSET = 13  # of Softmax


def _plain(function: Apply) -> Build:
    """An operator without attributes."""
    return lambda node, opset: function


def _folded(function: Apply) -> Build:
    """An operator of two inputs that ONNX gives any number of."""
    return lambda node, opset: lambda *values: functools.reduce(function, values)


def _ints(node: ir.Node, name: str, index: int) -> list[int] | None:
    """An attribute that later became the constant input ``index``."""
    if name in node.attributes:
        return list(node.attributes.get_ints(name))
    if len(node.inputs) <= index or node.inputs[index] is None:
        return None
    array = constant(node.inputs[index])
    if array is None:
        raise ValueError(f"{name} that are not constant")
    return [int(n) for n in array.reshape(-1)]


def _input(node: ir.Node, index: int = 0) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


# --- element-wise ---


def _clip(node: ir.Node, opset: int) -> Apply:
    bounds = []
    for index, name in ((1, "min"), (2, "max")):
        value = node.inputs[index] if len(node.inputs) > index else None
        if value is not None and scalar(value) is None:
            raise ValueError("bounds that are not constant")
        given = node.attributes.get_float(name) if name in node.attributes else None
        bounds.append(scalar(value) if value is not None else given)
    low, high = bounds
    if low is None and high is None:
        return lambda x, *_: x
    return lambda x, *_: torch.clamp(x, low, high)


def _leaky(node: ir.Node, opset: int) -> Apply:
    slope = node.attributes.get_float("alpha", 0.01)
    return lambda x: F.leaky_relu(x, slope)


def _hard_sigmoid(node: ir.Node, opset: int) -> Apply:
    alpha = node.attributes.get_float("alpha", 0.2)
    beta = node.attributes.get_float("beta", 0.5)
    return lambda x: torch.clamp(alpha * x + beta, 0, 1)


def _swish(node: ir.Node, opset: int) -> Apply:
    alpha = node.attributes.get_float("alpha", 1.0)
    return lambda x: x * torch.sigmoid(alpha * x)


def _power(node: ir.Node, opset: int) -> Apply:
    exponent = scalar(_input(node, 1))
    if exponent is None:
        raise ValueError("an exponent that is not constant")
    return lambda x, _: torch.pow(x, exponent)


def _softmax(node: ir.Node, opset: int) -> Apply:
    single = opset >= SINGLE_AXIS_OPSET
    axis = node.attributes.get_int("axis", -1 if single else 1)
    if single:
        return lambda x: torch.softmax(x, axis)
    return lambda x: torch.softmax(x.flatten(axis), -1).reshape(x.shape)


def _batch_norm(node: ir.Node, opset: int) -> Apply:
    epsilon = node.attributes.get_float("epsilon", 1e-5)

    def apply(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)

    return apply


# --- products and reductions ---


def _gemm(node: ir.Node, opset: int) -> Apply:
    alpha, beta = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    left, right = (node.attributes.get_int(name, 0) == 1 for name in ("transA", "transB"))

    def apply(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        y = (a.T if left else a) @ (b.T if right else b)
        y = y if alpha == 1 else alpha * y
        return y if c is None else y + (c if beta == 1 else beta * c)

    return apply


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor]) -> Build:
    def build(node: ir.Node, opset: int) -> Apply:
        axes = _ints(node, "axes", 1)
        keep = node.attributes.get_int("keepdims", 1) == 1
        if not axes:
            if node.attributes.get_int("noop_with_empty_axes", 0) == 1:
                return lambda x, *_: x
            axes = list(range(len(dims(_input(node)))))
        return lambda x, *_: function(x, axes, keep)

    return build


def _global(function: Callable[[Tensor, list[int], bool], Tensor]) -> Build:
    return lambda node, opset: lambda x: function(x, list(range(2, x.ndim)), True)


# --- shapes ---


def _reshape(node: ir.Node, opset: int) -> Apply:
    shape = dims(node.outputs[0])[1:]
    return lambda x, *_: x.reshape(x.shape[0], *shape)


def _transpose(node: ir.Node, opset: int) -> Apply:
    rank = len(dims(_input(node)))
    order = list(node.attributes.get_ints("perm", list(reversed(range(rank)))))
    return lambda x: x.permute(order)


def _expand(node: ir.Node, opset: int) -> Apply:
    old, new = dims(_input(node)), dims(node.outputs[0])
    kept = len(old) == len(new) and old[0] == new[0]
    return lambda x, *_: x.expand(x.shape[0] if kept else new[0], *new[1:])


def _concat(node: ir.Node, opset: int) -> Apply:
    axis = node.attributes.get_int("axis")
    return lambda *values: torch.cat(values, axis)


def _split(node: ir.Node, opset: int) -> Apply:
    axis = node.attributes.get_int("axis", 0)
    sizes = [dims(value)[axis] for value in node.outputs]
    return lambda x, *_: torch.split(x, sizes, axis)


def _slice(node: ir.Node, opset: int) -> Apply:
    starts, ends = _ints(node, "starts", 1), _ints(node, "ends", 2)
    axes, steps = _ints(node, "axes", 3), _ints(node, "steps", 4)
    assert starts is not None and ends is not None
    rank = len(dims(_input(node)))
    index = [slice(None)] * rank
    axes = list(range(len(starts))) if axes is None else axes
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(axes), strict=True):
        if step < 1:
            raise ValueError("steps that are not positive")
        index[axis] = slice(start, end, step)
    return lambda x, *_: x[tuple(index)]


def _pad(node: ir.Node, opset: int) -> Apply:
    pads, axes = _ints(node, "pads", 1), _ints(node, "axes", 3)
    if node.attributes.get_string("mode", "constant") != "constant":
        raise ValueError("a mode other than constant")
    rank = len(dims(_input(node)))
    assert pads is not None
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    value = scalar(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    given = value if value is not None else node.attributes.get_float("value", 0.0)
    amounts = [0] * 2 * rank
    for i, axis in enumerate(axes):
        amounts[2 * (rank - 1 - axis) : 2 * (rank - axis)] = [pads[i], pads[len(axes) + i]]
    return lambda x, *_: F.pad(x, amounts, value=given)


OPERATORS: Mapping[str, Build] = {
    "Conv": conv,
    "Gemm": _gemm,
    "MatMul": _plain(torch.matmul),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "Exp": _plain(torch.exp),
    "Sqrt": _plain(torch.sqrt),
    "Abs": _plain(torch.abs),
    "Neg": _plain(torch.neg),
    "Relu": _plain(torch.relu),
    "Clip": _clip,
    "LeakyRelu": _leaky,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(lambda x: x * torch.clamp(x / 6 + 0.5, 0, 1)),
    "Swish": _swish,
    "PRelu": _plain(lambda x, slope: torch.where(x >= 0, x, slope * x)),
    "Reciprocal": _plain(torch.reciprocal),
    "Pow": _power,
    "Add": _plain(torch.add),
    "Sum": _folded(torch.add),
    "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul),
    "Div": _plain(torch.div),
    "Min": _folded(torch.minimum),
    "Max": _folded(torch.maximum),
    "BatchNormalization": _batch_norm,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": _global(torch.mean),
    "GlobalMaxPool": _global(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "ReduceMax": _reduce(torch.amax),
    "Identity": _plain(lambda x: x),
    "Dropout": _plain(lambda x, *_: x),
    "Cast": _plain(lambda x: x),
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Transpose": _transpose,
    "Expand": _expand,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Pad": _pad,
    "Softmax": _softmax,
}
