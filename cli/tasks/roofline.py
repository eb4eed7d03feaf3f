"""Every layer against what this machine can do: its multiply-adds and its memory.

The bound of a layer is max(flops / peak, bytes / bandwidth) (Williams, Waterman and Patterson's
roofline), bandwidth that of the smallest level of memory which holds all that the layer touches;
of a ring of rows (``lowering.bands``) that is the ring.
Peak, bandwidth and layers take turns, and the fractions are medians over turns, so that what
disturbs the machine for longer than a turn disturbs both sides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks.packed import random_inputs
from filigree.cli.tasks.timing import SAMPLE_SECONDS, pinned
from filigree.converter.lowering.program import (
    ConvParams,
    MapParams,
    MatmulParams,
    Op,
    PoolParams,
    Program,
    ReduceParams,
    SoftmaxParams,
)
from filigree.native import enums as c
from filigree.native import probe
from filigree.native.model import Model

F64 = NDArray[np.float64]
LEAST_TURNS = 15
SOFTMAX_FLOPS = 4  # an element: compare, subtract, exponential (as one), divide


@dataclass(frozen=True)
class Work:
    """What an operation has to do. ``flops``: two per multiply-add, of weights that are stored and
    not zeros stored for another row's sake; bytes: weights as stored, activations read and written
    once."""

    flops: int
    weight_bytes: int
    activation_bytes: int

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.activation_bytes

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / max(1, self.bytes)


@dataclass(frozen=True)
class Layer:
    """One operation; ``seconds`` in the median; ``level``: the memory that its bytes come from;
    ``bound``: "compute", or that level where its bandwidth is the limit; ``of_peak`` and
    ``of_roof``: fractions reached, of the peak and of the roofline."""

    op: int
    layer: str
    kind: str
    seconds: float
    work: Work
    level: str
    bound: str
    of_peak: float
    of_roof: float

    @property
    def flops_per_second(self) -> float:
        return self.work.flops / max(self.seconds, 1e-12)


@dataclass(frozen=True)
class Roofline:
    """``peak`` in operations per second, ``bandwidth`` in bytes per second by level (both medians);
    ``of_roof``: the sum of all bounds over the sum of all times."""

    isa: str
    peak: float
    bandwidth: Mapping[str, float]
    layers: Sequence[Layer]
    seconds: float
    of_roof: float
    turns: int


@dataclass(frozen=True)
class Turns:
    """Per turn: operations per second, bytes per second by level, seconds of every op."""

    peaks: F64  # [turns]
    rates: Mapping[str, F64]  # [turns]
    times: F64  # [turns, ops]


def measure(
    model: Model,
    program: Program,
    *,
    seconds: float,
    progress: Callable[[str, float], None] | None = None,
) -> Roofline:
    """Measure for about ``seconds``. ``program`` is the model's own."""
    works = [work_of(op, program) for op in program.ops]
    known = probe.levels()
    levels = [
        level_of(_held(*pair, program), known) for pair in zip(program.ops, works, strict=True)
    ]
    with pinned():
        turns = _take_turns(model, set(levels), seconds=seconds, progress=progress)
    return analyse(model.isa, program, works, levels, turns)


def _take_turns(
    model: Model,
    levels: set[str],
    *,
    seconds: float,
    progress: Callable[[str, float], None] | None,
) -> Turns:
    inputs = random_inputs(model.inputs, seed=1)
    triads = {name: t for name, t in probe.triads(model.isa).items() if name in levels}
    model.run(*inputs)
    once = float(model.time_ops(*inputs).sum())
    runs = max(1, round(SAMPLE_SECONDS / max(once, 1e-9)))
    peaks: list[float] = []
    times: list[F64] = []
    rates: dict[str, list[float]] = {name: [] for name in triads}
    start = time.perf_counter()
    while len(peaks) < LEAST_TURNS or time.perf_counter() - start < seconds:
        peaks.append(probe.peak(model.isa))
        for name, triad in triads.items():
            rates[name].append(triad.rate())
        model.run(*inputs)  # the triads have taken its place in the caches
        times.append(np.median([model.time_ops(*inputs) for _ in range(runs)], axis=0))
        if progress:
            spent = (time.perf_counter() - start) / seconds
            progress("measuring the roofline", min(1.0, len(peaks) / LEAST_TURNS, spent))
    return Turns(np.array(peaks), {k: np.array(v) for k, v in rates.items()}, np.array(times))


