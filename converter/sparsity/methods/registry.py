"""The one list of pruning methods and refinements; importing the package fills it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Goal, Layer, Mask


class Prune(Protocol):
    """``seed`` decides whatever is random."""

    def __call__(self, layer: Layer, goal: Goal, *, seed: int) -> F32: ...


class Refine(Protocol):
    """``mask`` [rows, cols]: what the method kept; ``matrix``: what it returned."""

    def __call__(self, layer: Layer, goal: Goal, *, mask: Mask, matrix: F32) -> F32: ...


@dataclass(frozen=True)
class Method:
    """``score``: importance of each weight [rows, cols], where the method has one (rearrangement
    and layer budgets use it); ``needs_gram``: whether it needs calibration data."""

    name: str
    source: str
    needs_gram: bool
    prune: Prune
    score: Callable[[Layer], F64] | None


@dataclass(frozen=True)
class Refinement:
    """Changes a pruned layer; the number of blocks kept stays."""

    name: str
    source: str
    needs_gram: bool
    refine: Refine


METHODS: dict[str, Method] = {}
REFINEMENTS: dict[str, Refinement] = {}
