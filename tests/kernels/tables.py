"""Cost tables of targets that cannot be timed here, from llvm-mca and counted instructions:

    make tables     python -m tests.kernels.tables [NAME ...]

A layer is its stored blocks at the cycles of their inner loops, and what is done once per group and
tile, at as many cycles per instruction as the tile's code outside its loops takes (arm64) or its
loop takes (WebAssembly). Products with a vector, im2col and depthwise convolutions are their
instructions at the cycles per instruction of their loops; other operations, at that of products
with a vector. All data come from the L1 cache; what a byte from main memory costs is taken from
``Machine.gbps``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from filigree.converter import packfile
from filigree.converter.lowering import plan
from filigree.converter.lowering.program import Op
from filigree.converter.sparsity import cases
from filigree.converter.sparsity.cases import Case
from filigree.converter.sparsity.cost import (
    DENSE,
    DEPTHWISE,
    IM2COL,
    RATES,
    SPARSE,
    TABLES,
    CostTable,
    Grid,
)
from filigree.converter.sparsity.work import vectors_of
from filigree.native import enums as c
from filigree.packaging import count
from tests.kernels import mca

COLS = (16.0, 64.0, 256.0, 1024.0)
POSITIONS = (16.0, 64.0, 256.0, 1024.0)
DENSITIES = (0.03, 0.1, 0.3, 1.0)
LANES = 4
GROUPS, BLOCKS = 8, 16  # of the layers whose tiles are looked at
ROWS = 128  # of the products with a vector
DENSE_ROWS = 8
CHANNELS = (3.0, 16.0)
SIDES = (4.0, 7.0, 14.0, 28.0)  # of images
DEPTH = 16  # channels of depthwise convolutions


class Machine(Protocol):
    """What a table is made from; ``instructions`` of a case's operation, not of a whole run. The
    second-level cache holds ``near_bytes``; main memory brings ``gbps`` GB/s to one core."""

    name: str
    isa: str
    cpu: str
    ghz: float
    how: str
    near_bytes: int
    gbps: float

    def instructions(self, case: Case | Op) -> float: ...
    def loop(self, tile: str, coding: str) -> tuple[float, float]: ...
    def cpi(self, function: str) -> float: ...


@dataclass(frozen=True)
class Arm:
    """A core of LLVM's, and instructions under QEMU."""

    name: str
    cpu: str
    ghz: float
    near_bytes: int
    gbps: float
    isa: str = "neon"
    how: str = "instructions under QEMU"

    def instructions(self, case: Case | Op) -> float:
        """One operation, the last but one of fills, operation, copy."""
        return float(_counted(_packed(case, 1))[-2])

    def loop(self, tile: str, coding: str) -> tuple[float, float]:
        """Cycles and instructions of a block."""
        body = _loop("arm64", tile, coding).body
        return mca.cycles(body, mca.TRIPLE["arm64"], self.cpu), float(len(body))

    def cpi(self, function: str) -> float:
        """Cycles per instruction of a function outside its loops, or of the loops of one that is
        mostly loops."""
        found = mca.functions("arm64")[function]
        body = found.rest() if function.startswith("tile_") else _hottest(function)
        return mca.cycles(body, mca.TRIPLE["arm64"], self.cpu) / len(body)


@dataclass(frozen=True)
class Wasm:
    """wasmtime's code on one of LLVM's cores, and WebAssembly instructions as it meters them."""

    name: str = "wasm"
    cpu: str = "znver4"
    ghz: float = 3.5
    near_bytes: int = 1 << 20
    gbps: float = 20.0
    isa: str = "wasm"
    how: str = "wasmtime's code and fuel"

    def instructions(self, case: Case | Op) -> float:
        once, thrice = (_fuel(_packed(case, n)) for n in (1, 3))
        return (thrice - once) / 2

    def loop(self, tile: str, coding: str) -> tuple[float, float]:
        rows, vectors = (int(n) for n in tile.removeprefix("tile_").split("x"))
        name = DENSE if coding == "none" else f"{rows}x1"
        few, many = (_tile_case(name, rows, vectors, n) for n in (BLOCKS, 4 * BLOCKS))
        slope = (self.instructions(many) - self.instructions(few)) / _passes(many, few)
        return mca.cycles(_loop("wasm", tile, coding).body, "x86_64", self.cpu), slope

    def cpi(self, function: str) -> float:
        took, instructions = self.loop("tile_4x2", "d8")
        return took / instructions


