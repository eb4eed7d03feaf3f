"""Softmax over one axis, or (before opset 13) over all axes from one on."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from filigree.converter.lowering.builder import Builder, unrolled
from filigree.converter.lowering.operators.registry import int8_result, operand, operator
from filigree.converter.lowering.program import SoftmaxParams
from filigree.converter.lowering.view import View, by_memory, loops, padded
from filigree.converter.passes.graph import dims
from filigree.native import enums as c

SINGLE_AXIS_OPSET = 13
LEVELS = 256  # of int8


@operator("Softmax")
def softmax(b: Builder, node: ir.Node) -> None:
    quant = int8_result(b, node, node.inputs[:1])
    x = operand(b, node.inputs[0], quant)
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    single = graph.opset_imports.get("", SINGLE_AXIS_OPSET) >= SINGLE_AXIS_OPSET
    axis = node.attributes.get_int("axis", -1 if single else 1) % max(1, len(x.shape))
    name = node.outputs[0].name or ""
    if not single:
        x = b.reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
        axis = 1
    out = b.allocate(name, x.shape, like=x, quant=quant)
    if out.strides != x.strides:  # both sides must be laid out alike
        x = b.copy(x, like=x)
        out = b.allocate(name, x.shape, like=x, quant=quant)
    _emit(b, x, out, axis)
    b.values[name] = b.reshaped(out, dims(node.outputs[0]))


def _powers(b: Builder, x: View) -> list[View]:
    """exp of the steps from the greatest down, which is all that int8 needs; nothing for floats."""
    quant = b.quant_of(x)
    if quant is None:
        return []
    steps = np.arange(LEVELS) * np.float64(quant.scale)
    return [b.constant(f"{x.tensor}.powers", np.exp(-steps).astype(np.float32))]


def _emit(b: Builder, x: View, out: View, axis: int) -> None:
    powers = _powers(b, x)
    kept = [a for a in by_memory(x) if a != axis]
    nest = loops([x.shape[a] for a in kept], [x.strides[a] for a in kept])
    for offsets, inner in unrolled(nest, 2, operands=1):
        shift = offsets[0]
        (outer, outer_steps), (most, inner_steps) = padded(inner, 2, operands=1)
        params = SoftmaxParams(
            outer=outer,
            axis=x.shape[axis],
            inner=most,
            outer_s=outer_steps[0],
            axis_s=x.strides[axis],
            inner_s=inner_steps[0],
        )
        b.emit(
            c.FIL_OP_SOFTMAX,
            [View(x.tensor, x.offset + shift, x.shape, x.strides), *powers],
            View(out.tensor, out.offset + shift, out.shape, out.strides),
            params,
        )
