"""Compute what depends on no input, once and for all (onnxscript's folding, bounded).

1. Only deterministic operators of ONNX itself are computed.
2. Only where the result's shape is known beforehand and within MOST_ELEMENTS, and all results
   together within FREE_ELEMENTS and MOST_GROWTH times the constants that the file has: a small file
   must not unpack to a large model.
3. onnxscript is loaded only where there is something to fold.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from filigree.converter.errors import BadFile
from filigree.converter.frontends.onnx import source_of
from filigree.converter.passes.graph import forget_names

MOST_ELEMENTS = 1 << 26
FREE_ELEMENTS = 1 << 24
MOST_GROWTH = 8  # every weight dequantized by spelled-out arithmetic, transposed and reshaped
SHAPE_OPS = frozenset({"Shape", "Size", "ConstantOfShape", "Range"})


def apply(model: ir.Model) -> bool:
    """Fold. Raises BadFile if a constant part of the model cannot be computed."""
    if not any(_interesting(node) for node in model.graph):
        return False
    from onnxscript.optimizer import fold_constants

    try:
        result = fold_constants(
            model,
            onnx_shape_inference=True,
            input_size_limit=MOST_ELEMENTS,
            output_size_limit=MOST_ELEMENTS,
            should_fold=_Budget(model).should_fold,
        )
    except Exception as error:  # the evaluator raises what numpy and its operators raise
        cause = error.__cause__ or error
        problem = f"{error}: {cause}" if cause is not error else str(error)
        raise BadFile(f"{source_of(model)} has constants that cannot be computed", [problem]) from (
            error
        )
    _name_new_nodes(model)
    forget_names(model)
    return bool(result.modified)


def _interesting(node: ir.Node) -> bool:
    given = [value for value in node.inputs if value is not None]
    constant = bool(given) and all(value.const_value is not None for value in given)
    return constant or node.op_type in SHAPE_OPS


class _Budget:
    """How many elements may still be computed."""

    def __init__(self, model: ir.Model) -> None:
        constants = (value.const_value for value in model.graph.initializers.values())
        given = sum(tensor.size for tensor in constants if tensor is not None)
        self.left: float = FREE_ELEMENTS + MOST_GROWTH * given

    def should_fold(self, node: ir.Node) -> bool:
        """Rules 1 and 2 of the pass."""
        sizes = [_size(value) for value in node.outputs]
        if node.domain not in ("", "ai.onnx") or max(sizes, default=0) > MOST_ELEMENTS:
            return False
        if sum(sizes) > self.left:
            return False
        self.left -= sum(sizes)
        return True


def _size(value: ir.Value) -> float:
    """Elements of a value; infinite if its shape is open."""
    shape = value.shape
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return math.inf
    return math.prod(int(dim) for dim in shape if isinstance(dim, int))


def _name_new_nodes(model: ir.Model) -> None:
    """Folding leaves nodes unnamed that it made; everything later names nodes in errors."""
    for i, node in enumerate(model.graph):
        if not node.name:
            node.name = f"{node.op_type}_folded_{i}"
