"""Time the kernels of this machine on small packed models, for the cost model.

Each point is one op, run R + 1 times and once inside two otherwise equal programs; the difference
over R is its time, free of the cost of calling. The least of several runs counts, some of them much
later: others on this machine only ever make it longer. Everything that an op touches fits near the
core.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from filigree.converter import packfile
from filigree.converter.lowering import plan
from filigree.converter.lowering.program import Op
from filigree.converter.sparsity.cases import (
    Case,
    in_int8,
    packed,
    product,
    program,
    random_matrix,
    shape_of,
    weightless,
    window,
)
from filigree.converter.sparsity.cost import (
    CONV_POSITIONS,
    DENSE,
    DEPTHWISE,
    IM2COL,
    RATES,
    SPARSE,
    CostTable,
    Grid,
)
from filigree.converter.sparsity.work import vectors_of
from filigree.native import enums as c
from filigree.native import model as runtime
from filigree.native import probe
from filigree.native._ffi import lib

COLS = (8.0, 16.0, 64.0, 256.0, 1024.0)
POSITIONS = (16.0, 64.0, 256.0, 1024.0)
DENSITIES = (0.03, 0.1, 0.2, 0.4, 1.0)
ROWS = 128
HEIGHTS = (3.0, 4.0, 7.0, 8.0, 14.0, 28.0)
WIDTHS = (3.0, 7.0, 14.0, 28.0, 56.0, 112.0)
CHANNELS = (1.0, 3.0, 16.0)
MOST = 1 << 16  # values of an input, an output or a matrix that is near
FAR_TRIES = 20
ENOUGH_NS = 100_000  # what the repeats of one op should take together
MAX_REPEATS = 2000
RUNS = 7
TRIES = 5
SWEEPS = 3

Progress = Callable[[str, float], None]


def measure(isa: str, *, progress: Progress | None = None) -> CostTable:
    """A cost table of ``isa`` on this machine. Raises ValueError if ``isa`` is not here."""
    if isa not in runtime.isas():
        raise ValueError(f'"{isa}" is not here; present: {", ".join(runtime.isas())}')
    tell = progress or (lambda stage, fraction: None)
    floats = _Clock(isa, lambda stage, share: tell(stage, share / 2))
    table = functools.reduce(_least, (_sweep(floats, isa) for _ in range(SWEEPS)))
    integers = measure_int8(table, progress=lambda stage, share: tell(stage, (1 + share) / 2))
    return dataclasses.replace(table, int8=integers)


def measure_int8(floats: CostTable, *, progress: Progress | None = None) -> CostTable:
    """The table of int8 layers that belongs to one of floats, whose rates of other work it has."""
    clock = _Clock(floats.isa, progress or (lambda stage, fraction: None), int8=True)
    table = functools.reduce(_least, (_sweep(clock, floats.isa) for _ in range(SWEEPS)))
    rates = dict(floats.rates) | {"finish": table.rates["finish"]}
    far = _rounded(floats.far_ns / 4)  # bytes to a weight
    return dataclasses.replace(table, rates=rates, far_ns=far, near_bytes=floats.near_bytes)


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
        im2col={name: _im2col_grid(clock, name, panel, lanes) for name in IM2COL},
        depthwise={name: _depthwise_grid(clock, name, lanes) for name in DEPTHWISE},
        rates={kind: _rate(clock, kind, lanes) for kind in RATES},
        overhead_ns=_rounded(overhead),
        near_bytes=probe.near().bytes or 0,
        far_ns=1.0 if clock.int8 else _far_ns(isa),
    )


def _least(a: CostTable, b: CostTable) -> CostTable:
    """The smaller of every two times: what is larger was disturbed."""

    def grids(x: Mapping[str, Grid], y: Mapping[str, Grid]) -> dict[str, Grid]:
        return {n: Grid(x[n].axes, tuple(map(min, x[n].values, y[n].values))) for n in x}

    return dataclasses.replace(
        a,
        panel=grids(a.panel, b.panel),
        vector=grids(a.vector, b.vector),
        im2col=grids(a.im2col, b.im2col),
        depthwise=grids(a.depthwise, b.depthwise),
        rates={kind: min(a.rates[kind], b.rates[kind]) for kind in RATES},
        overhead_ns=min(a.overhead_ns, b.overhead_ns),
        far_ns=min(a.far_ns, b.far_ns),
    )


class _Clock:
    """Times cases on one instruction set, and reports how far it is."""

    def __init__(self, isa: str, progress: Progress, *, int8: bool = False) -> None:
        self._isa = isa
        self.int8 = int8
        self._progress = progress
        self._done = 0
        grid = len(COLS) * (len(DENSITIES) * len(SPARSE) + 1)
        windows = len(WIDTHS) * (len(HEIGHTS) * len(DEPTHWISE) + len(CHANNELS) * len(IM2COL))
        others = 2 * TRIES + (1 if int8 else len(RATES))
        self._total = SWEEPS * (grid * (len(POSITIONS) + 1) + windows + others)

    def time(self, case: Case | Op) -> float:
        """Nanoseconds of one run of the case's op."""
        once = self._program(case, 1)
        rough = float(min(_timed(once.run) for _ in range(RUNS)))
        if rough < 20_000:  # mostly the cost of calling: look at what many repeats take
            rough = self._difference(once, self._program(case, 33)) / 32
        repeats = min(MAX_REPEATS, math.ceil(ENOUGH_NS / max(20.0, rough)) + 1)
        many = self._program(case, 1 + repeats)
        self._done += 1
        self._progress(f"measuring {self._isa}", min(1.0, self._done / self._total))
        return max(1.0, self._difference(once, many) / repeats)

    def _program(self, case: Case | Op, repeats: int) -> runtime.Model:
        made = program(case, repeats)
        data = packfile.encode(plan.plan(in_int8(made) if self.int8 else made))
        model = runtime.Model.from_bytes(data, isa=self._isa)
        model.run()
        return model

    def _difference(self, once: runtime.Model, many: runtime.Model) -> float:
        """Nanoseconds that ``many`` takes more; they take turns, so that both are disturbed."""
        for _ in range(TRIES):
            pairs = [(_timed(once.run), _timed(many.run)) for _ in range(RUNS)]
            short, long = (min(times) for times in zip(*pairs, strict=True))
            if long > short:
                break
        return float(long - short)


