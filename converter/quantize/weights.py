"""A layer's float weights on their grid to the integers that an int8 layer computes with.

sum = bias + W q, exactly, in int32; out = round(sum * multiplier) + zero, kept in int8, with
multiplier = input scale * row scale / output scale (Jacob et al., "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018; the multiplier is a float32
here). The input's zero point is in the bias: W (q - zero) = W q - zero * (sum of W).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter.quantize.marks import Quant

LARGEST_SUM = 2**31 - 1
LARGEST_INPUT = 128


@dataclass(frozen=True)
class IntegerLayer:
    """``matrix`` [rows, cols]: whole numbers of int8; ``multipliers`` [rows]."""

    matrix: NDArray[np.float32]
    bias: NDArray[np.int32]
    multipliers: NDArray[np.float32]


def integer_layer(
    matrix: NDArray[Any], bias: NDArray[Any], scales: NDArray[Any], *, given: Quant, to: Quant
) -> IntegerLayer:
    """``matrix`` [rows, cols] and ``bias`` [rows] as floats, ``scales`` [rows] of the grid.

    Raises ValueError where sums might pass int32 or a multiplier is not a positive float32.
    """
    step = scales.astype(np.float64)
    whole = np.rint(matrix / step[:, None])
    shift = np.rint(bias / (step * given.scale)) - given.zero * whole.sum(axis=1)
    most = np.abs(whole).sum(axis=1) * LARGEST_INPUT + np.abs(shift)
    if not (most <= LARGEST_SUM).all():
        raise ValueError("its sums may pass 32 bits: the bias is too large for the scales")
    with np.errstate(over="ignore", under="ignore"):
        factors = (step * given.scale / to.scale).astype(np.float32)
    if not (np.isfinite(factors).all() and (factors > 0).all()):
        raise ValueError("its scales are too far apart")
    return IntegerLayer(whole.astype(np.float32), shift.astype(np.int32), factors)
