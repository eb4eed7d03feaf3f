"""OBS by columns: prune blocks in a sweep over the columns and let the later ones make up for it.

Source: Frantar, Alistarh 2023, "SparseGPT", after "Optimal Brain Compression" (Frantar et al. 2022)
and Hassibi, Stork 1992; here whole blocks are pruned and the layer's blocks compete with each
other.

1. H = gram + lambda I, lambda = DAMPING * mean of gram's diagonal. Columns are visited by ascending
   output power, gram_cc * |W_c|^2, so that what is pruned early is made up for by columns that stay
   (measured, 256x256, six cases: left to right leaves 1.2 to 1.7 times the error, descending 1.7 to
   10 times); below, c counts in that order.
2. H^-1 = U^T U, U upper: then (H[c:, c:])^-1 has U_cc^2 at its corner and U_cc U[c, c:] as its
   first row, which is all a sweep needs.
3. The columns come in BATCHES batches. Before each, the blocks still undecided are scored, sum
   over the block's rows of w^2 / U_cc^2 with the weights as they now are; the best under the goal,
   beside what was kept so far, are the batch's mask. So the whole matrix keeps what the goal says,
   exactly.
4. Pruning w in column c: e = w / U_cc; the row's columns c: get -e U[c, c:], which zeroes w.
"""

from __future__ import annotations

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import F64, Goal, Layer, Mask, block_sums, keep_best, spread
from filigree.converter.sparsity.methods.blocks import damped, settle
from filigree.converter.sparsity.methods.registry import METHODS, Method

DAMPING = 0.01
BATCHES = 32


def score(layer: Layer) -> F64:
    """w^2 / (H^-1)_cc, [rows, cols]: the output error of pruning this weight alone, the others
    making up for it. Raises ValueError without calibration data."""
    upper = _inverse_factor(damped(layer.gram_for("obs"), DAMPING))
    variances: F64 = np.sum(upper**2, axis=0)
    return np.square(layer.matrix, dtype=np.float64) / variances


def prune(layer: Layer, goal: Goal, *, seed: int) -> F32:
    """New weights [rows, cols] in the blocks kept, zeros elsewhere.

    Raises ValueError without calibration data.
    """
    gram = layer.gram_for("obs")
    power = np.diag(gram) * np.sum(np.square(layer.matrix, dtype=np.float64), axis=0)
    order = np.argsort(power, kind="stable")
    upper = _inverse_factor(damped(gram, DAMPING)[np.ix_(order, order)])
    weights = np.ascontiguousarray(layer.matrix.T[order], np.float64)  # [cols, rows]
    scores = np.zeros((goal.groups(layer.rows), layer.cols))
    width = -(-layer.cols // BATCHES)
    for start in range(0, layer.cols, width):
        batch = order[start : start + width]
        saliency = (weights[start:] / np.diag(upper)[start:, None]) ** 2
        scores[:, order[start:]] = block_sums(saliency.T, goal.block_rows)
        kept = keep_best(scores, goal)[:, batch]
        # decided: what is kept stays first in every later choice, what is pruned last
        scores[:, batch] = np.where(kept, np.inf, -np.inf)
        pruned = spread(~kept, block_rows=goal.block_rows, rows=layer.rows)
        _eliminate(weights, upper, pruned.T, start)
    result = np.empty((layer.rows, layer.cols))
    result[:, order] = weights.T
    return settle(layer, goal, scores == np.inf, result)


def _inverse_factor(hessian: F64) -> F64:
    """The upper U with U^T U = hessian^-1: the inverse of R, where hessian = R R^T, R upper."""
    reverse = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1]
    return np.triu(np.linalg.inv(reverse))


def _eliminate(weights: F64, upper: F64, pruned: Mask, start: int) -> None:
    """Zero ``pruned`` [batch, rows] in ``weights`` [cols, rows] from column ``start`` on, and
    update what comes after."""
    stop = start + pruned.shape[0]
    errors = np.zeros(pruned.shape)
    for i, c in enumerate(range(start, stop)):
        errors[i] = np.where(pruned[i], weights[c] / upper[c, c], 0.0)
        weights[c:stop] -= np.outer(upper[c, c:stop], errors[i])
    weights[stop:] -= upper[start:stop, stop:].T @ errors


METHODS["obs"] = Method(
    name="obs",
    source="Frantar, Alistarh 2023 (SparseGPT); Frantar et al. 2022 (OBC)",
    needs_gram=True,
    prune=prune,
    score=score,
)