def _timed(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def _panel_grid(clock: _Clock, name: str, lanes: int) -> Grid:
    densities = (1.0,) if name == DENSE else DENSITIES
    values = []
    for cols in COLS:
        for positions in POSITIONS:
            size = min(positions, MOST / cols)
            rows = min(ROWS, int(MOST / size))
            for density in densities:
                case = product(
                    c.FIL_OP_SPMM,
                    rows,
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
            rows = min(max(ROWS, int(cols)), int(2 * MOST / cols))
            case = product(
                c.FIL_OP_SPMV, rows, int(cols), positions=1, pattern=name, density=density
            )
            values.append(_per_block(clock, case, 1))
    return Grid((COLS, densities), tuple(values))


def _per_block(clock: _Clock, case: Case, vectors: int) -> float:
    assert case.weights.packing is not None  # product packs
    return _rounded(clock.time(case) / (case.weights.packing.blocks * vectors))


def _im2col_grid(clock: _Clock, name: str, panel: Mapping[str, Grid], lanes: int) -> Grid:
    """3x3 convolutions to few rows, the time of their product taken off."""
    values = []
    for channels in CHANNELS:
        for width in WIDTHS:
            stride = IM2COL[name]
            height = min(width, max(4.0, MOST / (channels * stride**2 * width)))
            params = window(int(channels), (int(height), int(width)), k=3, stride=stride)
            matrix = random_matrix(8, int(channels) * 9, 1.0)
            case = Case(c.FIL_OP_CONV, params, packed(matrix, c.FIL_OP_CONV, DENSE))
            shape = shape_of(case)
            positions = min(CONV_POSITIONS, shape.positions)
            per_column = panel[DENSE].at(shape.cols, positions, 1.0) * shape.vectors(lanes)
            total = clock.time(case)
            columns = max(0.1 * total, total - per_column * shape.cols)
            values.append(_rounded(columns / (shape.cols * shape.row_vectors(lanes))))
    return Grid((CHANNELS, WIDTHS), tuple(values))


def _depthwise_grid(clock: _Clock, name: str, lanes: int) -> Grid:
    side, stride = DEPTHWISE[name]
    values = []
    for height in HEIGHTS:
        for width in WIDTHS:
            channels = max(1, min(64, int(MOST / (height * width * stride**2))))
            params = window(channels, (int(height), int(width)), k=side, stride=stride)
            weights = packed(random_matrix(channels, side * side, 1.0), c.FIL_OP_DWCONV, DENSE)
            case = Case(c.FIL_OP_DWCONV, params, weights)
            work = channels * side * side * shape_of(case).row_vectors(lanes)
            values.append(_rounded(clock.time(case) / work))
    return Grid((HEIGHTS, WIDTHS), tuple(values))


def _rate(clock: _Clock, kind: str, lanes: int) -> float:
    """Nanoseconds per vector of work without weights."""
    if kind == "finish":
        return _finish_ns(clock, lanes)
    if clock.int8:
        return 1.0  # floats' stand for them
    op = weightless(kind)
    return _rounded(clock.time(op) / vectors_of(op, lanes)[1])


def _finish_ns(clock: _Clock, lanes: int) -> float:
    """What adding a residual costs, per row and vector: the product itself is next to nothing."""
    plain = product(c.FIL_OP_SPMM, 64, 8, positions=256, pattern="4x1", density=0.2)
    late = dataclasses.replace(plain, residual=True)
    more = statistics.median(clock.time(late) - clock.time(plain) for _ in range(TRIES))
    return _rounded(max(0.1, more / (64 * 256 / lanes)))


def _far_ns(isa: str) -> float:
    """What a byte from main memory costs more than one that is near."""
    triads = probe.triads(isa)
    near, far = triads[probe.near().name], triads[probe.DRAM]
    best_near, best_far = (max(t.rate() for _ in range(FAR_TRIES)) for t in (near, far))
    return _rounded(max(0.01 / best_far, 1 / best_far - 1 / best_near) * 1e9)


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