@dataclass(frozen=True)
class Core:
    """A microcontroller without caches, as instructions under QEMU alone: one takes about a cycle,
    whatever it does. ``own_int8``: int8 layers have kernels, and a table, of their own."""

    name: str = "cortex-m"
    core: str = "cortex-m4"
    ghz: float = 0.1
    isa: str = "scalar"
    near_bytes: int = 1 << 20
    cols: tuple[float, ...] = (16.0, 64.0, 256.0)
    positions: tuple[float, ...] = (9.0, 36.0, 144.0)
    densities: tuple[float, ...] = (0.1, 0.3, 1.0)
    rows: int = 16
    sides: tuple[float, ...] = (4.0, 12.0, 24.0)
    channels: tuple[float, ...] = (3.0, 8.0)
    own_int8: bool = False
    dtype: str = "float32"
    how: str = "on {core} under QEMU, one each 10 ns"

    def instructions(self, case: Case | Op) -> float:
        """Of one operation, the last but one of fills, operation, copy."""
        once = self._program(case, 1)
        if self.core == "wasm":
            return (_fuel(self._program(case, 3)) - _fuel(once)) / 2
        if self.core == "arm64":
            return float(_counted(once, self.isa)[-2])
        return float(_on_core(once, self.core)[-2])

    def _program(self, case: Case | Op, repeats: int) -> bytes:
        program = cases.program(case, repeats)
        program = cases.in_int8(program) if self.dtype == "int8" else program
        return packfile.encode(plan.plan(program))


def wide(name: str, core: str, isa: str, per_ns: float) -> Core:
    """int8 kernels of a machine with vectors, by instructions alone."""
    return Core(
        *(name, core, per_ns),
        cols=(32.0, 128.0, 512.0),
        positions=(16.0, 49.0, 196.0, 784.0),
        densities=(0.1, 0.2, 0.4, 1.0),
        rows=32,
        sides=(7.0, 14.0, 28.0, 56.0),
        channels=(3.0, 16.0),
        dtype="int8",
        isa=isa,
        how=f"of {isa}, {per_ns:g} a nanosecond",
    )


CORES = (
    Core(),
    Core("cortex-m-small", "cortex-m0plus", positions=(9.0, 37.0, 145.0), own_int8=True),
    Core("cortex-m-dsp", own_int8=True),
    Core("cortex-m55", "cortex-m55", own_int8=True),
)


def core_table(machine: Core) -> CostTable:
    """The cost table of a core. Raises ToolMissing."""
    int8 = None
    if machine.own_int8:
        int8 = core_table(dataclasses.replace(machine, own_int8=False, dtype="int8"))
    names = (DENSE, *SPARSE)
    ns = 1 / machine.ghz
    empty = cases.product(c.FIL_OP_SPMV, 16, 1, positions=1, pattern=DENSE, density=1)
    panel = {name: _core_panel(machine, name) for name in names}
    return CostTable(
        name=machine.name,
        isa=machine.isa,
        provenance=(
            f"instructions of the {machine.dtype} kernels {machine.how.format(core=machine.core)}; "
            "not measured (tests/kernels/tables.py)"
        ),
        lanes=1,
        panel=panel,
        vector={name: _core_vector(machine, name) for name in names},
        im2col={name: _core_im2col(machine, step, panel[DENSE]) for name, step in IM2COL.items()},
        depthwise={name: _core_depthwise(machine, *kind) for name, kind in DEPTHWISE.items()},
        rates={kind: _rounded(_core_rate(machine, kind) * ns) for kind in RATES},
        overhead_ns=_rounded(machine.instructions(empty) * ns),
        near_bytes=machine.near_bytes,
        far_ns=_rounded(ns / 1000),
        int8=int8,
    )


def _core_panel(machine: Core, name: str) -> Grid:
    densities = (1.0,) if name == DENSE else machine.densities
    values = []
    for cols in machine.cols:
        for positions in machine.positions:
            for density in densities:
                case = cases.product(
                    c.FIL_OP_SPMM,
                    machine.rows,
                    int(cols),
                    positions=int(positions),
                    pattern=name,
                    density=density,
                )
                work = _blocks(case) * positions
                values.append(_rounded(machine.instructions(case) / machine.ghz / work))
    return Grid((machine.cols, machine.positions, densities), tuple(values))


