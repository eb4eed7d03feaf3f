"""Fully connected layers and products of two activations.

1. Constant right operand, one row: SPMV over contiguous elements.
2. Constant right operand, more rows: SPMM with the rows as positions; the result lies transposed,
   which the next layer reads as it is.
3. Two activations: MATMUL.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from filigree.converter.lowering.builder import Builder, Refused, finite, unrolled
from filigree.converter.lowering.operators.conv import bias_of, check_cols, int8_layer
from filigree.converter.lowering.operators.registry import operand, operator, optional
from filigree.converter.lowering.program import F32, ConvParams, MatmulParams
from filigree.converter.lowering.view import View, loops
from filigree.converter.passes.graph import constant, dims
from filigree.native import enums as c


@operator("Gemm")
def gemm(b: Builder, node: ir.Node) -> None:
    alpha = node.attributes.get_float("alpha", 1.0)
    beta = node.attributes.get_float("beta", 1.0)
    x = operand(b, node.inputs[0], int8_layer(b, node))
    if node.attributes.get_int("transA", 0):
        x = x.transpose((1, 0))
    array = constant(node.inputs[1])
    third = optional(node, 2)
    if array is None:
        _gemm_of_activations(b, node, x, alpha, beta)
        return
    matrix = finite(_name(node.inputs[1]), array) * np.float32(alpha)
    matrix = matrix if node.attributes.get_int("transB", 0) else matrix.T
    rows = matrix.shape[0]
    bias, added = np.zeros(rows, np.float32), third
    known = constant(third)
    if known is not None and known.size in (1, rows) and known.size == math.prod(known.shape[-1:]):
        shift = finite(_name(third), known) * np.float32(beta)
        bias, added = np.broadcast_to(shift.reshape(-1), (rows,)).copy(), None
    b.values[_name(node.outputs[0])] = linear(b, node, x, matrix, bias)
    if added is not None:
        _add(b, node, added, beta)


@operator("MatMul", note="constant right operand: any left; two activations: 2-D and batches")
def matmul(b: Builder, node: ir.Node) -> None:
    out = node.outputs[0]
    array = constant(node.inputs[1])
    x = operand(b, node.inputs[0], int8_layer(b, node))
    if array is not None and array.ndim == 2 and len(x.shape) > 1:
        matrix = finite(_name(node.inputs[1]), array).T
        b.values[_name(out)] = linear(b, node, x, matrix, bias_of(node, matrix.shape[0]))
        return
    y = b.view(node.inputs[1])
    left = x.unsqueeze(0) if len(x.shape) == 1 else x
    right = y.unsqueeze(1) if len(y.shape) == 1 else y
    rank = max(len(left.shape), len(right.shape))
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    result = b.allocate(_name(out), shape)
    _multiply(b, _ranked(left, batch), _ranked(right, batch), result, rank - 2)
    b.values[_name(out)] = b.reshaped(result, dims(out))


def linear(b: Builder, node: ir.Node, x: View, matrix: F32, bias: F32) -> View:
    """x [..., cols] times ``matrix`` [rows, cols] transposed, plus ``bias``: [..., rows]."""
    rows, cols = matrix.shape
    if x.shape[-1] != cols:
        raise Refused(f"weights for {cols} inputs, given {x.shape[-1]}")
    check_cols(cols)
    quant = int8_layer(b, node)
    key = b.add_weights(node, matrix, bias, given=b.quant_of(x), to=quant)
    lead = x.shape[:-1]
    positions = math.prod(lead)
    name = _name(node.outputs[0])
    if positions == 1:
        out = b.allocate(name, (*lead, rows), quant=quant)
        flat = b.row_major(x)
        b.emit(c.FIL_OP_SPMV, [flat], out, ConvParams(cols), weights=key)
        return out
    axes = (len(lead), *range(len(lead)))
    planes = x.reshape((positions, cols))
    image = planes.transpose((1, 0)).unsqueeze(1) if planes is not None else None
    if image is None or not b.is_planar(image):
        given = b.quant_of(x)
        stored = b.storage(f"{x.tensor}.planes", x.shape, split=1, axes=axes, quant=given)
        b.map(c.FIL_MAP_COPY, [x], stored)
        again = stored.reshape((positions, cols))
        assert again is not None  # the leading axes were stored next to each other
        image = again.transpose((1, 0)).unsqueeze(1)
    out = b.storage(name, (*lead, rows), split=1, axes=axes, quant=quant)
    params = ConvParams(
        cols,
        in_w=positions,
        out_w=positions,
        cs=image.strides[0],
        ys=positions,
        xs=1,
    )
    b.emit(c.FIL_OP_SPMM, [image], out, params, weights=key)
    return out


def _gemm_of_activations(b: Builder, node: ir.Node, x: View, alpha: float, beta: float) -> None:
    y = b.view(node.inputs[1])
    if node.attributes.get_int("transB", 0):
        y = y.transpose((1, 0))
    result = b.allocate(_name(node.outputs[0]), (x.shape[0], y.shape[1]))
    _multiply(b, x, y, result, 0)
    b.values[_name(node.outputs[0])] = _times(b, f"{node.name}.alpha", result, alpha)
    third = optional(node, 2)
    if third is not None:
        _add(b, node, third, beta)


def _add(b: Builder, node: ir.Node, third: ir.Value, beta: float) -> None:
    """Add beta * C to the node's result."""
    result = b.values[_name(node.outputs[0])]
    shift = b.view(third)
    shift = _times(b, f"{third.name}.beta", shift, beta)
    out = b.allocate(f"{node.outputs[0].name}.sum", result.shape, like=result)
    b.map(c.FIL_MAP_ADD, [result, shift], out)
    b.values[_name(node.outputs[0])] = out


def _times(b: Builder, name: str, x: View, factor: float) -> View:
    if factor == 1.0:
        return x
    out = b.allocate(f"{name}.scaled", x.shape, like=x)
    b.map(c.FIL_MAP_MUL, [x, b.constant(name, np.full((), factor, np.float32))], out)
    return out


def _multiply(b: Builder, x: View, y: View, out: View, batched: int) -> None:
    """out[..., m, n] = sum over k of x[..., m, k] y[..., k, n]; the first axes are batches."""
    if y.strides[-1] != 1 and y.shape[-1] > 1:
        y = b.copy(y)
    nest = loops(out.shape[:batched], *(v.strides[:batched] for v in (x, y, out)))
    for shift, inner in unrolled(nest, 1, operands=3):
        batch, (ab, bb, cb) = inner[0] if inner else (1, (0, 0, 0))
        params = MatmulParams(
            batch=batch,
            m=x.shape[-2],
            n=y.shape[-1],
            k=x.shape[-1],
            ab=ab,
            am=x.strides[-2],
            ak=x.strides[-1],
            bb=bb,
            bk=y.strides[-2],
            cb=cb,
            cm=out.strides[-2],
        )
        moved = [
            View(v.tensor, v.offset + s, v.shape, v.strides)
            for v, s in zip((x, y, out), shift, strict=True)
        ]
        b.emit(c.FIL_OP_MATMUL, moved[:2], moved[2], params)


def _ranked(x: View, batch: tuple[int, ...]) -> View:
    return x.broadcast((*batch, *x.shape[-2:]))


def _name(value: ir.Value | None) -> str:
    return (value.name or "") if value is not None else ""
