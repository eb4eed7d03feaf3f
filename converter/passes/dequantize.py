"""Integer weights behind DequantizeLinear become the floats they stand for.

1. (q - zero_point) * scale, computed as ONNX says: one scale, one per index of ``axis``, or one per
   block of ``block_size`` indices.
2. A DequantizeLinear of anything that is not constant stays, for ``quantized``.
3. The scales of int8 and uint8 stay known (``quantize.marks``): they may be int8 again.
(onnxscript's folding leaves this operator out: its evaluator has no version of it for every opset.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.errors import BadFile
from filigree.converter.frontends.onnx import source_of
from filigree.converter.passes.graph import bypass, constant, initializer
from filigree.converter.quantize.marks import Grid, set_grid


def apply(model: ir.Model) -> bool:
    """Dequantise constants. Raises BadFile, with every node whose scales do not fit its tensor."""
    changed, problems = False, []
    for node in list(model.graph):
        if node.op_type != "DequantizeLinear" or node.domain not in ("", "ai.onnx"):
            continue
        given = [value for value in node.inputs if value is not None]
        arrays = [array for array in map(constant, given) if array is not None]
        if len(arrays) != len(given) or not 2 <= len(arrays) <= 3:
            continue
        try:
            values = _dequantized(node, *arrays)
        except ValueError as error:
            problems.append(f'node "{node.name}" (DequantizeLinear): {error}')
            continue
        made = initializer(model, node.outputs[0], values)
        _remember_grid(node, made, arrays)
        bypass(node, made)
        changed = True
    if problems:
        raise BadFile(f"{source_of(model)} contradicts itself", problems)
    return changed


def _remember_grid(node: ir.Node, value: ir.Value, arrays: list[NDArray[Any]]) -> None:
    """Rule 3."""
    q, scale = arrays[:2]
    if q.dtype not in (np.int8, np.uint8) or node.attributes.get_int("block_size", 0) != 0:
        return
    axis = node.attributes.get_int("axis", 1) % max(1, q.ndim)
    if scale.dtype == np.float32:
        set_grid(value, Grid(scale.reshape(-1), axis))


def _dequantized(
    node: ir.Node, q: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | None = None
) -> NDArray[Any]:
    axis = node.attributes.get_int("axis", 1)
    block = node.attributes.get_int("block_size", 0)
    factor = _aligned(q, scale, axis, block)
    shift = np.float32(0) if zero is None else _aligned(q, zero, axis, block)
    values = (q.astype(np.float32) - shift.astype(np.float32)) * factor.astype(np.float32)
    return values.astype(scale.dtype)


def _aligned(q: NDArray[Any], per: NDArray[Any], axis: int, block: int) -> NDArray[Any]:
    """``per`` in a shape that broadcasts against ``q``."""
    if per.size == 1:
        return per.reshape(())
    if not -q.ndim <= axis < q.ndim:
        raise ValueError(f"axis {axis} of a tensor of rank {q.ndim}")
    if block:
        blocks = list(q.shape)
        blocks[axis] = -(-blocks[axis] // block)
        if list(per.shape) != blocks or block < 1:
            raise ValueError(f"blocks of {block}: {list(per.shape)} scales, {list(q.shape)} values")
        return np.take(per, np.arange(q.shape[axis]) // block, axis=axis)
    if per.shape != (q.shape[axis],):
        raise ValueError(f"{list(per.shape)} scales along axis {axis} of {list(q.shape)}")
    return per.reshape([-1 if a == axis % q.ndim else 1 for a in range(q.ndim)])
