"""Group-sparse storage: patterns, the cost model that chooses among them, and the choice."""

from filigree.converter.sparsity.cost import CostTable
from filigree.converter.sparsity.select import PATTERNS, Choice, pack

__all__ = ["PATTERNS", "Choice", "CostTable", "pack"]
