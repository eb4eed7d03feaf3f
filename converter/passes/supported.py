"""Refuse operators that there is no way to run, all of them at once.

1. An operator is known if ``lowering.supported_ops`` has it and it is ONNX's own.
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
        Unsupported(_full_name(node), node.name or "", "no such operator here", cut_before(node))
        for node in model.graph
        if _full_name(node) not in known
    ]
    if problems:
        raise UnsupportedModel.of(source_of(model), problems)
    return False


def _full_name(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
