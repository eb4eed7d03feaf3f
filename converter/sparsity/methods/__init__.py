"""Pruning methods, one file each behind one registry.

A method turns a ``Layer`` and a ``Goal`` into weights with zeros; a refinement improves on what a
method returned. Each names the paper it is from. All compute in float64, return float32 and give
equal output for equal input.
"""

from __future__ import annotations

from filigree.converter.sparsity.methods import (
    dsnot,
    least_squares,
    magnitude,
    obs,
    random,
    wanda,
    wgsef,
)
from filigree.converter.sparsity.methods.registry import (
    METHODS,
    REFINEMENTS,
    Method,
    Refinement,
)

__all__ = [
    "METHODS",
    "REFINEMENTS",
    "Method",
    "Refinement",
    "dsnot",
    "least_squares",
    "magnitude",
    "obs",
    "random",
    "wanda",
    "wgsef",
]
