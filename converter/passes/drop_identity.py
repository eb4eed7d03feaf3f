"""Identity goes: its readers read what it reads.

1. An output of the model keeps its name, which the value before the Identity takes.
2. An Identity from an input, a constant or another output of the model to an output stays: both
   names are needed.
3. An Identity whose result is marked in another way than what it reads rounds it: it stays.
"""

from __future__ import annotations

import onnx_ir as ir

from filigree.converter.passes.graph import bypass
from filigree.converter.quantize.marks import mark_of, port_dtype, set_port_dtype


def apply(model: ir.Model) -> bool:
    """Remove every Identity that can go."""
    changed = False
    for node in list(model.graph):
        if node.op_type == "Identity" and _can_go(node):
            source, out = node.inputs[0], node.outputs[0]
            assert source is not None
            if out.is_graph_output():
                set_port_dtype(source, port_dtype(out))
            bypass(node, source)
            changed = True
    return changed


def _can_go(node: ir.Node) -> bool:
    source = node.inputs[0]
    if source is None or mark_of(source) != mark_of(node.outputs[0]):
        return False
    return not node.outputs[0].is_graph_output() or (
        source.producer() is not None and not source.is_graph_output()
    )
