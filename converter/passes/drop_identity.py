"""Identity goes: its readers read what it reads.

1. An output of the model keeps its name, which the value before the Identity takes.
2. An Identity from an input, a constant or another output of the model to an output stays: both
   names are needed.
"""

from __future__ import annotations

import onnx_ir as ir

from filigree.converter.passes.graph import bypass


def apply(model: ir.Model) -> bool:
    """Remove every Identity that can go."""
    changed = False
    for node in list(model.graph):
        if node.op_type == "Identity" and _can_go(node):
            assert node.inputs[0] is not None
            bypass(node, node.inputs[0])
            changed = True
    return changed


def _can_go(node: ir.Node) -> bool:
    source = node.inputs[0]
    if source is None:
        return False
    return not node.outputs[0].is_graph_output() or (
        source.producer() is not None and not source.is_graph_output()
    )