def analyse(
    isa: str, program: Program, works: Sequence[Work], levels: Sequence[str], turns: Turns
) -> Roofline:
    """The result from what was measured: ratios are taken within a turn, then their median."""
    compute = np.array([work.flops for work in works]) / turns.peaks[:, None]
    rates = np.stack([turns.rates[level] for level in levels], axis=1)
    memory = np.array([work.bytes for work in works]) / rates
    bounds = np.maximum(compute, memory)
    times = np.maximum(turns.times, 1e-12)
    of_peak, of_roof = np.median(compute / times, axis=0), np.median(bounds / times, axis=0)
    limited = np.median(compute - memory, axis=0) < 0
    layers = [
        Layer(
            i,
            op.node,
            op_kind(op),
            float(np.median(times[:, i])),
            works[i],
            levels[i],
            levels[i] if limited[i] else "compute",
            float(of_peak[i]),
            float(of_roof[i]),
        )
        for i, op in enumerate(program.ops)
    ]
    whole = bounds.sum(axis=1) / times.sum(axis=1)
    return Roofline(
        isa,
        float(np.median(turns.peaks)),
        {name: float(np.median(rate)) for name, rate in turns.rates.items()},
        layers,
        float(np.median(times.sum(axis=1))),
        float(np.median(whole)),
        len(turns.peaks),
    )


def level_of(working_set: int, levels: Sequence[probe.Level]) -> str:
    """The smallest level that holds ``working_set`` bytes."""
    fits = (level.name for level in levels if level.bytes is None or working_set <= level.bytes)
    return next(fits)


def _held(op: Op, work: Work, program: Program) -> int:
    """Bytes that an operation touches again and again: rings are shorter than what passes them."""
    tensors = sum(program.tensors[name].nbytes for name in {*op.inputs, op.output})
    return work.weight_bytes + min(work.activation_bytes, tensors)


def op_kind(op: Op) -> str:
    from filigree.cli.tasks.filefacts import op_name

    return op_name(op.kind)


def work_of(op: Op, program: Program) -> Work:
    """The work of one operation of a packed program."""
    if op.weights is not None:
        assert isinstance(op.params, ConvParams)  # lowering.check: kinds with weights
        return _of_weights(op, op.params, program)
    flops, values = _of_values(op)
    return Work(flops, 0, program.tensors[op.output].itemsize * values)


def _of_weights(op: Op, p: ConvParams, program: Program) -> Work:
    weights = program.weights[op.weights or ""]
    packing = weights.packing
    if packing is None:
        raise ValueError(f'weights of "{weights.layer}" are not packed')
    dense = packing.coding == c.FIL_CODING_NONE
    stored = weights.matrix.size if dense else int(np.count_nonzero(weights.matrix))
    positions = p.out_h * p.out_w
    outputs = weights.rows * positions
    read = p.channels * p.in_h * p.in_w + outputs * (len(op.inputs) - 1)
    held = packing.nbytes + packing.bias.nbytes
    item = program.tensors[op.output].itemsize
    return Work(2 * stored * positions, held, item * (read + outputs))


def _of_values(op: Op) -> tuple[int, int]:
    """Operations, and values read and written, of an operation without weights."""
    p = op.params
    if isinstance(p, MapParams):
        count, copies = math.prod(p.dim), op.fn in (c.FIL_MAP_COPY, c.FIL_MAP_FILL)
        walks = (p.sa, p.sb)[: len(op.inputs)]
        read = sum(math.prod(n for n, s in zip(p.dim, w, strict=True) if s) for w in walks)
        return 0 if copies else count, read + count
    if isinstance(p, ConvParams):  # PIXELS
        count = p.channels * p.out_h * p.out_w
        return 2 * count, 2 * count
    if isinstance(p, PoolParams):
        outputs = p.channels * p.out_h * p.out_w
        return outputs * p.kh * p.kw, p.channels * p.in_h * p.in_w + outputs
    if isinstance(p, ReduceParams):
        count = p.outer * p.reduce * p.inner
        return count, count + p.outer * p.inner
    if isinstance(p, SoftmaxParams):
        count = p.outer * p.axis * p.inner
        return SOFTMAX_FLOPS * count, 2 * count
    assert isinstance(p, MatmulParams)  # lowering.check: all other kinds have weights
    return 2 * p.batch * p.m * p.n * p.k, p.batch * (p.m * p.k + p.k * p.n + p.m * p.n)


def as_json(result: Roofline) -> dict[str, Any]:
    """Seconds, bytes, and rates per second."""
    return {
        "isa": result.isa,
        "peak_flops": result.peak,
        "bandwidth": dict(result.bandwidth),
        "seconds": result.seconds,
        "of_roof": result.of_roof,
        "turns": result.turns,
        "layers": [
            {
                "op": layer.op,
                "layer": layer.layer,
                "kind": layer.kind,
                "seconds": layer.seconds,
                **asdict(layer.work),
                "intensity": layer.work.intensity,
                "flops_per_second": layer.flops_per_second,
                "level": layer.level,
                "bound": layer.bound,
                "of_peak": layer.of_peak,
                "of_roof": layer.of_roof,
            }
            for layer in result.layers
        ],
    }


def summary(result: Roofline) -> list[str]:
    """What the machine can do, and how near the whole network comes, in sentences."""
    rates = ", ".join(f"{name} {rate / 1e9:.0f} GB/s" for name, rate in result.bandwidth.items())
    return [
        f"one core, {result.isa}: peak {result.peak / 1e9:.1f} GFLOP/s; {rates}",
        f"the whole network reaches {result.of_roof:.0%} of its roofline",
    ]
