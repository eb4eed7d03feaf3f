"""Channel-axis variables: which channels of a network may be reordered together, and doing it.

axes = find(model)
permute(model, axes, {"v3": order})
"""

from filigree.converter.sparsity.axes.find import Axes, Role, Use, Variable, find
from filigree.converter.sparsity.axes.permute import is_layer, matrix_of, permute, set_matrix

__all__ = [
    "Axes",
    "Role",
    "Use",
    "Variable",
    "find",
    "is_layer",
    "matrix_of",
    "permute",
    "set_matrix",
]
