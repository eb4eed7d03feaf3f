"""Give every input a static shape.

1. A shape that the user gives for an input must have its rank and agree with its known dims; its
   dims and the batch are positive and within the format's caps.
2. A symbol bound by one input's shape is bound in all; two values for one symbol are refused.
3. An open first axis becomes the batch, and its symbol is bound in all.
4. Anything still open is refused; all problems at once.
5. Shapes recorded for other values are forgotten: inference makes them again.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from filigree.converter.errors import UsageError
from filigree.converter.frontends.onnx import source_of
from filigree.native import enums as c


def apply(model: ir.Model, *, batch: int, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Bind every input's shape. Raises UsageError."""
    inputs = {v.name or "": v for v in model.graph.inputs}
    problems = [f'no input "{name}" (inputs: {_listed(inputs)})' for name in shapes.keys() - inputs]
    if not 1 <= batch <= c.FIL_MAX_DIM:
        problems.append(f"a batch of {batch}; 1 to {c.FIL_MAX_DIM} are possible")
    bound: dict[str, int] = {}
    for name, shape in shapes.items():
        if name in inputs:
            problems += _bind(inputs[name], shape, bound)
    rest = [value for name, value in inputs.items() if name not in shapes]
    for value in rest:
        _bind_batch(value, batch, bound)
    for value in rest:
        problems += _complete(value, batch, bound)
    if problems:
        raise UsageError(
            f"the input shapes of {source_of(model)} are not settled",
            sorted(problems),
            hint="--shape NAME=1x3x96x96 gives an input's shape",
        )
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    return True


def _bind(value: ir.Value, shape: tuple[int, ...], bound: dict[str, int]) -> list[str]:
    known = value.shape
    if known is not None and len(known) != len(shape):
        return [f'input "{value.name}" has {len(known)} dims, the shape given {len(shape)}']
    if any(not 1 <= n <= c.FIL_MAX_DIM for n in shape):
        what = f"the shape given {list(shape)}, dims must be 1 to {c.FIL_MAX_DIM}"
        return [f'input "{value.name}": {what}']
    problems = []
    for old, new in zip(known or [], shape, strict=False):
        symbol = old if isinstance(old, int) else old.value
        if isinstance(symbol, int) and symbol != new:
            problems.append(f'input "{value.name}" is {known}, the shape given {list(shape)}')
        elif isinstance(symbol, str) and bound.setdefault(symbol, new) != new:
            problems.append(f'"{symbol}" of input "{value.name}" is {bound[symbol]} and {new}')
    value.shape = ir.Shape(shape)
    return problems


def _bind_batch(value: ir.Value, batch: int, bound: dict[str, int]) -> None:
    first = value.shape[0] if value.shape else None
    symbol = first.value if isinstance(first, ir.SymbolicDim) else None
    if symbol is not None:
        bound.setdefault(symbol, batch)


def _complete(value: ir.Value, batch: int, bound: Mapping[str, int]) -> list[str]:
    if value.shape is None:
        return [f'input "{value.name}" has no shape']
    dims: list[int] = []
    problems = []
    for axis, dim in enumerate(value.shape):
        symbol = dim if isinstance(dim, int) else dim.value
        if isinstance(symbol, int):
            dims.append(symbol)
        elif isinstance(symbol, str) and symbol in bound:
            dims.append(bound[symbol])
        elif axis == 0:
            dims.append(batch)
        else:
            problems.append(f'input "{value.name}": axis {axis} ("{symbol or "?"}") is open')
    if not problems:
        value.shape = ir.Shape(dims)
    return problems


def _listed(inputs: Mapping[str, ir.Value]) -> str:
    return ", ".join(f'"{name}"' for name in inputs) or "none"
