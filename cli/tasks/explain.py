"""The cost model on trial: predicted against measured time of every layer of a packed model."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from filigree.converter.lowering.program import Op, Program
from filigree.converter.sparsity import pattern as patterns
from filigree.converter.sparsity.cost import DENSE, SPARSE, CostTable, Shape
from filigree.converter.sparsity.work import cold_share, pattern_of, predict, rows_at_a_time
from filigree.native import enums as c
from filigree.native.model import OpTime

SMALLEST_SHARE = 0.01  # of the whole time: smaller layers do not count among the errors


@dataclass(frozen=True)
class Prediction:
    """One operation: seconds measured and predicted; the pattern that it is stored in, and the
    best of the others with what it was predicted to take (None: there was no choice)."""

    op: int
    layer: str
    kind: str
    pattern: str | None
    measured: float
    predicted: float
    runner_up: str | None
    runner_up_predicted: float | None

    @property
    def error(self) -> float:
        """Predicted against measured, relative; positive: predicted too slow."""
        return self.predicted / max(self.measured, 1e-12) - 1


@dataclass(frozen=True)
class Explanation:
    """``table``: the cost table's name, ``calibrated`` or shipped, and where it is from."""

    table: str
    isa: str
    calibrated: bool
    provenance: str
    layers: Sequence[Prediction]

    @property
    def counted(self) -> list[Prediction]:
        """The layers that take at least SMALLEST_SHARE of the whole time."""
        least = SMALLEST_SHARE * sum(layer.measured for layer in self.layers)
        return [layer for layer in self.layers if layer.measured >= least]

    @property
    def median_error(self) -> float:
        """Of the counted layers' errors without their sign."""
        return statistics.median(abs(layer.error) for layer in self.counted)

    @property
    def worst(self) -> Prediction:
        return max(self.counted, key=lambda layer: abs(layer.error))

    @property
    def total_error(self) -> float:
        """Of the sum over all layers, with its sign."""
        predicted = sum(layer.predicted for layer in self.layers)
        return predicted / max(sum(layer.measured for layer in self.layers), 1e-12) - 1


def explain(program: Program, times: Sequence[OpTime], *, isa: str) -> Explanation:
    """``times``: of every operation of the program, run with ``isa`` on this machine."""
    mine = CostTable.calibrated(isa)
    table = mine or CostTable.for_target("host", isa=isa)
    cold = cold_share(program, table)
    layers = []
    rows = rows_at_a_time(program)
    for op, band, time, ns in zip(program.ops, rows, times, predict(program, table), strict=True):
        name, other = _runner_up(op, program, table, cold, band=band)
        seconds = None if other is None else other * 1e-9
        layers.append(
            Prediction(
                time.op,
                time.node,
                time.kind,
                pattern_of(op, program),
                time.seconds,
                ns * 1e-9,
                name,
                seconds,
            )
        )
    return Explanation(table.name, table.isa, mine is not None, table.provenance, layers)


def _runner_up(
    op: Op, program: Program, table: CostTable, cold: float, *, band: int
) -> tuple[str | None, float | None]:
    """The best pattern that was not taken, and its predicted nanoseconds."""
    taken = pattern_of(op, program)
    if taken is None or op.weights is None or op.kind == c.FIL_OP_DWCONV:
        return None, None
    weights = program.weights[op.weights]
    shape = replace(Shape.of(op, weights), band=band)
    found = {}
    for name in (DENSE, *SPARSE):
        if name == taken:
            continue
        rows = SPARSE.get(name) or patterns.dense_block_rows(shape.kind, shape.rows)
        stats = (
            patterns.dense_stats(shape.rows, shape.cols, block_rows=rows)
            if name == DENSE
            else patterns.stats(weights.matrix, rows)
        )
        found[name] = table.predict(shape, name, blocks=stats.blocks, block_rows=rows, cold=cold)
    best = min(found, key=lambda name: found[name])
    return best, found[best]


def as_json(result: Explanation) -> dict[str, Any]:
    """Seconds, and errors as fractions."""
    return {
        "table": result.table,
        "isa": result.isa,
        "source": source(result),
        "provenance": result.provenance,
        "median_error": result.median_error,
        "worst_error": result.worst.error,
        "worst_layer": result.worst.layer,
        "total_error": result.total_error,
        "layers": [{**asdict(layer), "error": layer.error} for layer in result.layers],
    }


def source(result: Explanation) -> str:
    return "calibrated" if result.calibrated else "shipped"


def summary(result: Explanation) -> list[str]:
    """Which table predicted, and how well, in sentences."""
    worst = result.worst
    return [
        f"cost table {result.table} ({source(result)}, {result.isa}): {result.provenance}",
        f"off by {abs(result.median_error):.0%} in the median of the layers that take at least "
        f"{SMALLEST_SHARE:.0%}, {worst.error:+.0%} at worst ({worst.layer}), "
        f"{result.total_error:+.0%} in all",
    ]
