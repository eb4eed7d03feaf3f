"""How far float16 weights and activations, int4 weights, or int8, may move a network's outputs.

A bound from the shares alone (2^-11 of each weight, layer after layer) is either too wide or wrong,
as networks differ in how much they amplify. So it is measured: the weights are moved at random,
each by up to half a unit in its last place (of int4 half a step of its scale), which is what
rounding did, and the outputs compared.
The largest difference over ``DRAWS`` draws, times ``MARGIN``, is what a right conversion may show:
were the differences normal, one in 7,000 would not pass, and that of a single output. Activations
of float16 are moved along, by what a sum of 64 numbers may lose (``reference.UNITS``).
int8: multipliers, and the weights of layers that stay float32, are moved in their last places,
where other runtimes' differ, so that what lies next to a tie goes to either side; ``STEPS`` steps
of an output's own scale are allowed, and what the original's runtime differs from itself by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks.compare import TOLERANCE, Case, in_steps, relative
from filigree.cli.tasks.packed import F32, fours, halves, has_int8, many, step_of
from filigree.converter import reference
from filigree.converter.lowering.halves import is_narrow, widened
from filigree.converter.lowering.program import INT4_KINDS, Program, Weights, float_kind
from filigree.converter.sparsity import four_bits, pattern
from filigree.native.model import Model

DRAWS = 8
NARROW_DRAWS = 3  # these go by way of float64: no device of this one's kind need be here
MARGIN = 4
STEPS = 1.5
LAST_PLACES = 2.0**-21


def allowed(program: Program, case: Case) -> float:
    """The largest difference to the original that float32 arithmetic, float16 and rounding to int8
    explain, as ``case`` measures it, for its inputs."""
    inputs = case.inputs
    if is_narrow(program):
        return TOLERANCE + MARGIN * _moved_activations(program, inputs)
    steps = [step_of(program, port) for port in program.outputs]
    if not halves(program) and not fours(program) and not has_int8(program):
        return TOLERANCE
    plain = _results(program, inputs)
    moved = [_results(_moved(program, seed), inputs) for seed in range(DRAWS)]
    if case.steps:
        pairs = [pair for draw in moved for pair in zip(draw, plain, strict=True)]
        most = max(max(in_steps(a, b, case.steps)) for a, b in pairs)
        return STEPS + MARGIN * most + case.spread
    gaps = [relative(a, b) for draw in moved for a, b in zip(draw, plain, strict=True)]
    own = [relative([y + STEPS * s for y, s in zip(run, steps, strict=True)], run) for run in plain]
    return TOLERANCE + MARGIN * max(gaps) + max(own)


def _moved_activations(program: Program, inputs: list[list[F32]]) -> float:
    plain = widened(program)
    gaps = [0.0]
    for seed in range(NARROW_DRAWS):
        draw, moved = np.random.default_rng(seed), _moved(program, seed)
        for arrays in inputs:
            got = _as_f32(reference.run(moved, *arrays, moved=draw))
            gaps.append(relative(got, _as_f32(reference.run(plain, *arrays))))
    return max(gaps)


def _as_f32(values: list[NDArray[np.float64]]) -> list[F32]:
    return [value.astype(np.float32) for value in values]


def _results(program: Program, inputs: list[list[F32]]) -> list[list[F32]]:
    from filigree.converter import packfile

    model = Model.from_bytes(packfile.encode(program))
    return [many(model.run(*arrays)) for arrays in inputs]


def _moved(program: Program, seed: int) -> Program:
    draw = np.random.default_rng(seed)
    mixed = has_int8(program)
    weights = {name: _moved_weights(w, draw, mixed=mixed) for name, w in program.weights.items()}
    ops = tuple(replace(op, kind=_moved_kind(op.kind)) for op in program.ops)
    return replace(program, weights=weights, ops=ops)


def _moved_kind(kind: int) -> int:
    """int4 weights are float32 when they have moved."""
    return float_kind(kind) if kind in INT4_KINDS.values() else kind


def _moved_weights(weights: Weights, draw: np.random.Generator, *, mixed: bool) -> Weights:
    """Other float32 weights that are about as far from the rounded ones as the original's were;
    ``mixed``: those of float32 are moved in their last places."""
    packing = weights.packing
    if packing is not None and packing.multipliers is not None:
        by = 1 + draw.uniform(-LAST_PLACES, LAST_PLACES, packing.multipliers.shape)
        moved = (packing.multipliers * by).astype(np.float32)
        return replace(weights, packing=replace(packing, multipliers=moved))
    if packing is not None and packing.scales is not None:
        plain = pattern.widened(packing, rows=weights.rows)
        by = draw.uniform(-0.5, 0.5, plain.values.shape) * four_bits.steps_of(packing, weights.rows)
        moved = np.where(plain.values == 0, 0, plain.values + by).astype(np.float32)
        return replace(weights, packing=replace(plain, values=moved))
    if mixed and packing is not None and packing.values.dtype == np.float32:
        by = 1 + draw.uniform(-LAST_PLACES, LAST_PLACES, packing.values.shape)
        return replace(weights, packing=replace(packing, values=(packing.values * by).astype("f4")))
    if packing is None or packing.values.dtype != np.float16:
        return weights
    unit = np.where(packing.values == 0, 0, np.abs(np.spacing(packing.values)))
    by = draw.uniform(-0.5, 0.5, packing.values.shape) * unit.astype(np.float64)
    return replace(weights, packing=replace(packing, values=(packing.values + by).astype("f4")))
