"""Marks: which values of a graph are int8, and what the integers stand for.

A graph in which every value is float32 becomes an int8 one by *marks* on its values: a marked
value is rounded to (scale, zero) where it is made, and whatever reads it reads what is left.
Quantised models get their marks from QuantizeLinear and DequantizeLinear (``passes.quantized``); a
calibration may set them just so. Lowering runs in int8 what has marks on both sides, and converts
elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

MARK = "filigree.mark"
GRID = "filigree.grid"
PORT = "filigree.port"
TIES, AWAY = "filigree.ties", "away"  # of a node's metadata: how its integer result is rounded

LOW, HIGH = -128, 127
ROW_SCALES = 3  # the input of an int8 layer that holds the scale of each row of its weights


@dataclass(frozen=True)
class Quant:
    """What int8 stands for: q is (q - zero) * scale; ``scale`` is a float32, positive."""

    scale: float
    zero: int


PLAIN = Quant(1.0, 0)  # bytes that stand for themselves


@dataclass(frozen=True)
class Grid:
    """Where a constant's values lie: whole multiples of ``scale``, one or one for each index of
    ``axis``."""

    scale: NDArray[np.float32]
    axis: int


def mark_of(value: ir.Value | None) -> Quant | None:
    """What the value is rounded to, if it is marked."""
    found = value.meta.get(MARK) if value is not None else None
    return found if isinstance(found, Quant) else None


def mark(value: ir.Value, quant: Quant | None) -> None:
    """Mark the value (None: take the mark away)."""
    value.meta.pop(MARK, None)
    if quant is not None:
        value.meta[MARK] = quant


def grid_of(value: ir.Value | None) -> Grid | None:
    """The grid that a constant was dequantised from, if it is known."""
    found = value.meta.get(GRID) if value is not None else None
    return found if isinstance(found, Grid) else None


def set_grid(value: ir.Value, grid: Grid) -> None:
    """Remember where a constant's values lie."""
    value.meta[GRID] = grid


def port_dtype(value: ir.Value) -> str:
    """How the caller holds an input or output: float32, int8 or uint8."""
    return str(value.meta.get(PORT, "float32"))


def set_port_dtype(value: ir.Value, dtype: str) -> None:
    """The caller's buffer holds the integers themselves."""
    value.meta[PORT] = dtype


def rounded(x: NDArray[Any], quant: Quant) -> NDArray[np.int8]:
    """The nearest integers, ties to even, as ONNX says: saturate(round(x / scale) + zero)."""
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(x, np.float32) / np.float32(quant.scale))
    low, high = LOW - quant.zero, HIGH - quant.zero
    return np.asarray(np.clip(steps, low, high) + quant.zero, np.int8)


def meant(q: NDArray[Any], quant: Quant | None) -> NDArray[Any]:
    """What integers stand for; floats (None) stand for themselves."""
    return q if quant is None else (q - np.float64(quant.zero)) * quant.scale


def constant_quant(value: ir.Value, array: NDArray[Any]) -> Quant | None:
    """A scale and zero point for a constant that lies on a grid of one scale, exactly, if there is
    one."""
    grid = grid_of(value)
    if grid is None or grid.scale.size != 1 or not grid.scale[0] > 0:
        return None
    whole = np.rint(array / grid.scale[0])
    low, high = float(whole.min()), float(whole.max())
    zero = (
        int(min(max(0.0, LOW - low), HIGH)) if low < LOW else int(max(min(0.0, HIGH - high), LOW))
    )
    if not (low + zero >= LOW and high + zero <= HIGH):
        return None
    return Quant(float(grid.scale[0]), zero)


def quant(scale: float, zero: int) -> Quant:
    """A mark. Raises ValueError for a scale that is not positive and finite in float32, or a zero
    point outside int8."""
    single = float(np.float32(scale))
    if not (math.isfinite(single) and single > 0):
        raise ValueError(f"a scale of {scale}")
    if not LOW <= zero <= HIGH:
        raise ValueError(f"a zero point of {zero}")
    return Quant(single, zero)
