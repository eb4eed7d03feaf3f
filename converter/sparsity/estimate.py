"""Cost tables from a core's figures, for targets that cannot be timed on the machine at hand.

Per block and tile of V vectors the inner loop issues O * V multiply-adds and V + O/2 loads (two
weights a load on average) and steps one index; per group and tile it loads biases and stores
O * V results. Cycles are the larger of the multiply-add and load bounds plus the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from filigree.converter.sparsity.cost import DENSE, SPARSE, CostTable, Grid

COLS = (16.0, 64.0, 256.0, 1024.0)
DENSITIES = (0.03, 0.1, 0.3, 1.0)
DENSE_ROWS = 8


@dataclass(frozen=True)
class Core:
    """One core: multiply-adds and loads of whole vectors per cycle; ``tile`` vectors per block
    height; ``step`` cycles to decode an index."""

    name: str
    isa: str
    what: str
    lanes: int
    ghz: float
    fma: float
    loads: float
    step: float
    tile: Mapping[int, int]


CORES = (
    Core(
        name="arm64-neon",
        isa="neon",
        what="a Cortex-A76-class core",
        lanes=4,
        ghz=2.4,
        fma=2.0,
        loads=2.0,
        step=1.5,
        tile={1: 8, 2: 4, 4: 4, 8: 2},
    ),
    Core(
        name="wasm",
        isa="wasm",
        what="WebAssembly SIMD on a server core (no fused multiply-add, 16 registers)",
        lanes=4,
        ghz=2.6,
        fma=1.0,
        loads=2.0,
        step=2.0,
        tile={1: 4, 2: 4, 4: 2, 8: 1},
    ),
)


def estimate(core: Core) -> CostTable:
    """The cost table of a core by its figures."""
    panel = {name: _panel(core, height) for name, height in SPARSE.items()}
    vector = {name: _vector(core, height) for name, height in SPARSE.items()}
    cycle = 1 / core.ghz
    return CostTable(
        name=core.name,
        isa=core.isa,
        provenance=f"estimated from the issue rates of {core.what}; not measured",
        lanes=core.lanes,
        panel={DENSE: _panel(core, DENSE_ROWS, dense=True), **panel},
        vector={DENSE: _vector(core, 2 * DENSE_ROWS, dense=True), **vector},
        im2col_ns=_rounded(2 * cycle / core.loads),
        depthwise_ns=_rounded(1.5 * cycle / min(core.fma, core.loads)),
        overhead_ns=_rounded(100 * cycle),
    )


def _panel(core: Core, height: int, *, dense: bool = False) -> Grid:
    densities = (1.0,) if dense else DENSITIES
    tile = core.tile[height]
    step = 0.0 if dense else core.step
    block = max(height * tile / core.fma, (tile + height / 2) / core.loads) + step
    group = 2 * height * tile / core.loads
    values = [
        _rounded((block + group / (cols * density)) / tile / core.ghz)
        for cols in COLS
        for density in densities
    ]
    return Grid((COLS, (64.0,), densities), tuple(values))


def _vector(core: Core, height: int, *, dense: bool = False) -> Grid:
    """One position: weights are loaded once each, lanes run over the group."""
    densities = (1.0,) if dense else DENSITIES
    vectors = max(1.0, height / core.lanes)
    block = 2 * vectors / core.loads + (0.0 if dense else core.step)
    values = [
        _rounded((block + 4 * vectors / (cols * density)) / core.ghz)
        for cols in COLS
        for density in densities
    ]
    return Grid((COLS, densities), tuple(values))


def _rounded(x: float) -> float:
    return float(f"{x:.4g}")
