"""Refuse operators that there is no way to run, all of them at once.

1. An operator is known if ``lowering.supported_ops`` has it and it is ONNX's own.
2. A front end that cannot write an operator leaves a node of another domain with a ``reason``.
"""

from __future__ import annotations

import onnx_ir as ir

from filigree.converter.errors import Unsupported, UnsupportedModel
from filigree.converter.frontends.onnx import source_of
from filigree.converter.passes.graph import cut_before


def apply(model: ir.Model) -> bool:
    """Change nothing. Raises UnsupportedModel."""
    from filigree.converter.lowering import supported_ops

    known = supported_ops()
    problems = [
        Unsupported(full_name(node), node.name or "", _reason(node), cut_before(node))
        for node in model.graph
        if full_name(node) not in known
    ]
    if problems:
        raise UnsupportedModel.of(source_of(model), problems)
    return False


def _reason(node: ir.Node) -> str:
    return node.attributes.get_string("reason", None) or "no such operator here"


def full_name(node: ir.Node) -> str:
    """An operator's name, with its domain unless it is ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
