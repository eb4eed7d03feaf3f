"""Inner loops at their multiply-add bound, by LLVM's model of Neoverse N1, and cost tables that fit
the kernels they were made from."""

from __future__ import annotations

import pytest

from filigree.converter.sparsity.cost import DENSE, CostTable
from filigree.packaging import count
from tests.conftest import need
from tests.kernels import mca, tables

N1 = "neoverse-n1"


@pytest.fixture(scope="module", autouse=True)
def analyser() -> None:
    reason = mca.missing()
    need("mca", reason is None, reason or "")


@pytest.mark.parametrize("coding", ["d8", "u16", "none"])
@pytest.mark.parametrize("tile", ["4x4", "4x5", "4x6", "8x2", "8x3", "2x6", "2x8"])
@pytest.mark.parametrize("on", mca.ISAS)
def test_loops_reach_their_bound(on: str, tile: str, coding: str) -> None:
    found = [x for x in mca.loops(on) if (x.function, x.coding) == (f"tile_{tile}", coding)]
    loop = found[0]  # the loops of long and of short sums are alike
    rows, vectors = (int(n) for n in tile.split("x"))
    assert loop.multiplies == rows * vectors
    took = mca.cycles(loop.body, mca.TRIPLE["arm64"], N1)
    assert took <= 1.1 * loop.multiplies / mca.STARTS[N1]


@pytest.mark.parametrize("on", mca.ISAS)
def test_wide_tiles_keep_their_sums_in_registers(on: str) -> None:
    for loop in mca.loops(on):
        if loop.function.startswith("tile_"):
            assert not [line for line in loop.body if "[sp" in line], loop.function


@pytest.mark.parametrize("name", [DENSE, "4x1"])
def test_tables_fit_the_kernels(name: str) -> None:
    need("qemu", count.available() is None, count.available() or "")
    for machine in tables.MACHINES:
        if machine.isa != "neon":
            continue
        table = CostTable.load(machine.name)
        rows = tables.DENSE_ROWS if name == DENSE else 4
        (vectors,) = set(tables._split(machine, rows, 4))  # 16 positions: one tile, or equal ones
        block, group = tables._tile(machine, name, rows, vectors)
        tiles = 4 // vectors
        expected = (block + group / 1024) * tiles / 4 / machine.ghz
        assert table.panel[name].at(1024, 16, 1.0) == pytest.approx(expected, rel=0.1)
