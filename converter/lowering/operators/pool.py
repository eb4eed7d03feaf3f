"""Pooling over windows: POOL, plane by plane, one operation per image."""

from __future__ import annotations

import math

import onnx_ir as ir

from filigree.converter.lowering.builder import Builder, Refused
from filigree.converter.lowering.operators.registry import (
    int8_result,
    only_first_output,
    operand,
    operator,
)
from filigree.converter.lowering.operators.window import Window, as_planes, window_of
from filigree.converter.lowering.program import PoolParams
from filigree.converter.lowering.view import View
from filigree.converter.passes.graph import dims
from filigree.converter.quantize.marks import AWAY, TIES, Quant
from filigree.native import enums as c

MOST_AWAY = 1 << 11  # taps: native/runtime/ops/qpool.c


@operator("MaxPool", note="1-D and 2-D; without indices")
def max_pool(b: Builder, node: ir.Node) -> None:
    _pool(b, node, c.FIL_POOL_MAX)


@operator("AveragePool", note="1-D and 2-D")
def average_pool(b: Builder, node: ir.Node) -> None:
    padded = node.attributes.get_int("count_include_pad", 0)
    _pool(b, node, c.FIL_POOL_AVG_PAD if padded else c.FIL_POOL_AVG)


def _mode(b: Builder, node: ir.Node, x: View, mode: int, quant: Quant | None) -> int:
    """Means of integers may have to round ties as the model's own runtime does."""
    taps = math.prod(node.attributes.get_ints("kernel_shape", []))
    away = node.metadata_props.get(TIES) == AWAY and taps <= MOST_AWAY
    keeps = quant is not None and quant == b.quant_of(x)
    return c.FIL_POOL_AVG_AWAY if mode == c.FIL_POOL_AVG and away and keeps else mode


def _pool(b: Builder, node: ir.Node, mode: int) -> None:
    quant = int8_result(b, node, node.inputs[:1])
    x = as_planes(operand(b, node.inputs[0], quant))
    if mode == c.FIL_POOL_MAX and quant is not None:
        quant = b.quant_of(x)  # rounding again comes later
    mode = _mode(b, node, x, mode, quant)
    value = only_first_output(node)
    kernel = tuple(node.attributes.get_ints("kernel_shape", []))
    if len(kernel) != len(dims(value)) - 2:
        raise Refused(f"kernel_shape {list(kernel)} for an input of rank {len(dims(value))}")
    window = window_of(node, x, kernel)
    shape = dims(value)
    out = b.storage(value.name or "", shape, split=2, axes=range(len(shape)), quant=quant)
    for n in range(x.shape[0]):
        image = _own_planes(b, x.at(0, n))
        b.emit(c.FIL_OP_POOL, [image], out.at(0, n), _params(window, image, mode))
    b.values[value.name or ""] = out


def _own_planes(b: Builder, image: View) -> View:
    """Planes that are the tensor's pitch apart, as POOL wants them."""
    apart = image.shape[0] == 1 or image.strides[0] == b.tensors[image.tensor].pitch
    return image if apart and b.is_planar(image) else b.planes(image)


def _params(w: Window, image: View, mode: int) -> PoolParams:
    return PoolParams(
        channels=image.shape[0],
        in_h=w.size[0],
        in_w=w.size[1],
        out_h=w.out[0],
        out_w=w.out[1],
        kh=w.kernel[0],
        kw=w.kernel[1],
        sh=w.stride[0],
        sw=w.stride[1],
        dh=w.dilation[0],
        dw=w.dilation[1],
        pad_top=w.begin[0],
        pad_left=w.begin[1],
        pad_bottom=w.end[0],
        pad_right=w.end[1],
        mode=mode,
    )
