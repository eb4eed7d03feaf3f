"""Cut the model at the values that the user names.

1. A name is a value's, or else a node's (its first output).
2. A value named twice is one output.
3. All names that the model does not have are refused at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from filigree.converter.errors import UsageError
from filigree.converter.frontends.onnx import source_of


def apply(model: ir.Model, outputs: Sequence[str]) -> bool:
    """Make ``outputs`` the outputs of ``model``; none: leave them. Raises UsageError."""
    if not outputs:
        return False
    values: dict[str, ir.Value] = {
        n.name: n.outputs[0] for n in model.graph if n.name and n.outputs
    }
    values |= {v.name: v for n in model.graph for v in n.outputs if v.name}
    unknown = [name for name in outputs if name not in values]
    if unknown:
        raise UsageError(
            f"{source_of(model)} has no value or node of that name",
            unknown,
            hint=f"filigree inspect {source_of(model)}",
        )
    model.graph.outputs.clear()
    model.graph.outputs.extend({id(values[name]): values[name] for name in outputs}.values())
    return True
