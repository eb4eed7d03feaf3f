"""Operators on integers, which carry their scales as inputs, become QuantizeLinear and
DequantizeLinear around the operators on floats: one form for the passes that follow.

1. QLinearConv and QLinearMatMul; com.microsoft's QGemm, QLinearAdd, QLinearMul, QLinearConcat,
   QLinearAveragePool, QLinearGlobalAveragePool, QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax.
2. An int32 bias is in steps of the input's scale times the weights', and of alpha in QGemm.
3. Left as they are, to be refused: channels last, scales of a bias that are not constant, a result
   without a zero point (which says its type), a softmax of another opset's meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from filigree.converter.passes.graph import bypass, constant, initializer

MICROSOFT = "com.microsoft"
UNARY = {
    "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearSigmoid": "Sigmoid",
    "QLinearSoftmax": "Softmax",
}
BINARY = {"QLinearAdd": "Add", "QLinearMul": "Mul"}
OWN = ("channels_last", "opset")  # attributes that the operators on floats do not have
SINGLE_AXIS_OPSET = 13  # from which on Softmax is of one axis


def apply(model: ir.Model) -> bool:
    """Rewrite every such node that can be."""
    changed = False
    for node in list(model.graph):
        rule = _rule(node)
        if rule is not None:
            changed |= rule(_Writer(model, node))
    return changed


def _rule(node: ir.Node) -> Callable[[_Writer], bool] | None:
    if node.domain in ("", "ai.onnx"):
        return {"QLinearConv": _conv, "QLinearMatMul": _matmul}.get(node.op_type)
    if node.domain != MICROSOFT:
        return None
    if node.op_type in UNARY:
        return _unary
    if node.op_type in BINARY:
        return _binary
    return {"QGemm": _gemm, "QLinearConcat": _concat}.get(node.op_type)


class _Writer:
    """Nodes in the place of ``node``."""

    def __init__(self, model: ir.Model, node: ir.Node) -> None:
        self.model, self.node = model, node

    def given(self, i: int) -> ir.Value | None:
        return self.node.inputs[i] if i < len(self.node.inputs) else None

    def real(self, i: int, *, axis: int = 0) -> ir.Value:
        """Input ``i``, whose scale and zero point follow it, in float."""
        inputs = [self.given(k) for k in (i, i + 1, i + 2)]
        scale = constant(inputs[1])
        attributes = {"axis": axis} if scale is not None and scale.size > 1 else {}
        return self._add(ir.node("DequantizeLinear", inputs, attributes, name=self._name(f"in{i}")))

    def bias(self, i: int, factors: Sequence[int], *, alpha: float = 1.0) -> ir.Value | None:
        """Input ``i``, int32, in float; ``factors``: the inputs whose product is its scale. None if
        one of them is not constant."""
        steps = np.array(alpha, np.float64)
        for k in factors:
            scale = constant(self.given(k))
            if scale is None:
                return None
            steps = steps * scale.astype(np.float64).reshape(-1)
        value = self.given(i)
        assert value is not None
        steps = steps.reshape(()) if steps.size == 1 else steps
        scale_of = initializer(self.model, value, np.asarray(steps, np.float32))
        attributes = {"axis": 0} if steps.ndim else {}
        made = ir.node("DequantizeLinear", [value, scale_of], attributes, name=self._name("bias"))
        return self._add(made)

    def finish(self, op_type: str, inputs: Sequence[ir.Value], *, to: int) -> bool:
        """``op_type`` on ``inputs``, with the node's name and attributes, rounded to the scale and
        zero point at input ``to``; a float if there are none."""
        node, old = self.node, self.node.outputs[0]
        kept = [a for name, a in node.attributes.items() if name not in OWN]
        made = ir.Node("", op_type, inputs, attributes=kept, name=node.name)
        value = self._add(made)
        if self.given(to) is not None:
            scales = [self.given(to), self.given(to + 1)]
            value = self._add(
                ir.node("QuantizeLinear", [value, *scales], name=self._name("quantize"))
            )
        name, value.shape, value.type = old.name, old.shape, old.type
        bypass(node, value)
        value.name = name
        return True

    def _name(self, part: str) -> str:
        return f"{self.node.name or self.node.outputs[0].name}.{part}"

    def _add(self, made: ir.Node) -> ir.Value:
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, made)
        return made.outputs[0]


def _conv(w: _Writer) -> bool:
    if w.given(7) is None:
        return False
    inputs = [w.real(0), w.real(3, axis=0)]
    if w.given(8) is not None:
        bias = w.bias(8, (1, 4))
        if bias is None:
            return False
        inputs.append(bias)
    return w.finish("Conv", inputs, to=6)


def _matmul(w: _Writer) -> bool:
    right = w.given(3)
    if w.given(7) is None or right is None:
        return False
    rank = len(right.shape) if right.shape is not None else 1
    return w.finish("MatMul", [w.real(0), w.real(3, axis=max(0, rank - 1))], to=6)


def _gemm(w: _Writer) -> bool:
    if w.given(7) is not None and w.given(8) is None:
        return False
    turned = w.node.attributes.get_int("transB", 0)
    inputs = [w.real(0), w.real(3, axis=0 if turned else 1)]
    if w.given(6) is not None:
        bias = w.bias(6, (1, 4), alpha=w.node.attributes.get_float("alpha", 1.0))
        if bias is None:
            return False
        inputs.append(bias)
    return w.finish("Gemm", inputs, to=7)


def _unary(w: _Writer) -> bool:
    attributes = w.node.attributes
    if w.given(4) is None or attributes.get_int("channels_last", 0) != 0:
        return False
    if w.node.op_type == "QLinearSoftmax" and not _same_softmax(w):
        return False
    return w.finish(UNARY[w.node.op_type], [w.real(0)], to=3)


def _same_softmax(w: _Writer) -> bool:
    """Along the last axis, or both opsets mean the same."""
    asked = w.node.attributes.get_int("opset", SINGLE_AXIS_OPSET)
    have = w.model.graph.opset_imports.get("", SINGLE_AXIS_OPSET)
    alike = (asked >= SINGLE_AXIS_OPSET) == (have >= SINGLE_AXIS_OPSET)
    return "axis" in w.node.attributes and (alike or w.node.attributes.get_int("axis", 0) == -1)


def _binary(w: _Writer) -> bool:
    if w.given(7) is None:
        return False
    return w.finish(BINARY[w.node.op_type], [w.real(0), w.real(3)], to=6)


def _concat(w: _Writer) -> bool:
    if w.given(1) is None:
        return False
    parts = [w.real(i) for i in range(2, len(w.node.inputs), 3)]
    return w.finish("Concat", parts, to=0)
