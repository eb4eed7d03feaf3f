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
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from filigree.converter import packfile
from filigree.converter.lowering import plan
from filigree.converter.lowering.program import (
    F32,
    Activation,
    ConvParams,
    MapParams,
    Op,
    Packing,
    Place,
    Port,
    Program,
    Tensor,
    Weights,
    padded_pitch,
)
from filigree.converter.sparsity import pattern as patterns
from filigree.converter.sparsity.cost import CONV_POSITIONS, DENSE, SPARSE, CostTable, Grid, Shape
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


@dataclass(frozen=True)
class _Case:
    """One op to time: a convolution of ``params`` over planes, or a product with a vector."""

    kind: int
    params: ConvParams
    weights: Weights

    @property
    def positions(self) -> int:
        return self.params.out_h * self.params.out_w


def measure(isa: str, *, progress: Progress | None = None) -> CostTable:
    """A cost table of ``isa`` on this machine. Raises ValueError if ``isa`` is not here."""
    if isa not in runtime.isas():
        raise ValueError(f'"{isa}" is not here; present: {", ".join(runtime.isas())}')
    clock = _Clock(isa, progress or (lambda stage, fraction: None))
    return functools.reduce(_least, (_sweep(clock, isa) for _ in range(SWEEPS)))


def _sweep(clock: _Clock, isa: str) -> CostTable:
    lanes = int(lib.fil_isa_lanes(lib.fil_isa_find(isa.encode())))
    overhead = clock.time(_product(c.FIL_OP_SPMV, 16, 1, positions=1, pattern=DENSE, density=1))
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

    def time(self, case: _Case) -> float:
        """Nanoseconds of one run of the case's op."""
        once = self._run_ns(case, 1)
        repeats = min(MAX_REPEATS, math.ceil(ENOUGH_NS / max(1.0, once)) + 1)
        if once < 20_000:  # mostly the cost of calling: look at what many repeats take
            rough = (self._run_ns(case, 33) - once) / 32
            repeats = min(MAX_REPEATS, math.ceil(ENOUGH_NS / max(20.0, rough)) + 1)
        self._done += 1
        self._progress(f"measuring {self._isa}", min(1.0, self._done / self._total))
        return max(1.0, (self._run_ns(case, 1 + repeats) - once) / repeats)

    def _run_ns(self, case: _Case, repeats: int) -> float:
        data = packfile.encode(plan.plan(_program(case, repeats)))
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
                case = _product(
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
            case = _product(
                c.FIL_OP_SPMV, rows, int(cols), positions=1, pattern=name, density=density
            )
            values.append(_per_block(clock, case, 1))
    return Grid((COLS, densities), tuple(values))


def _per_block(clock: _Clock, case: _Case, vectors: int) -> float:
    assert case.weights.packing is not None  # _product packs
    return _rounded(clock.time(case) / (case.weights.packing.blocks * vectors))


def _im2col_ns(clock: _Clock, panel: Mapping[str, Grid], lanes: int) -> float:
    """A 3x3 convolution to few channels, the time of its product taken off."""
    side, channels, rows = 28, 32, 8
    window = _plane_params(channels, side, k=3)
    case = _Case(
        c.FIL_OP_CONV, window, _weights(_random(rows, channels * 9, 1.0), c.FIL_OP_CONV, DENSE)
    )
    shape = _shape(case)
    product = panel[DENSE].at(shape.cols, CONV_POSITIONS, 1.0) * shape.vectors(lanes) * shape.cols
    total = clock.time(case)
    return _rounded(max(0.1 * total, total - product) / (shape.cols * shape.row_vectors(lanes)))


def _depthwise_ns(clock: _Clock, lanes: int) -> float:
    side, channels = 28, 64
    params = _plane_params(channels, side, k=3)
    weights = _weights(_random(channels, 9, 1.0), c.FIL_OP_DWCONV, DENSE)
    case = _Case(c.FIL_OP_DWCONV, params, weights)
    return _rounded(clock.time(case) / (channels * 9 * _shape(case).row_vectors(lanes)))


def _shape(case: _Case) -> Shape:
    rows, cols = case.weights.matrix.shape
    return Shape(case.kind, rows, cols, case.positions, case.params.out_w)


def _product(
    kind: int, rows: int, cols: int, *, positions: int, pattern: str, density: float
) -> _Case:
    params = ConvParams(channels=cols, ys=1)
    if kind == c.FIL_OP_SPMM:
        params = ConvParams(
            channels=cols,
            in_w=positions,
            out_w=positions,
            in_h=1,
            out_h=1,
            cs=padded_pitch(positions),
            ys=positions,
        )
    return _Case(kind, params, _weights(_random(rows, cols, density, pattern), kind, pattern))


def _plane_params(channels: int, side: int, *, k: int) -> ConvParams:
    return ConvParams(
        channels=channels,
        in_h=side,
        in_w=side,
        out_h=side,
        out_w=side,
        cs=padded_pitch(side * side),
        ys=side,
        kh=k,
        kw=k,
        pad_top=k // 2,
        pad_left=k // 2,
    )


def _random(rows: int, cols: int, density: float, pattern: str = DENSE) -> F32:
    """A matrix with ``density`` of its blocks present."""
    draw = np.random.default_rng(rows * 31 + cols)
    height = SPARSE.get(pattern, 1)
    keep = draw.random((-(-rows // height), cols)) < density
    keep[0, 0] = True
    values = draw.uniform(0.5, 1.0, (rows, cols))
    return np.where(np.repeat(keep, height, axis=0)[:rows], values, 0).astype(np.float32)


def _weights(matrix: F32, kind: int, pattern: str) -> Weights:
    bias = np.zeros(len(matrix), np.float32)
    packing: Packing
    if pattern == DENSE:
        packing = patterns.encode_dense(matrix, bias, block_rows=patterns.dense_block_rows(kind))
    else:
        packing = patterns.encode(matrix, bias, block_rows=SPARSE[pattern])
    return Weights("measured", matrix, bias, packing)


def _program(case: _Case, repeats: int) -> Program:
    """Fill the input, run the op ``repeats`` times, hand one value out."""
    positions_in = case.params.in_h * case.params.in_w
    x = _tensor("x", case.params.channels, positions_in)
    y = _tensor("y", case.weights.rows, case.positions)
    out = Tensor("out", (1,), 0, 1, Place.OUTPUT)
    fill = _map(x.planes, x.pitch, c.FIL_MAP_FILL, (), "x", Activation(lo=0.5))
    op = Op(case.kind, "measured", ("x",), "y", case.params, weights="w")
    copy = _map(1, 1, c.FIL_MAP_COPY, ("y",), "out", Activation())
    return Program(
        name="measured",
        tensors={t.name: t for t in (x, y, out)},
        ops=(fill, *[op] * repeats, copy),
        weights={"w": case.weights},
        inputs=(),
        outputs=(Port("out", "out", (1,)),),
    )


def _tensor(name: str, planes: int, positions: int) -> Tensor:
    if positions == 1:
        return Tensor(name, (planes,), 0, -(-planes // 16) * 16)
    return Tensor(name, (planes, positions), 1, padded_pitch(positions))


def _map(
    planes: int, pitch: int, fn: int, inputs: tuple[str, ...], out: str, act: Activation
) -> Op:
    walk = (0, 0, pitch, 1)
    params = MapParams((1, 1, planes, pitch), walk if inputs else (0, 0, 0, 0), (0, 0, 0, 0), walk)
    return Op(c.FIL_OP_MAP, "measured", inputs, out, params, act, fn)


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
