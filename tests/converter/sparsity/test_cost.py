"""Cost tables: interpolation, the shipped tables, and what a damaged one does."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filigree.converter.errors import BadFile
from filigree.converter.lowering.program import ConvParams
from filigree.converter.sparsity import cases, cost, measure
from filigree.converter.sparsity.cost import CostTable, Grid, Shape, Window
from filigree.native import enums as c

SHIPPED = ("x86-64-avx512", "x86-64-avx2", "arm64-n1", "arm64-a55", "wasm")
GRID = Grid(((1.0, 10.0, 100.0), (2.0, 8.0)), (1.0, 2.0, 10.0, 20.0, 100.0, 200.0))


def test_grid_points_are_kept() -> None:
    assert GRID.at(10, 8) == pytest.approx(20)
    assert GRID.at(100, 2) == pytest.approx(100)


def test_between_points_the_logarithm_is_linear() -> None:
    assert GRID.at(math.sqrt(10), 4) == pytest.approx(math.sqrt(10) * math.sqrt(2))


def test_outside_the_grid_the_nearest_point_counts() -> None:
    assert GRID.at(0, 1) == pytest.approx(1)
    assert GRID.at(1e9, 1e9) == pytest.approx(200)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_interpolation_stays_in_range(x: float, y: float) -> None:
    assert 0.999 <= GRID.at(x, y) <= 200.001


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_tables(name: str) -> None:
    table = CostTable.load(name)
    assert table.name == name
    assert table.provenance
    assert CostTable.from_json(json.loads(json.dumps(table.to_json()))) == table
    shape = Shape(c.FIL_OP_SPMM, 256, 256, 784, 28)
    dense = table.predict(shape, "dense", blocks=32 * 256, block_rows=8)
    for pattern, rows in cost.SPARSE.items():
        blocks = 256 // rows * 256
        full = table.predict(shape, pattern, blocks=blocks, block_rows=rows)
        fifth = table.predict(shape, pattern, blocks=blocks // 5, block_rows=rows)
        assert fifth < full
        assert fifth < dense
        assert full > dense * 0.8


def test_kinds_differ_as_their_work_does() -> None:
    table = CostTable.load("arm64-n1")
    at = {"blocks": 100, "block_rows": 4}
    product = table.predict(Shape(c.FIL_OP_SPMM, 16, 72, 49, 7), "4x1", **at)
    window = Window(side=3, channels=8)
    conv = table.predict(Shape(c.FIL_OP_CONV, 16, 72, 49, 7, window), "4x1", **at)
    assert conv == pytest.approx(product + table.im2col["1"].at(8, 7) * 72 * 7 * 2)
    depthwise = Shape(c.FIL_OP_DWCONV, 32, 9, 49, 7, Window(side=3, stride=2))
    expected = table.overhead_ns + table.depthwise["3x3/2"].at(7, 7) * 32 * 9 * 7 * 2
    assert table.predict(depthwise, "dense", blocks=0, block_rows=1) == pytest.approx(expected)


def test_a_late_finish_and_weights_from_afar_cost_more() -> None:
    table = CostTable.load("arm64-n1")
    shape, at = Shape(c.FIL_OP_SPMM, 16, 72, 49, 7), {"blocks": 100, "block_rows": 4}
    plain = table.predict(shape, "4x1", **at)
    late = table.predict(dataclasses.replace(shape, late=True), "4x1", **at)
    assert late == pytest.approx(plain + table.rates["finish"] * 16 * 13)
    far = table.predict(shape, "4x1", **at, cold=0.5)
    assert far == pytest.approx(plain + table.far_ns * 0.5 * 100 * 17)


@pytest.mark.parametrize(
    ("params", "depthwise", "im2col"),
    [
        ({"kh": 3, "kw": 3}, "3x3/1", "1"),
        ({"kh": 5, "kw": 5, "sh": 2, "sw": 2}, "5x5/2", "2"),
        ({"kh": 7, "kw": 7}, "any/1", "1"),
        ({"kh": 3, "kw": 3, "dh": 2, "dw": 2}, "any/1", "1"),
        ({"kh": 3, "kw": 3, "sh": 1, "sw": 2}, "any/2", "2"),
        ({"kh": 10, "kw": 4, "sh": 2, "sw": 2, "xs": 3}, "any/2", "any"),
    ],
)
def test_classes_of_windows(params: dict[str, int], depthwise: str, im2col: str) -> None:
    window = Window.of(ConvParams(8, **params))
    assert (window.depthwise, window.im2col) == (depthwise, im2col)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 1),
        ("lanes", 0),
        ("lanes", True),
        ("far_ns", -1.0),
        ("rates", {"map": 1.0}),
        ("depthwise", {"3x3/1": {"axes": [[1.0]], "ns": [1.0]}}),
        ("overhead_ns", "1"),
        ("panel", {}),
        ("vector", {"dense": {"axes": [[1.0]], "ns": [1.0]}}),
    ],
)
def test_a_damaged_table_is_a_bad_file(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "costs.json"
    path.write_text(json.dumps({**CostTable.load("wasm").to_json(), field: value}))
    with pytest.raises(BadFile, match=r"costs\.json is not a cost table"):
        CostTable.load(path)


def test_what_filigree_calibrate_wrote_counts_for_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert CostTable.for_target("host", isa="avx2").name == "x86-64-avx2"
    cost.user_table().parent.mkdir()
    mine = {**CostTable.load("x86-64-avx2").to_json(), "name": "mine"}
    cost.user_table().write_text(json.dumps(mine))
    assert CostTable.for_target("host", isa="avx2").name == "mine"
    assert CostTable.for_target("host", isa="avx512").name == "x86-64-avx512"
    assert CostTable.for_target("x86-64", isa="avx2").name == "x86-64-avx2"


@pytest.mark.parametrize(
    ("target", "isa", "name"),
    [
        ("x86-64", None, "x86-64-avx2"),
        ("x86-64", "avx512", "x86-64-avx512"),
        ("arm64", None, "arm64-n1"),
        ("wasm", "wasm_relaxed", "wasm"),
        ("cortex-m3", None, "cortex-m-small"),
        ("cortex-m4", None, "cortex-m-dsp"),
        ("cortex-m55", None, "cortex-m55"),
    ],
)
def test_targets_have_tables(target: str, isa: str | None, name: str) -> None:
    assert CostTable.for_target(target, isa=isa).name == name


def test_measuring_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "COLS", (16.0,))
    monkeypatch.setattr(measure, "POSITIONS", (16.0, 64.0))
    monkeypatch.setattr(measure, "DENSITIES", (0.3, 1.0))
    monkeypatch.setattr(measure, "HEIGHTS", (7.0,))
    monkeypatch.setattr(measure, "WIDTHS", (7.0,))
    monkeypatch.setattr(measure, "CHANNELS", (3.0,))
    monkeypatch.setattr(measure, "ENOUGH_NS", 1000)
    monkeypatch.setattr(measure, "SWEEPS", 2)
    seen: list[float] = []
    table = CostTable.measure("scalar", progress=lambda stage, share: seen.append(share))
    assert CostTable.from_json(json.loads(json.dumps(table.to_json()))) == table
    assert (table.isa, table.lanes) == ("scalar", 1)
    assert table.provenance.startswith("measured on ")
    assert seen == sorted(seen) and seen[-1] == 1.0
    assert set(table.rates) == set(cost.RATES)
    assert table.int8 is not None
    assert {k: v for k, v in table.int8.rates.items() if k != "finish"} == {
        k: v for k, v in table.rates.items() if k != "finish"
    }


@pytest.mark.parametrize("name", sorted(set(cost.shipped()) - {"cortex-m"}))
def test_int8_layers_have_times_of_their_own(name: str) -> None:
    table = CostTable.load(name)
    case = cases.product(c.FIL_OP_SPMM, 64, 64, positions=196, pattern="4x1", density=0.2)
    floats = cases.shape_of(case)
    integers = dataclasses.replace(floats, kind=c.FIL_OP_QSPMM)
    sparse, dense = (
        {
            kind: table.predict(kind, name, blocks=blocks, block_rows=rows)
            for kind in (floats, integers)
        }
        for name, blocks, rows in (("4x1", 205, 4), ("dense", 512, 8))
    )
    assert sparse[integers] < dense[integers]
    assert sparse[integers] != sparse[floats]


def test_an_absent_instruction_set_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match='"sse9" is not here'):
        CostTable.measure("sse9")
