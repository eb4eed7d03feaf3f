"""Time the kernels of this machine on small packed models, for the cost model.

Each point is one op, run R + 1 times and once inside two otherwise equal programs; the difference
over R is its time, free of the cost of calling. The least of several runs counts, some of them much
later: others on this machine only ever make it longer.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from filigree.converter import packfile
from filigree.converter.lowering import plan
from filigree.converter.sparsity.cases import (
    Case,
    packed,
    plane_params,
    product,
    program,
    random_matrix,
    shape_of,
)
from filigree.converter.sparsity.cost import CONV_POSITIONS, DENSE, SPARSE, CostTable, Grid
from filigree.native import enums as c
from filigree.native import model as runtime
from filigree.native._ffi import lib

COLS = (16.0, 64.0, 256.0, 1024.0)
POSITIONS = (16.0, 64.0, 256.0, 1024.0, 4096.0)
DENSITIES = (0.03, 0.1, 0.3, 1.0)
ROWS = 128
LARGEST_INPUT = 1 << 21  # values: activations of one measured op
ENOUGH_NS = 100_000  # what the repeats of one op should take together
MAX_REPEATS = 2000
RUNS = 7
SWEEPS = 2

Progress = Callable[[str, float], None]


def measure(isa: str, *, progress: Progress | None = None) -> CostTable:
    """A cost table of ``isa`` on this machine. Raises ValueError if ``isa`` is not here."""
    if isa not in runtime.isas():
        raise ValueError(f'"{isa}" is not here; present: {", ".join(runtime.isas())}')
    clock = _Clock(isa, progress or (lambda stage, fraction: None))
    return functools.reduce(_least, (_sweep(clock, isa) for _ in range(SWEEPS)))


def _sweep(clock: _Clock, isa: str) -> CostTable:
    lanes = int(lib.fil_isa_lanes(lib.fil_isa_find(isa.encode())))
    overhead = clock.time(product(c.FIL_OP_SPMV, 16, 1, positions=1, pattern=DENSE, density=1))
    names = (DENSE, *SPARSE)
    panel = {name: _panel_grid(clock, name, lanes) for name in names}
    vector = {name: _vector_grid(clock, name) for name in names}
    return CostTable(
        name=f"{platform.machine().replace('_', '-')}-{isa}",
        isa=isa,
        provenance=f"measured on {_processor()} by filigree {packfile.library_version()}",
        lanes=lanes,
        panel=panel,
        vector=vector,
        im2col_ns=_im2col_ns(clock, panel, lanes),
        depthwise_ns=_depthwise_ns(clock, lanes),
        overhead_ns=_rounded(overhead),
    )


def _least(a: CostTable, b: CostTable) -> CostTable:
    """The smaller of every two times: what is larger was disturbed."""

    def grids(x: Mapping[str, Grid], y: Mapping[str, Grid]) -> dict[str, Grid]:
        return {n: Grid(x[n].axes, tuple(map(min, x[n].values, y[n].values))) for n in x}

    return dataclasses.replace(
        a,
        panel=grids(a.panel, b.panel),
        vector=grids(a.vector, b.vector),
        im2col_ns=min(a.im2col_ns, b.im2col_ns),
        depthwise_ns=min(a.depthwise_ns, b.depthwise_ns),
        overhead_ns=min(a.overhead_ns, b.overhead_ns),
    )


class _Clock:
    """Times cases on one instruction set, and reports how far it is."""

    def __init__(self, isa: str, progress: Progress) -> None:
        self._isa = isa
        self._progress = progress
        self._done = 0
        grid = len(COLS) * (len(DENSITIES) * len(SPARSE) + 1)
        self._total = SWEEPS * (grid * (len(POSITIONS) + 1) + 3)

    def time(self, case: Case) -> float:
        """Nanoseconds of one run of the case's op."""
        once = self._run_ns(case, 1)
        repeats = min(MAX_REPEATS, math.ceil(ENOUGH_NS / max(1.0, once)) + 1)
        if once < 20_000:  # mostly the cost of calling: look at what many repeats take
            rough = (self._run_ns(case, 33) - once) / 32
            repeats = min(MAX_REPEATS, math.ceil(ENOUGH_NS / max(20.0, rough)) + 1)
        self._done += 1
        self._progress(f"measuring {self._isa}", min(1.0, self._done / self._total))
        return max(1.0, (self._run_ns(case, 1 + repeats) - once) / repeats)

    def _run_ns(self, case: Case, repeats: int) -> float:
        data = packfile.encode(plan.plan(program(case, repeats)))
        model = runtime.Model.from_bytes(data, isa=self._isa)
        model.run()
        return min(_timed(model.run) for _ in range(RUNS))


def _timed(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def _panel_grid(clock: _Clock, name: str, lanes: int) -> Grid:
    densities = (1.0,) if name == DENSE else DENSITIES
    values = []
    for cols in COLS:
        for positions in POSITIONS:
            size = min(positions, LARGEST_INPUT / cols)
            for density in densities:
                case = product(
                    c.FIL_OP_SPMM,
                    ROWS,
                    int(cols),
                    positions=int(size),
                    pattern=name,
                    density=density,
                )
                values.append(_per_block(clock, case, -(-case.positions // lanes)))
    return Grid((COLS, POSITIONS, densities), tuple(values))


def _vector_grid(clock: _Clock, name: str) -> Grid:
    densities = (1.0,) if name == DENSE else DENSITIES
    values = []
    for cols in COLS:
        for density in densities:
            rows = max(ROWS, int(cols))
            case = product(
                c.FIL_OP_SPMV, rows, int(cols), positions=1, pattern=name, density=density
            )
            values.append(_per_block(clock, case, 1))
    return Grid((COLS, densities), tuple(values))


def _per_block(clock: _Clock, case: Case, vectors: int) -> float:
    assert case.weights.packing is not None  # _product packs
    return _rounded(clock.time(case) / (case.weights.packing.blocks * vectors))


def _im2col_ns(clock: _Clock, panel: Mapping[str, Grid], lanes: int) -> float:
    """A 3x3 convolution to few channels, the time of its product taken off."""
    side, channels, rows = 28, 32, 8
    window = plane_params(channels, side, k=3)
    case = Case(
        c.FIL_OP_CONV, window, packed(random_matrix(rows, channels * 9, 1.0), c.FIL_OP_CONV, DENSE)
    )
    shape = shape_of(case)
    product = panel[DENSE].at(shape.cols, CONV_POSITIONS, 1.0) * shape.vectors(lanes) * shape.cols
    total = clock.time(case)
    return _rounded(max(0.1 * total, total - product) / (shape.cols * shape.row_vectors(lanes)))


def _depthwise_ns(clock: _Clock, lanes: int) -> float:
    side, channels = 28, 64
    params = plane_params(channels, side, k=3)
    weights = packed(random_matrix(channels, 9, 1.0), c.FIL_OP_DWCONV, DENSE)
    case = Case(c.FIL_OP_DWCONV, params, weights)
    return _rounded(clock.time(case) / (channels * 9 * shape_of(case).row_vectors(lanes)))


def _rounded(x: float) -> float:
    """Four significant digits: more is noise."""
    return float(f"{x:.4g}")


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
