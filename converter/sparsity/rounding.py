"""Weights stored as float16 or int4: which layers take it and what that does to them.

Rules of float16, per weight matrix:
1. every weight goes to the nearest half, ties to the even one;
2. a layer with a weight that would become infinite stays float32;
3. weights under 2^-14 keep fewer digits or become zero: they are counted.
Rules of int4:
4. fully connected layers and convolutions of one tap and stride 1 take it, unless float16 cannot
   hold a weight, or the user keeps the layer float, which then is float32; what float16 has as
   zero is zero;
5. it stores fewer bytes than float16 would;
6. all others are float16. (How weights are rounded: ``four_bits``.)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from filigree.converter.errors import UsageError
from filigree.converter.lowering.program import F16, F32, INT4, INT4_KINDS

DTYPES = ("float32", "float16")  # of weights and of activations
STORED = (*DTYPES, INT4)  # of weights
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
        raise UsageError(f'no weights of "{dtype}"', [f"known: {', '.join(STORED)}"])
    if dtype == "float32":
        return Rounded(matrix, dtype)
    with np.errstate(over="ignore"):
        halves = matrix.astype(np.float16)
    if np.isinf(halves).any():
        most = float(np.abs(matrix).max())
        return Rounded(matrix, "float32", f"a weight of {most:.3g} is over float16's {LARGEST:g}")
    return Rounded(halves.astype(np.float32), dtype, _losses(matrix, halves))


def for_int4(matrix: F32, kinds: Collection[int], *, kept: bool) -> Rounded:
    """``matrix``, used by ops of ``kinds``, as rules 4 and 6 have it; if it is to be int4, as
    float16 has it. ``kept``: the user keeps it float."""
    if kept:
        return Rounded(matrix, "float32", "stays float32 as asked")
    if not INT4_KINDS.keys() >= set(kinds):
        return stays_float16(matrix, "int4 is for fully connected and 1x1 layers")
    half = rounded(matrix, "float16")  # of faded weights whole blocks become zero
    return half if half.dtype == "float32" else Rounded(half.matrix, INT4)


def stays_float16(matrix: F32, why: str) -> Rounded:
    """``matrix`` in float16 and why it is not int4."""
    found = rounded(matrix, "float16")
    return replace(found, note=f"{why}; {found.note}" if found.note else why)


def level(matrix: F32, stored: F32) -> str:
    """How far ``matrix`` is over what storing it changed, in decibel."""
    error = float(np.square(stored.astype(np.float64) - matrix).sum())
    power = float(np.square(matrix.astype(np.float64)).sum())
    return f"{10 * np.log10(power / error):.1f} dB over its error" if error and power else ""


def _losses(matrix: F32, halves: F16) -> str:
    zeros = np.count_nonzero(matrix) - np.count_nonzero(halves)
    small = np.count_nonzero((np.abs(halves) < NORMAL) & (halves != 0))
    parts = [(zeros, "became zero"), (small, "became subnormal")]
    return ", ".join(f"{count:,} of {matrix.size:,} {what}" for count, what in parts if count)