def _core_vector(machine: Core, name: str) -> Grid:
    densities = (1.0,) if name == DENSE else machine.densities
    values = []
    for cols in machine.cols:
        for density in densities:
            case = cases.product(
                c.FIL_OP_SPMV, ROWS, int(cols), positions=1, pattern=name, density=density
            )
            values.append(_rounded(machine.instructions(case) / machine.ghz / _blocks(case)))
    return Grid((machine.cols, densities), tuple(values))


def _core_im2col(machine: Core, stride: int, product: Grid) -> Grid:
    values = []
    for channels in machine.channels:
        for side in machine.sides:
            columns, positions = 9 * int(channels), side * side
            spent = machine.instructions(_window(int(channels), int(side), stride)) / machine.ghz
            panel = product.at(columns, min(positions, c.FIL_TILE), 1.0) * columns * positions
            spent = max(0.1 * spent, spent - panel)
            values.append(_rounded(spent / (columns * positions)))
    return Grid((machine.channels, machine.sides), tuple(values))


def _core_depthwise(machine: Core, k: int, stride: int) -> Grid:
    values = []
    for side in machine.sides:
        matrix = cases.random_matrix(4, k * k, 1.0)
        params = cases.window(4, (int(side), int(side)), k=k, stride=stride)
        case = Case(c.FIL_OP_DWCONV, params, cases.packed(matrix, c.FIL_OP_DWCONV, DENSE))
        work = 4 * k * k * side * side
        values.append(_rounded(machine.instructions(case) / machine.ghz / work))
    return Grid(((28.0,), machine.sides), tuple(values))


def _core_rate(machine: Core, kind: str) -> float:
    if kind == "finish":
        plain = cases.product(c.FIL_OP_SPMM, 16, 64, positions=64, pattern="4x1", density=1)
        late = dataclasses.replace(plain, residual=True)
        return (machine.instructions(late) - machine.instructions(plain)) / (16 * 64)
    op, floats = cases.weightless(kind), dataclasses.replace(machine, dtype="float32")
    return floats.instructions(op) / vectors_of(op, 1)[1]


INT8 = {
    "arm64-n1": wide("arm64-n1", "arm64", "neon_dotprod", 6.0),
    "arm64-a55": wide("arm64-a55", "arm64", "neon_dotprod", 1.8),
    "wasm": wide("wasm", "wasm", "wasm", 10.0),
}
"""Of each machine: a big core does two or three instructions a cycle, a small one about one."""

MACHINES: tuple[Machine, ...] = (
    Arm("arm64-n1", "neoverse-n1", 2.6, 1 << 20, 20.0),
    Arm("arm64-a55", "cortex-a55", 1.8, 256 << 10, 5.0),
    Wasm(),
)


def table(machine: Machine) -> CostTable:
    """The cost table of a machine. Raises ToolMissing."""
    names = {DENSE: DENSE_ROWS, **SPARSE}
    cycle = 1 / machine.ghz
    empty = cases.product(c.FIL_OP_SPMV, 16, 1, positions=1, pattern=DENSE, density=1)
    spmv = machine.cpi(f"fil_spmv_{machine.isa}")
    return CostTable(
        name=machine.name,
        isa=machine.isa,
        provenance=(
            f"{machine.how}, cycles by llvm-mca on {machine.cpu} at {machine.ghz} GHz, all data in "
            "the L1 cache; not measured (tests/kernels/tables.py)"
        ),
        lanes=LANES,
        panel={name: _panel(machine, name, rows) for name, rows in names.items()},
        vector={name: _vector(machine, name, spmv) for name in names},
        im2col={name: _im2col(machine, step) for name, step in IM2COL.items()},
        depthwise={name: _depthwise(machine, *kind) for name, kind in DEPTHWISE.items()},
        rates={kind: _rounded(_rate(machine, kind) * spmv * cycle) for kind in RATES},
        overhead_ns=_rounded(machine.instructions(empty) * spmv * cycle),
        near_bytes=machine.near_bytes,
        far_ns=_rounded(1 / machine.gbps),
        int8=core_table(INT8[machine.name]),
    )


