"""Whole-network rearrangement: channels that share zeros become neighbours, everywhere at once.

For every free variable (``axes``) the rows of all its producers are laid side by side, and one
order is found for them: the fewest stored ``Ox1`` blocks for a pruned model (lossless), the most
score kept for one that is still to be pruned (lossy). The function computed does not change.
1. A variable without a producer that is sparse (or to be pruned) stays as it is.
2. So does one whose blocks are full already: nothing could be gained.
3. Where a variable's rows lie in a layer so that blocks reach beyond them, an order can cost more
   than it gains: it is taken only if the layers store fewer blocks (hold more score) with it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.sparsity import axes as channel_axes
from filigree.converter.sparsity import grouping
from filigree.converter.sparsity.axes import Variable
from filigree.converter.sparsity.axes.atoms import Ints
from filigree.converter.sparsity.layer import F64, Mask

Progress = Callable[[str, float], None]
SPARSE_FROM = 0.3  # share of zeros from which a layer's blocks count
WORTH = 0.98  # stored blocks over the least possible above which there is nothing to gain


@dataclass(frozen=True)
class Rearranged:
    """What was done: ``orders`` by variable name (new channel i was ``order[i]``), and the stored
    blocks of ``block_rows`` x 1 of all sparse layers before and after."""

    orders: Mapping[str, Ints]
    block_rows: int
    blocks_before: int
    blocks_after: int

    def to_meta(self) -> dict[str, Any]:
        """For the packed model's metadata: orders as base64 of little-endian u16."""
        return {
            "block_rows": self.block_rows,
            "blocks_before": self.blocks_before,
            "blocks_after": self.blocks_after,
            "orders": {
                name: base64.b64encode(order.astype("<u2").tobytes()).decode()
                for name, order in self.orders.items()
            },
        }


def lossless(
    model: ir.Model,
    *,
    block_rows: int = 4,
    effort: float = 1.0,
    progress: Progress | None = None,
) -> Rearranged:
    """Reorder the channels of a pruned model in place, for the fewest stored blocks.

    The same model and ``effort`` give the same order. See ``grouping.lossless``.
    """
    matrices = sparse_matrices(model)
    before = _stored(matrices, block_rows)
    if not any(_can_gain(mask, block_rows) for mask in matrices.values()):
        return Rearranged({}, block_rows, before, before)
    found = channel_axes.find(model)
    masks = [(v, stacked(v, matrices)) for v in found.free if v.size <= 0xFFFF]
    todo = [(v, mask) for v, mask in masks if _can_gain(mask, block_rows)]
    orders = {}
    for i, (variable, mask) in enumerate(todo):
        if progress is not None:
            progress("rearranging", i / len(todo))
        order = grouping.lossless(mask, block_rows, effort=effort)
        moved = _reordered(variable, order, matrices)
        if _stored(moved, block_rows) < _stored({n: matrices[n] for n in moved}, block_rows):
            orders[variable.name] = order
            matrices.update(moved)
    channel_axes.permute(model, found, orders)
    after = _stored(sparse_matrices(model), block_rows)
    return Rearranged(orders, block_rows, before, after)


def lossy(
    model: ir.Model,
    scores: Mapping[str, F64],
    keep: Mapping[str, int],
    *,
    block_rows: int = 4,
    effort: float = 1.0,
    progress: Progress | None = None,
) -> Rearranged:
    """Reorder channels in place so that the best blocks of layers yet to be pruned hold most.

    ``scores`` [rows, cols] by node name, each scaled so that layers compare; ``keep``: blocks that
    each layer will keep. See ``grouping.lossy``.
    """
    found = channel_axes.find(model)
    todo = [v for v in found.free if any(use.node in scores for use in v.producers)]
    current = dict(scores)
    orders = {}
    for i, variable in enumerate(todo):
        if progress is not None:
            progress("rearranging", i / len(todo))
        stack, kept = _stacked_scores(variable, scores, keep)
        order = grouping.lossy(stack, block_rows, kept, effort=effort)
        moved = _reordered(variable, order, current)
        if _held(moved, keep, block_rows) > _held({n: current[n] for n in moved}, keep, block_rows):
            orders[variable.name] = order
            current.update(moved)
    channel_axes.permute(model, found, orders)
    return Rearranged(orders, block_rows, 0, 0)


def sparse_matrices(model: ir.Model) -> dict[str, Mask]:
    """Nonzeros [rows, cols] of every layer with at least SPARSE_FROM zeros, by node name."""
    found = {}
    for node in model.graph:
        if not channel_axes.is_layer(node):
            continue
        nonzero = channel_axes.matrix_of(node) != 0
        if 1 - nonzero.mean() >= SPARSE_FROM:
            found[node.name or ""] = nonzero
    return found


def stacked(variable: Variable, matrices: Mapping[str, Mask]) -> Mask:
    """The producers' rows, one row per channel of the variable: [size, all their columns]."""
    parts = [
        matrices[use.node][slots]
        for use in variable.producers
        if use.node in matrices
        for slots in use.slots
    ]
    return np.hstack(parts) if parts else np.zeros((variable.size, 0), bool)


def _stacked_scores(
    variable: Variable, scores: Mapping[str, F64], keep: Mapping[str, int]
) -> tuple[F64, int]:
    parts, kept = [], 0
    for use in variable.producers:
        if use.node in scores:
            share = variable.size / scores[use.node].shape[0]
            for slots in use.slots:
                parts.append(scores[use.node][slots])
                kept += round(keep[use.node] * share)
    return np.hstack(parts), kept


def _reordered(
    variable: Variable, order: Ints, matrices: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The variable's producers among ``matrices`` [rows, cols] with its rows in another order."""
    found: dict[str, NDArray[Any]] = {}
    for use in variable.producers:
        if use.node in matrices:
            old = matrices[use.node]
            new = found.setdefault(use.node, old.copy())
            for slots in use.slots:
                new[slots] = old[slots[order]]
    return found


def _held(scores: Mapping[str, F64], keep: Mapping[str, int], block_rows: int) -> float:
    """Score that the best ``keep`` blocks of each layer hold."""
    return sum(
        grouping.kept_score(matrix, np.arange(len(matrix)), block_rows, keep[name])
        for name, matrix in scores.items()
    )


def _stored(matrices: Mapping[str, Mask], block_rows: int) -> int:
    return sum(
        grouping.stored_blocks(mask, np.arange(mask.shape[0]), block_rows)
        for mask in matrices.values()
    )


def _can_gain(mask: Mask, block_rows: int) -> bool:
    if mask.size == 0 or mask.shape[0] <= block_rows:
        return False
    stored = grouping.stored_blocks(mask, np.arange(mask.shape[0]), block_rows)
    least = int(np.ceil(mask.sum(axis=0) / block_rows).sum())
    return least < WORTH * stored
