"""Convolutions.

1. Depthwise: DWCONV over planes.
2. One output position that reads the whole input: SPMV over its contiguous elements.
3. Pointwise over planes: SPMM. Everything else: CONV, which reads any strides.
4. Grouped, not depthwise: one matrix with zeros outside the groups' blocks.
5. A batch is one operation per image.
6. In int8 if weights, input and result are (``passes.quantized``), else in float32.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from filigree.converter.lowering.builder import Builder, Refused, finite
from filigree.converter.lowering.operators.registry import (
    int8_result,
    operand,
    operator,
    optional,
)
from filigree.converter.lowering.operators.window import Window, as_planes, window_of
from filigree.converter.lowering.program import F32, ConvParams, Place
from filigree.converter.lowering.view import View
from filigree.converter.passes.graph import constant, dims
from filigree.converter.quantize.marks import ROW_SCALES, Quant
from filigree.native import enums as c

MOST_MATRIX = 1 << 26  # elements of a grouped convolution's matrix


@operator("Conv", note="1-D and 2-D; constant weights; any group, stride, dilation and padding")
def conv(b: Builder, node: ir.Node) -> None:
    quant = int8_layer(b, node)
    x = as_planes(operand(b, node.inputs[0], quant))
    weight, bias = weights_of(node)
    groups = node.attributes.get_int("group", 1)
    window = window_of(node, x, weight.shape[2:])
    rows, taken = weight.shape[:2]
    if taken * groups != x.shape[1] or rows % groups:
        raise Refused(
            f"weights {list(weight.shape)} in {groups} groups do not fit {x.shape[1]} channels"
        )
    out_shape = dims(node.outputs[0])
    depthwise = groups == rows == x.shape[1] and groups > 1
    matrix = weight.reshape(rows, -1) if depthwise else _matrix(weight, groups)
    check_cols(matrix.shape[1])
    key = b.add_weights(node, matrix, bias, given=b.quant_of(x), to=quant)
    flat = window.covers_all and not depthwise
    name = node.outputs[0].name or ""
    split = 1 if flat else 2
    out = b.storage(name, out_shape, split=split, axes=range(len(out_shape)), quant=quant)
    for n in range(x.shape[0]):
        image, result = x.at(0, n), out.at(0, n)
        if flat:
            params = ConvParams(matrix.shape[1])
            b.emit(c.FIL_OP_SPMV, [b.row_major(image)], result, params, weights=key)
        elif depthwise:
            _emit(b, c.FIL_OP_DWCONV, b.planar(image), result, window, key)
        elif window.is_pointwise and groups == 1 and b.is_planar(image):
            _emit(b, c.FIL_OP_SPMM, image, result, window, key)
        else:
            _emit(b, c.FIL_OP_CONV, _unwoven(b, image), result, window, key)
    b.values[name] = out


def _unwoven(b: Builder, image: View) -> View:
    """An input [C, H, W] of interleaved pixels, plane by plane: the kernel would gather every
    element as often as its window reads it."""
    tensor = b.tensors[image.tensor]
    if image.strides[2] == 1 or tensor.place is not Place.INPUT or tensor.dtype != "float32":
        return image
    out = b.storage(f"{image.tensor}.planes", image.shape, split=1, axes=range(3))
    b.pixels(image, out)
    return out


def int8_layer(b: Builder, node: ir.Node) -> Quant | None:
    """What a layer's result is rounded to, if it computes in int8."""
    if optional(node, ROW_SCALES) is None:
        return None
    return int8_result(b, node, node.inputs[:1])


def weights_of(node: ir.Node) -> tuple[F32, F32]:
    """Constant weights and bias [rows] of a convolution."""
    array = constant(node.inputs[1])
    if array is None:
        raise Refused("its weights are not constant")
    weight = finite(node.inputs[1].name or "weights" if node.inputs[1] else "weights", array)
    return weight, bias_of(node, weight.shape[0])


def bias_of(node: ir.Node, rows: int) -> F32:
    """The third input as one value per row; zeros if there is none."""
    given = optional(node, 2)
    if given is None:
        return np.zeros(rows, np.float32)
    array = constant(given)
    if array is None or array.size != rows:
        raise Refused("its bias is not a constant with one value per output channel")
    return finite(given.name or "bias", array.reshape(rows))


def check_cols(cols: int) -> None:
    """Raise Refused for a matrix that is too wide for the packed model."""
    if cols > c.FIL_MAX_COLS:
        raise Refused(f"{cols} inputs per output, at most {c.FIL_MAX_COLS} can be stored")


def _matrix(weight: F32, groups: int) -> F32:
    """[rows, channels * taps], zero outside the groups."""
    rows, taken = weight.shape[:2]
    flat = weight.reshape(rows, -1)
    if groups == 1:
        return flat
    cols = flat.shape[1]
    if rows * cols * groups > MOST_MATRIX:
        raise Refused(f"{groups} groups of {taken} channels make too large a matrix")
    whole = np.zeros((rows, groups, cols), np.float32)
    whole[np.arange(rows), np.arange(rows) // (rows // groups)] = flat
    return whole.reshape(rows, groups * cols)


def _emit(b: Builder, kind: int, image: View, out: View, w: Window, key: str) -> None:
    cs, ys, xs = image.strides
    if kind in (c.FIL_OP_SPMM, c.FIL_OP_DWCONV):
        ys, xs = w.size[1], 1  # what they are, but for axes of one element
    params = ConvParams(
        channels=image.shape[0],
        in_h=w.size[0],
        in_w=w.size[1],
        out_h=w.out[0],
        out_w=w.out[1],
        cs=cs,
        ys=ys,
        xs=xs,
        kh=w.kernel[0],
        kw=w.kernel[1],
        sh=w.stride[0],
        sw=w.stride[1],
        dh=w.dilation[0],
        dw=w.dilation[1],
        pad_top=w.begin[0],
        pad_left=w.begin[1],
    )
    b.emit(kind, [image], out, params, weights=key)
