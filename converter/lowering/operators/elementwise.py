"""Element-wise operators: MAP with a function of one or two operands and an activation."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from filigree.converter.activate import activated
from filigree.converter.lowering.builder import INT8_FUNCTIONS, Builder, Refused
from filigree.converter.lowering.operators.registry import int8_result, operator, optional
from filigree.converter.lowering.program import Activation
from filigree.converter.lowering.view import View
from filigree.converter.passes.fold_affine import batch_norm
from filigree.converter.passes.graph import constant, dims, scalar
from filigree.converter.quantize.marks import Quant, constant_quant, mark_of, rounded
from filigree.native import enums as c

PLAIN = {
    "Sigmoid": c.FIL_ACT_SIGMOID,
    "Tanh": c.FIL_ACT_TANH,
    "Exp": c.FIL_ACT_EXP,
    "Sqrt": c.FIL_ACT_SQRT,
    "Abs": c.FIL_ACT_ABS,
    "Neg": c.FIL_ACT_NEG,
}
FUNCTIONS = {
    "Add": c.FIL_MAP_ADD,
    "Sum": c.FIL_MAP_ADD,
    "Sub": c.FIL_MAP_SUB,
    "Mul": c.FIL_MAP_MUL,
    "Div": c.FIL_MAP_DIV,
    "Min": c.FIL_MAP_MIN,
    "Max": c.FIL_MAP_MAX,
}


@operator(*PLAIN)
def plain(b: Builder, node: ir.Node) -> None:
    _activate(b, node, Activation(PLAIN[node.op_type]))


@operator("Relu")
def relu(b: Builder, node: ir.Node) -> None:
    _activate(b, node, Activation(c.FIL_ACT_CLAMP, 0.0, math.inf))


@operator("Clip", note="constant bounds")
def clip(b: Builder, node: ir.Node) -> None:
    _activate(b, node, Activation(c.FIL_ACT_CLAMP, _bound(node, 1), _bound(node, 2)))


@operator("LeakyRelu")
def leaky_relu(b: Builder, node: ir.Node) -> None:
    alpha = node.attributes.get_float("alpha", 0.01)
    _activate(b, node, Activation(c.FIL_ACT_LEAKYRELU, alpha))


@operator("HardSigmoid")
def hard_sigmoid(b: Builder, node: ir.Node) -> None:
    alpha, beta = (node.attributes.get_float(k, v) for k, v in (("alpha", 0.2), ("beta", 0.5)))
    _activate(b, node, Activation(c.FIL_ACT_HARDSIGMOID, alpha, beta))


@operator("HardSwish")
def hard_swish(b: Builder, node: ir.Node) -> None:
    _activate(b, node, Activation(c.FIL_ACT_HARDSWISH, 1 / 6, 0.5))


@operator("Swish")
def swish(b: Builder, node: ir.Node) -> None:
    alpha = node.attributes.get_float("alpha", 1.0)
    if alpha == 1.0:
        _activate(b, node, Activation(c.FIL_ACT_SILU))
        return
    x = b.view(node.inputs[0])
    factor = b.constant(f"{node.outputs[0].name}.alpha", np.full((), alpha, np.float32))
    gate = b.allocate(f"{node.outputs[0].name}.gate", x.shape, like=x)
    b.map(c.FIL_MAP_MUL, [x, factor], gate, act=Activation(c.FIL_ACT_SIGMOID))
    _combine(b, node, c.FIL_MAP_MUL, [x, gate])


@operator("PRelu")
def prelu(b: Builder, node: ir.Node) -> None:
    slope = scalar(node.inputs[1])
    if slope is not None:
        _activate(b, node, Activation(c.FIL_ACT_LEAKYRELU, slope))
        return
    _combine(b, node, c.FIL_MAP_PRELU, [b.view(v) for v in node.inputs])


@operator("Reciprocal")
def reciprocal(b: Builder, node: ir.Node) -> None:
    one = b.constant("one", np.ones((), np.float32))
    _combine(b, node, c.FIL_MAP_DIV, [one, b.view(node.inputs[0])])


@operator("Pow", note="constant exponent 0.5, 1 or 2")
def power(b: Builder, node: ir.Node) -> None:
    exponent = scalar(node.inputs[1])
    x = b.view(node.inputs[0])
    if exponent == 2.0:
        _combine(b, node, c.FIL_MAP_MUL, [x, x])
    elif exponent == 0.5:
        _activate(b, node, Activation(c.FIL_ACT_SQRT))
    elif exponent == 1.0:
        _activate(b, node, Activation())
    else:
        raise Refused("its exponent is not one of the constants 0.5, 1, 2")


@operator(*FUNCTIONS)
def arithmetic(b: Builder, node: ir.Node) -> None:
    fn = FUNCTIONS[node.op_type]
    if fn in INT8_FUNCTIONS and len(node.inputs) == 2 and _combine_int8(b, node, fn):
        return
    views = [b.view(value) for value in node.inputs]
    if len(views) == 1:
        b.values[node.outputs[0].name or ""] = views[0]
        return
    while len(views) > 2:
        shape = np.broadcast_shapes(views[0].shape, views[1].shape)
        part = b.allocate(f"{node.outputs[0].name}.part", shape, like=_like(b, views[:2], shape))
        b.map(fn, views[:2], part)
        views = [part, *views[2:]]
    _combine(b, node, fn, views)


@operator("BatchNormalization", note="inference, constant statistics")
def batch_normalization(b: Builder, node: ir.Node) -> None:
    found = batch_norm(node)
    if found is None:
        raise Refused("training mode, or statistics that are not constant")
    x = b.view(node.inputs[0])
    shape = (-1, *(1 for _ in x.shape[2:]))
    name = node.outputs[0].name or ""
    scale, shift = (
        b.constant(f"{name}.{part}", array.astype(np.float32).reshape(shape))
        for part, array in zip(("scale", "shift"), found, strict=True)
    )
    scaled = b.allocate(f"{name}.scaled", x.shape, like=x)
    b.map(c.FIL_MAP_MUL, [x, scale], scaled)
    _combine(b, node, c.FIL_MAP_ADD, [scaled, shift])


def _activate(b: Builder, node: ir.Node, act: Activation) -> None:
    quant = int8_result(b, node, node.inputs[:1])
    if quant is not None:
        _activate_int8(b, node, act, quant)
        return
    x = b.view(node.inputs[0]).broadcast(dims(node.outputs[0]))  # a bound or slope may add axes
    out = b.new(node.outputs[0], like=x)
    b.map(c.FIL_MAP_COPY, [x], out, act=act)
    b.values[node.outputs[0].name or ""] = out


def _activate_int8(b: Builder, node: ir.Node, act: Activation, quant: Quant) -> None:
    """Between two bounds by comparing, any other function by a table."""
    x = b.stored(node.inputs[0]).broadcast(dims(node.outputs[0]))
    out = b.new(node.outputs[0], like=x, quant=quant)
    if act.kind == c.FIL_ACT_CLAMP and b.quant_of(x) == quant and act.lo <= act.hi:
        lo, hi = (float(rounded(np.asarray(bound), quant)) for bound in (act.lo, act.hi))
        b.map(c.FIL_MAP_COPY, [x], out, act=Activation(c.FIL_ACT_CLAMP, lo, hi))
    else:
        b.apply(x, out, lambda values: activated(values, act))
    b.values[node.outputs[0].name or ""] = out


def _combine_int8(b: Builder, node: ir.Node, fn: int) -> bool:
    """False if the result or an operand is not int8; a constant is if it lies on a grid."""
    quant = mark_of(node.outputs[0])
    views = [_int8_operand(b, value) for value in node.inputs] if quant else []
    found = [view for view in views if view is not None]
    if len(found) != 2:
        return False
    shape = dims(node.outputs[0])
    out = b.new(node.outputs[0], like=_like(b, found, shape), quant=quant)
    b.map(fn, found, out)
    b.values[node.outputs[0].name or ""] = out
    return True


def _int8_operand(b: Builder, value: ir.Value | None) -> View | None:
    array = constant(value)
    if array is None or value is None:
        view = b.stored(value)
        return view if b.quant_of(view) is not None else None
    quant = constant_quant(value, array)
    return None if quant is None else b.integers(f"{value.name}.int8", array, quant)


def _combine(b: Builder, node: ir.Node, fn: int, views: list[View]) -> None:
    shape = dims(node.outputs[0])
    out = b.new(node.outputs[0], like=_like(b, views, shape))
    b.map(fn, views, out)
    b.values[node.outputs[0].name or ""] = out


def _like(b: Builder, views: list[View], shape: tuple[int, ...]) -> View | None:
    """The operand whose layout the result takes: one that is not broadcast, and no constant."""
    whole = [v for v in views if v.shape == shape and 0 not in v.strides]
    return next((v for v in whole if b.tensors[v.tensor].data is None), None)


def _bound(node: ir.Node, index: int) -> float:
    name, missing = (("min", -math.inf), ("max", math.inf))[index - 1]
    if name in node.attributes:
        return node.attributes.get_float(name, missing)
    given = optional(node, index)
    if given is None:
        return missing
    found = scalar(given)
    if found is None:
        raise Refused(f"its {name} is not a constant")
    if constant(given) is not None and math.isnan(found):
        raise Refused(f"its {name} is not a number")
    return found
