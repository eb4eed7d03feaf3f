"""Operators that move elements about: views where strides can say it, copies where not."""

from __future__ import annotations

import onnx_ir as ir

from filigree.converter.lowering.builder import Builder, Refused
from filigree.converter.lowering.operators.registry import only_first_output, operator, optional
from filigree.converter.lowering.program import Activation
from filigree.converter.lowering.view import View
from filigree.converter.passes.graph import constant, dims, scalar
from filigree.converter.quantize.marks import Quant, mark_of
from filigree.native import enums as c

TO_NCHW = (0, 3, 1, 2)
MOST_CHANNELS = 4  # of pixels


@operator("Identity", "Dropout", note="float32; inference")
def same(b: Builder, node: ir.Node) -> None:
    value = only_first_output(node)
    if node.op_type == "Dropout" and _drops(node):
        raise Refused("training mode")
    given = node.inputs[0]
    if given is None or given.dtype != ir.DataType.FLOAT or value.dtype != ir.DataType.FLOAT:
        raise Refused("only float32 to float32 is supported")
    _set(b, node, b.stored(given))


@operator("Cast", note="a uint8 input, or float32, to float32")
def cast(b: Builder, node: ir.Node) -> None:
    given, value = node.inputs[0], node.outputs[0]
    if given is None or given.dtype != ir.DataType.UINT8 or value.dtype != ir.DataType.FLOAT:
        same(b, node)
        return
    x = b.stored(given)
    if len(x.shape) != 4:
        x = x.reshape((1, 1, 1, x.size)) or x
    order = (0, 3, 1, 2) if is_interleaved(value) else (0, 1, 2, 3)
    out = b.storage(value.name or "", x.shape, split=2, axes=order)
    for n in range(x.shape[0]):
        b.pixels(*(v.transpose(order).at(0, n) for v in (x, out)))
    _set(b, node, b.reshaped(out, dims(value)))


def is_interleaved(image: ir.Value) -> bool:
    """Whether it is an image [N, H, W, C]: it becomes [N, C, H, W], or its last axis alone is as
    short as pixels are."""
    shape = dims(image)
    if len(shape) != 4:
        return False
    readers = [use.node for use in image.uses()]
    if readers and all(is_to_nchw(node) for node in readers):
        return True
    return shape[3] <= MOST_CHANNELS < shape[1]


def is_to_nchw(node: ir.Node) -> bool:
    """Whether the node transposes [N, H, W, C] to [N, C, H, W]."""
    return node.op_type == "Transpose" and tuple(node.attributes.get_ints("perm", ())) == TO_NCHW


@operator("Reshape", "Flatten", "Squeeze", "Unsqueeze", note="static shapes")
def reshape(b: Builder, node: ir.Node) -> None:
    _set(b, node, b.reshaped(b.stored(node.inputs[0]), dims(node.outputs[0])))


@operator("Transpose")
def transpose(b: Builder, node: ir.Node) -> None:
    x = b.stored(node.inputs[0])
    default = list(range(len(x.shape)))[::-1]
    _set(b, node, x.transpose(node.attributes.get_ints("perm", default)))


@operator("Expand", note="constant shape")
def expand(b: Builder, node: ir.Node) -> None:
    _set(b, node, b.stored(node.inputs[0]).broadcast(dims(node.outputs[0])))


@operator("Slice", note="constant bounds, positive steps")
def slice_(b: Builder, node: ir.Node) -> None:
    x = b.stored(node.inputs[0])
    starts = _ints(node, 1, "starts")
    ends = _ints(node, 2, "ends")
    axes = _ints(node, 3, "axes", default=list(range(len(starts))))
    steps = _ints(node, 4, "steps", default=[1] * len(starts))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        if step < 1:
            raise Refused(f"a step of {step}")
        first, last, _ = slice(start, end, step).indices(size)
        x = x.slice(axis % len(x.shape), first, count=len(range(first, last, step)), step=step)
    _set(b, node, x)


@operator("Split", note="constant sizes")
def split(b: Builder, node: ir.Node) -> None:
    x = b.stored(node.inputs[0])
    axis = node.attributes.get_int("axis", 0) % len(x.shape)
    start = 0
    for value in node.outputs:
        count = dims(value)[axis]
        b.values[value.name or ""] = x.slice(axis, start, count=count)
        start += count


@operator("Concat")
def concat(b: Builder, node: ir.Node) -> None:
    parts = [b.stored(value) for value in node.inputs]
    out = b.new(node.outputs[0], quant=mark_of(node.outputs[0]) or _in_common(b, parts))
    axis = node.attributes.get_int("axis", 0) % len(out.shape)
    start = 0
    for part in parts:
        b.map(c.FIL_MAP_COPY, [part], out.slice(axis, start, count=part.shape[axis]))
        start += part.shape[axis]
    _set(b, node, out)


@operator("Pad", note="constant mode, constant pads and value")
def pad(b: Builder, node: ir.Node) -> None:
    x = b.stored(node.inputs[0])
    mode = node.attributes.get_string("mode", "constant")
    if mode != "constant":
        raise Refused(f'mode "{mode}"; only constant is supported')
    value = _pad_value(node)
    pads = _ints(node, 1, "pads")
    axes = _ints(node, 3, "axes", default=list(range(len(x.shape))))
    out = b.new(node.outputs[0], quant=b.quant_of(x))
    if any(p > 0 for p in pads):
        b.map(c.FIL_MAP_FILL, [], out, act=Activation(lo=value))
    inside = out
    for i, axis in enumerate(axes):
        axis, before, after = axis % len(x.shape), pads[i], pads[len(axes) + i]
        cut = x.shape[axis] - max(0, -before) - max(0, -after)
        if cut < 1:
            raise Refused("its negative pads leave nothing")
        x = x.slice(axis, max(0, -before), count=cut)
        inside = inside.slice(axis, max(0, before), count=cut)
    b.map(c.FIL_MAP_COPY, [x], inside)
    _set(b, node, out)


def _in_common(b: Builder, parts: list[View]) -> Quant | None:
    """What the integers of all parts stand for, if they are such and it is the same."""
    found = {b.quant_of(part) for part in parts}
    return found.pop() if len(found) == 1 else None


def _drops(node: ir.Node) -> bool:
    """Training mode with a ratio that is not 0."""
    training = optional(node, 2)
    return training is not None and scalar(training) != 0 and scalar(optional(node, 1)) != 0


def _pad_value(node: ir.Node) -> float:
    if "value" in node.attributes:
        return node.attributes.get_float("value", 0.0)
    given = optional(node, 2)
    found = 0.0 if given is None else scalar(given)
    if found is None:
        raise Refused("its value is not a constant")
    return found


def _ints(node: ir.Node, index: int, name: str, *, default: list[int] | None = None) -> list[int]:
    """Integers that are an attribute in old opsets and a constant input in new ones."""
    if name in node.attributes:
        return list(node.attributes.get_ints(name, []))
    given = optional(node, index)
    if given is None and default is not None:
        return default
    array = constant(given)
    if array is None:
        raise Refused(f"its {name} are not constant")
    return [int(i) for i in array.reshape(-1)]


def _set(b: Builder, node: ir.Node, view: View) -> None:
    b.values[node.outputs[0].name or ""] = view
