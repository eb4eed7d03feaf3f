"""How far float16 weights may move a network's outputs.

A bound from the shares alone (2^-11 of each weight, layer after layer) is either too wide or wrong,
as networks differ in how much they amplify. So it is measured: the weights are moved at random,
each by up to half a unit in its last place, which is what rounding did, and the outputs compared.
The largest difference over ``DRAWS`` draws, times ``MARGIN``, is what a right conversion may show:
were the differences normal, one in 7,000 would not pass, and that of a single output.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from filigree.cli.tasks.compare import TOLERANCE, relative
from filigree.cli.tasks.packed import F32, halves, many
from filigree.converter.lowering.program import Program, Weights
from filigree.native.model import Model

DRAWS = 8
MARGIN = 4


def allowed(program: Program, inputs: list[list[F32]]) -> float:
    """The largest difference to the original that float32 arithmetic and float16 weights explain,
    relative to the output range, for these inputs."""
    if not halves(program):
        return TOLERANCE
    plain = _results(program, inputs)
    moved = [_results(_moved(program, seed), inputs) for seed in range(DRAWS)]
    gaps = [relative(a, b) for draw in moved for a, b in zip(draw, plain, strict=True)]
    return TOLERANCE + MARGIN * max(gaps)


def _results(program: Program, inputs: list[list[F32]]) -> list[list[F32]]:
    from filigree.converter import packfile

    model = Model.from_bytes(packfile.encode(program))
    return [many(model.run(*arrays)) for arrays in inputs]


def _moved(program: Program, seed: int) -> Program:
    draw = np.random.default_rng(seed)
    weights = {name: _moved_weights(w, draw) for name, w in program.weights.items()}
    return replace(program, weights=weights)


def _moved_weights(weights: Weights, draw: np.random.Generator) -> Weights:
    """Other float32 weights that are about as far from the float16 ones as the original's were."""
    packing = weights.packing
    if packing is None or packing.values.dtype != np.float16:
        return weights
    unit = np.where(packing.values == 0, 0, np.abs(np.spacing(packing.values)))
    by = draw.uniform(-0.5, 0.5, packing.values.shape) * unit.astype(np.float64)
    return replace(weights, packing=replace(packing, values=(packing.values + by).astype("f4")))
