"""Reductions, global pools among them: REDUCE over one arithmetic walk at a time."""

from __future__ import annotations

import onnx_ir as ir

from filigree.converter.lowering.builder import Builder, Refused, unrolled
from filigree.converter.lowering.operators.registry import (
    int8_result,
    operand,
    operator,
    optional,
)
from filigree.converter.lowering.program import ReduceParams
from filigree.converter.lowering.view import View, by_memory, loops, padded
from filigree.converter.passes.graph import constant, dims
from filigree.converter.quantize.marks import Quant
from filigree.native import enums as c

FUNCTIONS = {
    "GlobalAveragePool": c.FIL_REDUCE_MEAN,
    "GlobalMaxPool": c.FIL_REDUCE_MAX,
    "ReduceMean": c.FIL_REDUCE_MEAN,
    "ReduceSum": c.FIL_REDUCE_SUM,
    "ReduceMax": c.FIL_REDUCE_MAX,
}


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(b: Builder, node: ir.Node) -> None:
    x = b.stored(node.inputs[0])
    _reduce(b, node, tuple(range(2, len(x.shape))))


@operator("ReduceMean", "ReduceSum", "ReduceMax", note="constant axes")
def reduce(b: Builder, node: ir.Node) -> None:
    x = b.stored(node.inputs[0])
    _reduce(b, node, _axes(node, len(x.shape)))


def _axes(node: ir.Node, rank: int) -> tuple[int, ...]:
    given = optional(node, 1)
    if given is not None:
        array = constant(given)
        if array is None:
            raise Refused("its axes are not constant")
        axes = [int(a) for a in array.reshape(-1)]
    else:
        axes = list(node.attributes.get_ints("axes", []))
    if not axes and not node.attributes.get_int("noop_with_empty_axes", 0):
        axes = list(range(rank))
    return tuple(sorted({a % rank for a in axes}))


def _reduce(b: Builder, node: ir.Node, axes: tuple[int, ...]) -> None:
    fn = FUNCTIONS[node.op_type]
    quant = int8_result(b, node, node.inputs[:1])
    x = operand(b, node.inputs[0], quant)
    if len(_walk(x, axes)) > 1 and quant is not None and fn != c.FIL_REDUCE_MAX:
        quant, x = None, b.view(node.inputs[0])  # parts of a sum are not to be rounded
    if fn == c.FIL_REDUCE_MAX and quant is not None:
        quant = b.quant_of(x)  # rounding again comes later
    while len(_walk(x, axes)) > 1:  # not one walk: the outermost axis alone first
        first = max(axes, key=lambda a: x.strides[a])
        x = _reduced(b, f"{x.tensor}.part", x, (first,), fn, quant)
        axes = tuple(a for a in axes if a != first)
    out = node.outputs[0]
    result = _reduced(b, out.name or "", x, axes, fn, quant)
    b.values[out.name or ""] = b.reshaped(result, dims(out))


def _walk(x: View, axes: tuple[int, ...]) -> list[tuple[int, tuple[int, ...]]]:
    order = [a for a in by_memory(x) if a in axes]
    return loops([x.shape[a] for a in order], [x.strides[a] for a in order])


def _reduced(
    b: Builder, name: str, x: View, axes: tuple[int, ...], fn: int, quant: Quant | None
) -> View:
    """``x`` with ``axes``, which are one walk, reduced to one element each."""
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    out = b.allocate(name, shape, quant=quant)
    walk = _walk(x, axes)
    count, (step,) = walk[0] if walk else (1, (0,))
    kept = [a for a in by_memory(out) if a not in axes]
    nest = loops(
        [x.shape[a] for a in kept], [x.strides[a] for a in kept], [out.strides[a] for a in kept]
    )
    for (dx, dout), inner in unrolled(nest, 2, operands=2):
        (outer, outer_steps), (most, inner_steps) = padded(inner, 2, operands=2)
        params = ReduceParams(
            outer=outer,
            reduce=count,
            inner=most,
            outer_s=outer_steps[0],
            reduce_s=step,
            inner_s=inner_steps[0],
            outer_so=outer_steps[1],
            inner_so=inner_steps[1],
            fn=fn,
        )
        b.emit(
            c.FIL_OP_REDUCE,
            [View(x.tensor, x.offset + dx, x.shape, x.strides)],
            View(out.tensor, out.offset + dout, out.shape, out.strides),
            params,
        )
    return out
