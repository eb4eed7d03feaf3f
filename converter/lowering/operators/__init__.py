"""How each ONNX operator becomes operations: one function per operator, found by its name.

A function reads where the node's inputs lie from the builder, emits operations or makes views, and
sets where the outputs lie. It raises ``Refused`` with the reason for a form that it cannot take.
"""

from filigree.converter.lowering.operators import (
    conv,
    dense,
    elementwise,
    pool,
    quantized,
    reduce,
    shaping,
    softmax,
)
from filigree.converter.lowering.operators.registry import OPERATORS

__all__ = [
    "OPERATORS",
    "conv",
    "dense",
    "elementwise",
    "pool",
    "quantized",
    "reduce",
    "shaping",
    "softmax",
]