def _panel(machine: Machine, name: str, rows: int) -> Grid:
    """Per stored block and vector: the blocks of a group, and the group's share of each tile."""
    densities = (1.0,) if name == DENSE else DENSITIES
    tall = min(rows, _tallest(machine))
    values = []
    for cols in COLS:
        for positions in POSITIONS:
            vectors = int(positions) // LANES
            tiles = [_tile(machine, name, tall, v) for v in _split(machine, tall, vectors)]
            for density in densities:
                spent = sum(block + group / (cols * density) for block, group in tiles)
                spent *= rows / tall  # a group of more rows than a tile has in several passes
                values.append(_rounded(spent / vectors / machine.ghz))
    return Grid((COLS, POSITIONS, densities), tuple(values))


@cache
def _tile(machine: Machine, name: str, rows: int, vectors: int) -> tuple[float, float]:
    """Cycles of a block in a register tile, and of a group with no block."""
    tile = f"tile_{rows}x{vectors}"
    took, instructions = machine.loop(tile, "none" if name == DENSE else "d8")
    case = _tile_case(name, rows, vectors, BLOCKS)
    groups = _blocks(case) / BLOCKS * max(1, _rows_of(name) // rows)
    rest = machine.instructions(case) / groups - BLOCKS * instructions
    return took, rest * machine.cpi(tile)


def _tile_case(name: str, rows: int, vectors: int, blocks: int) -> Case:
    """A pointwise layer of one tile of positions, whose groups store every block."""
    total = max(rows, _rows_of(name)) * GROUPS
    return cases.product(
        c.FIL_OP_SPMM, total, blocks, positions=vectors * LANES, pattern=name, density=1
    )


def _rows_of(name: str) -> int:
    return DENSE_ROWS if name == DENSE else SPARSE[name]


def _blocks(case: Case) -> int:
    assert case.weights.packing is not None  # cases.product packs
    return case.weights.packing.blocks


def _passes(many: Case, few: Case) -> int:
    """How much more often the loop of a tile runs in one case than in the other: a dense block of
    eight rows takes two passes where tiles have four."""
    passes = 1 if many.weights.packing is None else many.weights.packing.block_rows
    rows = min(passes, 4)
    return (_blocks(many) - _blocks(few)) * (passes // rows)


def _split(machine: Machine, rows: int, vectors: int) -> list[int]:
    """The widths of the tiles that spmm makes of so many vectors."""
    most = _widest(machine, rows)
    tiles, widths = -(-vectors // most), []
    for left in range(tiles, 0, -1):
        widths.append(-(-vectors // left))
        vectors -= widths[-1]
    return widths


def _shapes(machine: Machine) -> set[tuple[int, int]]:
    on = "wasm" if machine.isa == "wasm" else "arm64"
    names = (name.removeprefix("tile_") for name in mca.functions(on) if name.startswith("tile_"))
    pairs = (name.split("x") for name in names)
    return {(int(rows), int(vectors)) for rows, vectors in pairs}


def _widest(machine: Machine, rows: int) -> int:
    return max(v for r, v in _shapes(machine) if r == rows)


def _tallest(machine: Machine) -> int:
    return max(r for r, _ in _shapes(machine))


def _vector(machine: Machine, name: str, cpi: float) -> Grid:
    """Per stored block, with one position."""
    densities = (1.0,) if name == DENSE else DENSITIES
    values = []
    for cols in COLS:
        for density in densities:
            rows = max(ROWS, int(cols))
            case = cases.product(
                c.FIL_OP_SPMV, rows, int(cols), positions=1, pattern=name, density=density
            )
            spent = machine.instructions(case) * cpi / _blocks(case)
            values.append(_rounded(spent / machine.ghz))
    return Grid((COLS, densities), tuple(values))


def _im2col(machine: Machine, stride: int) -> Grid:
    """Per column and vector of an image row: what a 3x3 convolution does more for as many channels
    again, less the product."""
    cpi = machine.cpi(f"fil_conv_{machine.isa}")
    values = []
    for channels in CHANNELS:
        for side in SIDES:
            few, many = (_window(int(n), int(side), stride) for n in (channels, 2 * channels))
            more = machine.instructions(many) - machine.instructions(few)
            columns, row_vectors = 9 * channels, side * -(-side // LANES)
            spent = max(0.1 * more, more - _multiplied(machine, int(side)) * columns)
            values.append(_rounded(spent * cpi / machine.ghz / (columns * row_vectors)))
    return Grid((CHANNELS, SIDES), tuple(values))


def _multiplied(machine: Machine, side: int) -> float:
    """Instructions of the product per column of a convolution to DENSE_ROWS rows."""
    tall = min(DENSE_ROWS, _tallest(machine))
    total = 0.0
    for start in range(0, side * side, c.FIL_TILE):
        positions = min(c.FIL_TILE, side * side - start)
        widths = _split(machine, tall, -(-positions // LANES))
        total += sum(machine.loop(f"tile_{tall}x{v}", "none")[1] for v in widths)
    return total * DENSE_ROWS / tall


def _window(channels: int, side: int, stride: int) -> Case:
    matrix = cases.random_matrix(DENSE_ROWS, channels * 9, 1.0)
    params = cases.window(channels, (side, side), k=3, stride=stride)
    return Case(c.FIL_OP_CONV, params, cases.packed(matrix, c.FIL_OP_CONV, DENSE))


def _depthwise(machine: Machine, k: int, stride: int) -> Grid:
    """Per kernel tap and vector of an image row, by the width of square images."""
    cpi = machine.cpi(f"square_{min(k, 5)}_{stride}_4")
    values = []
    for side in SIDES:
        matrix = cases.random_matrix(DEPTH, k * k, 1.0)
        params = cases.window(DEPTH, (int(side), int(side)), k=k, stride=stride)
        case = Case(c.FIL_OP_DWCONV, params, cases.packed(matrix, c.FIL_OP_DWCONV, DENSE))
        work = DEPTH * k * k * side * -(-side // LANES)
        values.append(_rounded(machine.instructions(case) * cpi / machine.ghz / work))
    return Grid(((28.0,), SIDES), tuple(values))


def _rate(machine: Machine, kind: str) -> float:
    """Instructions per vector of work without weights."""
    if kind == "finish":
        plain = cases.product(c.FIL_OP_SPMM, 64, 64, positions=64, pattern="4x1", density=1)
        late = dataclasses.replace(plain, residual=True)
        return (machine.instructions(late) - machine.instructions(plain)) / (64 * 64 / LANES)
    op = cases.weightless(kind)
    return machine.instructions(op) / vectors_of(op, LANES)[1]


def _packed(case: Case | Op, repeats: int) -> bytes:
    return packfile.encode(plan.plan(cases.program(case, repeats)))


@cache
def _counted(fil: bytes, isa: str = "neon") -> tuple[int, ...]:
    return tuple(count.count_ops(fil, [], isa=isa))


@cache
def _on_core(fil: bytes, core: str) -> tuple[int, ...]:
    return tuple(count.measure(fil, [], target=core).instructions)


@cache
def _fuel(fil: bytes) -> int:
    return count.fuel(fil, [], isa="wasm")


def _loop(on: str, function: str, coding: str) -> mca.Loop:
    return next(x for x in mca.hot(on) if (x.function, x.coding) == (function, coding))


def _hottest(function: str) -> tuple[str, ...]:
    """The shortest of the loops that multiply most; the whole function if none does."""
    found = [x for x in mca.loops("arm64") if x.function == function]
    if not found:
        return mca.functions("arm64")[function].body
    return min(found, key=lambda x: (-x.multiplies, len(x.body))).body


def _rounded(x: float) -> float:
    return float(f"{x:.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a table; all by default")
    given = parser.parse_args()
    chosen = [x for x in (*MACHINES, *CORES) if not given.names or x.name in given.names]
    for machine in chosen:
        is_core = isinstance(machine, Core)
        why = count.available(machine.core) if is_core else mca.missing() or count.available()
        if why:
            sys.exit(why)
        made = core_table(machine) if isinstance(machine, Core) else table(machine)
        path = TABLES / f"{machine.name}.json"
        text = json.dumps(made.to_json(), indent=2, sort_keys=True) + "\n"
        packfile.write(path, text.encode())
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
