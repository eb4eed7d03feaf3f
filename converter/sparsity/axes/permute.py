"""Reorder channels: every constant that knows them, everywhere at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.lowering.program import F32
from filigree.converter.passes.graph import constant, initializer
from filigree.converter.sparsity.axes.atoms import Ints, shape_of
from filigree.converter.sparsity.axes.find import Axes, weight_axes
from filigree.converter.sparsity.axes.rules import given, group_name


def permute(model: ir.Model, axes: Axes, orders: Mapping[str, Ints]) -> None:
    """Let channel i of variable ``name`` be what was channel ``orders[name][i]``, in place.

    The function that ``model`` computes does not change. Raises ValueError for an unknown or pinned
    variable, or an order that is not a permutation.
    """
    moves = _moves(axes, orders)
    if not moves:
        return
    grouped = {given(n)[1].name: n for n in model.graph if _is_grouped(n)}
    for name, value in model.graph.initializers.items():
        array = constant(value)
        if array is None:
            continue
        new = array
        for axis in range(array.ndim):
            if (name, axis) in axes.labels:
                new = np.take(new, _index(axes.labels[name, axis], moves), axis=axis)
        if name in grouped:
            new = _within_groups(grouped[name], axes, new, moves)
        if new is not array and not np.array_equal(new, array):
            value.const_value = ir.tensor(np.ascontiguousarray(new), name=name)


def is_layer(node: ir.Node) -> bool:
    """A convolution, not depthwise, or a product with constant weights."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return False
    array = constant(given(node)[1])
    if array is None or array.ndim < 2 or (node.op_type != "Conv" and array.ndim > 2):
        return False
    return node.attributes.get_int("group", 1) == 1 or array.shape[1] > 1


def matrix_of(node: ir.Node) -> F32:
    """The weights of a layer as [rows, cols], cols over (input channel, taps)."""
    array = constant(given(node)[1])
    assert array is not None
    rows, _ = weight_axes(node, array.ndim)
    moved = np.moveaxis(array, rows, 0)
    return np.ascontiguousarray(moved.reshape(moved.shape[0], -1), np.float32)


def set_matrix(model: ir.Model, node: ir.Node, matrix: F32) -> None:
    """Give a layer other weights [rows, cols], those of ``matrix_of``; a shared constant stays
    as it is for its other users."""
    old = given(node)[1]
    array = constant(old)
    assert array is not None
    rows, _ = weight_axes(node, array.ndim)
    moved = np.moveaxis(array, rows, 0)
    new = np.ascontiguousarray(np.moveaxis(matrix.reshape(moved.shape), 0, rows), np.float32)
    if len(list(old.uses())) == 1:
        old.const_value = ir.tensor(new, name=old.name)
    else:
        node.replace_input_with(1, initializer(model, old, new))


def _moves(axes: Axes, orders: Mapping[str, Ints]) -> dict[int, int]:
    """For each class, the class whose channel takes its place."""
    known = {v.name: v for v in axes.variables}
    moves: dict[int, int] = {}
    for name, order in orders.items():
        variable = known.get(name)
        if variable is None or variable.pinned is not None:
            raise ValueError(f'"{name}" is not a variable that may be reordered')
        if not np.array_equal(np.sort(order), np.arange(variable.size)):
            raise ValueError(f'the order of "{name}" is not a permutation of {variable.size}')
        moved = variable.classes[order]
        pairs = zip(variable.classes.tolist(), moved.tolist(), strict=True)
        moves.update({old: new for old, new in pairs if old != new})
    return moves


def _index(axis: Ints, moves: Mapping[int, int]) -> Ints:
    """Which old index each new index of an axis takes; appearances of a class keep their order."""
    places: dict[int, list[int]] = {}
    for i, number in enumerate(axis.tolist()):
        places.setdefault(number, []).append(i)
    index = np.arange(axis.size)
    for number, slots in places.items():
        if number in moves:
            index[slots] = places[moves[number]]
    return index


def _is_grouped(node: ir.Node) -> bool:
    if node.op_type != "Conv" or node.attributes.get_int("group", 1) == 1:
        return False
    return shape_of(given(node)[1])[1] > 1


def _within_groups(
    node: ir.Node, axes: Axes, array: NDArray[Any], moves: Mapping[int, int]
) -> NDArray[Any]:
    """Columns of a grouped convolution: each group's rows by that group's order."""
    groups = node.attributes.get_int("group", 1)
    parts = np.split(array, groups, axis=0)
    labels = [axes.labels[group_name(node, "in", g), 0] for g in range(groups)]
    taken = [part[:, _index(axis, moves)] for part, axis in zip(parts, labels, strict=True)]
    return np.concatenate(taken, axis=0)
