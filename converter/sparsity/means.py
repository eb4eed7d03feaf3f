"""Biases that make up for what rounding weights to int4 did to the means of their layers.

A layer whose weights moved by D gives sums that are off by D x: on average by D E[x], which a bias
takes back (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019, section 4.2; E[x] here is of real inputs). Inputs of a layer are mostly behind a Relu, so that
their means are no zeros, and such errors add up down a network. What chance makes of few samples is
left out (``quantize.correct.certain``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter import reference
from filigree.converter.lowering.program import INT4, Program, Weights
from filigree.converter.quantize.correct import certain

F64 = NDArray[np.float64]


def corrected(
    exact: Program, program: Program, samples: Sequence[Sequence[NDArray[Any]]]
) -> Program:
    """The packed ``program`` with other biases where weights are int4; ``exact``: what it was
    packed from; ``samples``: inputs, of which means are taken."""
    means = _input_means(exact, samples)
    weights = {
        name: _moved(w, exact.weights[name], means[name]) if _is_int4(w) else w
        for name, w in program.weights.items()
    }
    return dataclasses.replace(program, weights=weights)


def _is_int4(weights: Weights) -> bool:
    return weights.packing is not None and weights.packing.dtype == INT4


def _input_means(program: Program, samples: Sequence[Sequence[NDArray[Any]]]) -> dict[str, F64]:
    """For the weights of every product: the means of its columns' inputs, [uses, cols]: a row for
    each sample and op."""
    rows: dict[str, list[F64]] = {}
    for inputs in samples:
        reference.run(
            program, *inputs, watch=lambda name, x: rows.setdefault(name, []).append(x.mean(axis=1))
        )
    return {name: np.stack(found) for name, found in rows.items()}


def _moved(weights: Weights, exact: Weights, means: F64) -> Weights:
    packing = weights.packing
    assert packing is not None
    lost = exact.matrix.astype(np.float64) - weights.matrix
    bias = (weights.bias + certain(means @ lost.T)).astype(np.float32)
    padded = packing.bias.copy()
    padded[: bias.size] = bias
    return dataclasses.replace(
        weights, bias=bias, packing=dataclasses.replace(packing, bias=padded)
    )
