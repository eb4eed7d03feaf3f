"""Weights stored as float16: which layers take it and what that does to them.

Rules, per weight matrix:
1. every weight goes to the nearest half, ties to the even one;
2. a layer with a weight that would become infinite stays float32;
3. weights under 2^-14 keep fewer digits or become zero: they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filigree.converter.errors import UsageError
from filigree.converter.lowering.program import F16, F32

DTYPES = ("float32", "float16")
LARGEST = float(np.finfo(np.float16).max)
NORMAL = float(np.finfo(np.float16).tiny)  # the least with all of its digits


@dataclass(frozen=True)
class Rounded:
    """A matrix as it will be stored, still float32; ``note`` says what rounding did to it, or why
    it was not done; empty: nothing to say."""

    matrix: F32
    dtype: str
    note: str = ""


def rounded(matrix: F32, dtype: str) -> Rounded:
    """``matrix`` rounded to ``dtype``, a name of DTYPES. Raises UsageError for another name."""
    if dtype not in DTYPES:
        raise UsageError(f'no weights of "{dtype}"', [f"known: {', '.join(DTYPES)}"])
    if dtype == "float32":
        return Rounded(matrix, dtype)
    with np.errstate(over="ignore"):
        halves = matrix.astype(np.float16)
    if np.isinf(halves).any():
        most = float(np.abs(matrix).max())
        return Rounded(matrix, "float32", f"a weight of {most:.3g} is over float16's {LARGEST:g}")
    return Rounded(halves.astype(np.float32), dtype, _losses(matrix, halves))


def _losses(matrix: F32, halves: F16) -> str:
    zeros = np.count_nonzero(matrix) - np.count_nonzero(halves)
    small = np.count_nonzero((np.abs(halves) < NORMAL) & (halves != 0))
    parts = [(zeros, "became zero"), (small, "became subnormal")]
    return ", ".join(f"{count:,} of {matrix.size:,} {what}" for count, what in parts if count)
