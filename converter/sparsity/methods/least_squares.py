"""Least squares: the weights inside the blocks kept that come nearest to the layer's output.

Source: the layer-wise reconstruction of He et al. 2017, "Channel Pruning for Accelerating Very Deep
Neural Networks", and Frantar, Alistarh 2023, "SparseGPT", section 3.1. With S the columns that a
group keeps, P the others, W the layer before pruning, per row v of the group

    minimise E|(w - v) x|^2 + lambda |w - v|^2,  v_P = 0
    v_S = w_S + w_P gram_PS (gram_SS + lambda I)^-1

The rows of a group share S, hence one factorisation. The ridge pulls towards the weights before
pruning, not towards zero: what calibration data say nothing about stays as it was.
"""

from __future__ import annotations

import numpy as np

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.layer import Goal, Layer, Mask, blocks_of
from filigree.converter.sparsity.methods.blocks import damped, settle
from filigree.converter.sparsity.methods.registry import REFINEMENTS, Refinement

# lambda as a share of the mean of gram's diagonal. Measured against 1e-6: at most 6 % more error
# with many samples; with half as many samples as columns 2 to 96 % less on samples not seen.
RIDGE = 0.01


def refine(layer: Layer, goal: Goal, *, mask: Mask, matrix: F32, ridge: float = RIDGE) -> F32:
    """The best weights [rows, cols] for ``mask``; of ``matrix`` nothing else counts.

    Raises ValueError without calibration data.
    """
    gram = layer.gram_for("least_squares")
    hessian = damped(gram, ridge)
    blocks = blocks_of(mask, goal.block_rows)
    values = layer.matrix.astype(np.float64)
    missing = np.where(mask, 0.0, values) @ gram
    for group, kept in enumerate(blocks):
        rows = slice(group * goal.block_rows, (group + 1) * goal.block_rows)
        at = np.flatnonzero(kept)
        values[rows, at] += np.linalg.solve(hessian[np.ix_(at, at)], missing[rows, at].T).T
    return settle(layer, goal, blocks, values)


REFINEMENTS["least_squares"] = Refinement(
    name="least_squares",
    source="He et al. 2017; Frantar, Alistarh 2023 (layer-wise reconstruction)",
    needs_gram=True,
    refine=refine,
)
