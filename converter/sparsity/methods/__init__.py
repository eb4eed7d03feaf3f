"""Pruning methods, one file each behind one registry.

A method turns a ``Layer`` and a ``Goal`` into weights with zeros; a refinement improves on what a
method returned. Each names the paper it is from.
"""

from __future__ import annotations

from filigree.converter.sparsity.methods.registry import (
    METHODS,
    REFINEMENTS,
    Method,
    Refinement,
)

__all__ = ["METHODS", "REFINEMENTS", "Method", "Refinement"]
