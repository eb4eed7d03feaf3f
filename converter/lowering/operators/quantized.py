"""Integers that ``passes.quantized`` could make no marks of: refused, with the reason."""

from __future__ import annotations

import onnx_ir as ir

from filigree.converter.lowering.builder import Builder, Refused
from filigree.converter.lowering.operators.registry import operator
from filigree.converter.passes.graph import constant

EIGHT_BITS = (ir.DataType.INT8, ir.DataType.UINT8)


@operator("QuantizeLinear", "DequantizeLinear", note="int8 and uint8, one scale for a tensor")
def quantize(_: Builder, node: ir.Node) -> None:
    integers = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    if integers is not None and integers.dtype not in (*EIGHT_BITS, ir.DataType.FLOAT):
        raise Refused(f"{str(integers.dtype).lower()}; int8 and uint8 are supported")
    scale = constant(node.inputs[1])
    if scale is None:
        raise Refused("its scale is not a constant")
    if scale.size != 1:
        raise Refused("a scale for each channel of an activation")
    raise Refused("its scale, zero point or types are not those that its input was made with")
