"""Activations in float64: what the rows of ``act.def`` mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from filigree.native import enums as c

if TYPE_CHECKING:
    from filigree.converter.lowering.program import Activation

F64 = NDArray[np.float64]

_ACTIVATIONS: dict[int, Callable[[F64, float, float], F64]] = {
    c.FIL_ACT_NONE: lambda x, lo, hi: x,
    c.FIL_ACT_CLAMP: lambda x, lo, hi: np.minimum(np.maximum(x, lo), hi),
    c.FIL_ACT_HARDSIGMOID: lambda x, lo, hi: np.clip(lo * x + hi, 0, 1),
    c.FIL_ACT_HARDSWISH: lambda x, lo, hi: x * np.clip(lo * x + hi, 0, 1),
    c.FIL_ACT_SIGMOID: lambda x, lo, hi: 1 / (1 + np.exp(-x)),
    c.FIL_ACT_TANH: lambda x, lo, hi: np.tanh(x),
    c.FIL_ACT_LEAKYRELU: lambda x, lo, hi: np.where(x < 0, lo * x, x),
    c.FIL_ACT_SILU: lambda x, lo, hi: x * (1 / (1 + np.exp(-x))),
    c.FIL_ACT_EXP: lambda x, lo, hi: np.exp(x),
    c.FIL_ACT_SQRT: lambda x, lo, hi: np.sqrt(x),
    c.FIL_ACT_ABS: lambda x, lo, hi: np.abs(x),
    c.FIL_ACT_NEG: lambda x, lo, hi: -x,
}


def activated(x: F64, act: Activation) -> F64:
    """``act.def``, with lo and hi rounded to float32 as the packed model stores them."""
    return _ACTIVATIONS[act.kind](x, float(np.float32(act.lo)), float(np.float32(act.hi)))
