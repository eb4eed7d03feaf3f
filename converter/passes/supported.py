"""Refuse operators that there is no way to run, all of them at once.

1. An operator is known if ``lowering.supported_ops`` has it and it is ONNX's own.
2. A front end that cannot write an operator leaves a node of another domain with a ``reason``.
3. A quantised model cannot stay ONNX and be made another: it has no float32 weights to work on.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from filigree.converter.errors import Unsupported, UnsupportedModel
from filigree.converter.frontends.onnx import source_of
from filigree.converter.passes.graph import cut_before

QUANTIZED = ("QuantizeLinear", "DequantizeLinear")


def apply(model: ir.Model, *, portable: bool = False) -> bool:
    """Change nothing. ``portable``: rule 2 holds. Raises UnsupportedModel."""
    from filigree.converter.lowering import supported_ops

    known = supported_ops()
    reasons = ((node, _reason(node, known, portable)) for node in model.graph)
    problems = [
        Unsupported(full_name(node), node.name or "", reason, cut_before(node))
        for node, reason in reasons
        if reason
    ]
    if problems:
        raise UnsupportedModel.of(source_of(model), problems)
    return False


def _reason(node: ir.Node, known: Collection[str], portable: bool) -> str:
    name = full_name(node)
    if name not in known:
        return node.attributes.get_string("reason", None) or "no such operator here"
    if portable and name in QUANTIZED:
        return "work on the float32 model, then quantise it"
    return ""


def full_name(node: ir.Node) -> str:
    """An operator's name, with its domain unless it is ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
