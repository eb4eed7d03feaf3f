"""``filigree bench --roofline --explain --chart``: shape of the answers, and their arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from filigree.cli.tasks import explain, roofline
from filigree.cli.tasks.explain import Explanation, Prediction
from filigree.cli.tasks.roofline import Turns, Work
from filigree.converter.lowering.program import (
    MapParams,
    MatmulParams,
    Op,
    Params,
    PoolParams,
    Program,
    ReduceParams,
    SoftmaxParams,
    Tensor,
)
from filigree.converter.sparsity.cost import CostTable, user_table
from filigree.native import enums as c
from filigree.native.model import isas
from filigree.native.probe import Level
from tests.cli.conftest import Cli

pytest.importorskip("onnxruntime")


def test_roofline_as_json(cli: Cli, fil_file: Path) -> None:
    done = cli("bench", fil_file, "--seconds", "0.02", "--roofline", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)["roofline"]
    assert found["peak_flops"] > 0
    assert found["bandwidth"] and all(rate > 0 for rate in found["bandwidth"].values())
    assert found["of_roof"] > 0 and found["turns"] >= roofline.LEAST_TURNS
    stem, point = found["layers"][:2]
    assert (stem["kind"], point["kind"]) == ("conv", "spmm")
    assert stem["flops"] == 2 * 32 * 27 * 64
    assert point["flops"] % (2 * 64) == 0 and point["flops"] < 2 * 64 * 32 * 64
    for layer in found["layers"]:
        assert layer["seconds"] > 0 and layer["activation_bytes"] > 0
        assert layer["bound"] in ("compute", layer["level"])
        assert layer["level"] in found["bandwidth"]
        assert layer["of_roof"] >= layer["of_peak"] >= 0


@pytest.mark.skipif("avx2" not in isas(), reason="no avx2 here")
def test_explain_as_json(cli: Cli, fil_file: Path, home: Path) -> None:
    done = cli("bench", fil_file, "--seconds", "0.02", "--explain", "--json", "--isa", "avx2")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)["explain"]
    assert (found["table"], found["isa"], found["source"]) == ("x86-64-avx2", "avx2", "shipped")
    assert found["median_error"] >= 0 and found["total_error"] > -1
    assert found["worst_layer"] in {layer["layer"] for layer in found["layers"]}
    point = next(layer for layer in found["layers"] if layer["layer"] == "point")
    assert point["measured"] > 0 and point["predicted"] > 0
    assert point["runner_up"] != point["pattern"] and point["runner_up_predicted"] > 0
    softmax = next(layer for layer in found["layers"] if layer["kind"] == "softmax")
    assert (softmax["pattern"], softmax["runner_up"]) == (None, None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data folder without a calibrated table."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_calibrated_table_says_so(cli: Cli, fil_file: Path, home: Path) -> None:
    user_table().parent.mkdir(parents=True)
    mine = {**CostTable.load("x86-64-avx2").to_json(), "name": "mine", "isa": "scalar"}
    user_table().write_text(json.dumps(mine))
    done = cli("bench", fil_file, "--seconds", "0.02", "--isa", "scalar", "--explain")
    assert (done.code, done.err) == (0, "")
    assert "cost table mine (calibrated, scalar): measured on " in done.out


def test_text_chart_and_page(cli: Cli, fil_file: Path, tmp_path: Path) -> None:
    chart, page = tmp_path / "bench.svg", tmp_path / "bench.html"
    more = ("--roofline", "--explain", "--chart", chart, "--report", page)
    done = cli("bench", fil_file, "--seconds", "0.02", *more)
    assert (done.code, done.err) == (0, "")
    assert "the whole network reaches" in done.out
    assert "in the median of the layers that take at least 1%" in done.out
    assert done.out.endswith(f"wrote {chart}\nwrote {page}\n")
    root = ElementTree.parse(chart).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    html = page.read_text(encoding="utf-8")
    assert "<h2>Roofline</h2>" in html and "<h2>Predicted and measured</h2>" in html
    drawn = html[html.index("<svg viewBox", html.index("<h2>Roofline</h2>")) :]
    ElementTree.fromstring(drawn[: drawn.index("</svg>") + len("</svg>")])


def test_limits_are_of_one_core_whatever_the_threads(cli: Cli, fil_file: Path) -> None:
    words = ("--seconds", "0.02", "--threads", "2", "--roofline", "--explain")
    done = cli("bench", fil_file, *words)
    assert (done.code, done.err) == (0, "")
    assert "one core, " in done.out


def test_outputs_are_not_overwritten(cli: Cli, fil_file: Path, tmp_path: Path) -> None:
    chart = tmp_path / "bench.svg"
    chart.write_text("mine")
    assert cli("bench", fil_file, "--seconds", "0.02", "--chart", chart).code == 2
    assert chart.read_text() == "mine"


def program_of(*ops: Op, dtype: str = "float32") -> Program:
    results = {op.output: Tensor(op.output, (1,), 0, 16, dtype=dtype) for op in ops}
    return Program("small", results, ops, {}, (), ())


WALK, STILL = (0, 0, 0, 1), (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("params", "fn", "inputs", "flops", "values"),
    [
        (MapParams((1, 1, 2, 8), WALK, WALK, WALK), c.FIL_MAP_ADD, 2, 16, 8 + 8 + 16),
        (MapParams((1, 1, 1, 8), WALK, STILL, WALK), c.FIL_MAP_MUL, 2, 8, 8 + 1 + 8),
        (MapParams((1, 1, 1, 8), WALK, STILL, WALK), c.FIL_MAP_COPY, 1, 0, 16),
        (PoolParams(4, 6, 6, 5, 5, 2, 2), 0, 1, 4 * 25 * 4, 4 * (36 + 25)),
        (ReduceParams(2, 9, 3, 0, 1, 9, 0, 1), 0, 1, 54, 54 + 6),
        (SoftmaxParams(2, 10, 1, 10, 1, 0), 0, 1, 80, 40),
        (MatmulParams(2, 3, 5, 7, 0, 7, 1, 0, 5, 0, 5), 0, 2, 420, 2 * (21 + 35 + 15)),
    ],
)
def test_work_without_weights(
    params: Params, fn: int, inputs: int, flops: int, values: int
) -> None:
    op = Op(c.FIL_OP_MAP, "node", ("x", "y")[:inputs], "out", params, fn=fn)
    assert roofline.work_of(op, program_of(op)) == Work(flops, 0, 4 * values)
    halves = program_of(op, dtype="float16")
    assert roofline.work_of(op, halves) == Work(flops, 0, 2 * values)


def test_ratios_are_taken_turn_by_turn() -> None:
    """A machine at half its speed for a turn moves neither fraction."""
    walk = MapParams((1, 1, 1, 8), WALK, WALK, WALK)
    ops = [Op(c.FIL_OP_MAP, name, ("x", "x"), "y", walk, fn=c.FIL_MAP_ADD) for name in "ab"]
    works = [Work(800, 0, 10), Work(10, 300, 100)]
    times = np.array([[2.0, 8.0], [4.0, 16.0], [2.0, 8.0]])
    turns = Turns(np.array([800.0, 400.0, 800.0]), {"L2": np.array([100.0, 50.0, 100.0])}, times)
    found = roofline.analyse("scalar", program_of(*ops), works, ["L2", "L2"], turns)
    a, b = found.layers
    assert (a.bound, b.bound) == ("compute", "L2")
    assert (a.of_peak, a.of_roof) == (0.5, 0.5)
    assert b.of_roof == pytest.approx(0.5) and b.of_peak == pytest.approx(10 / 800 / 8)
    assert found.of_roof == pytest.approx(0.5)
    assert (found.peak, found.bandwidth, found.seconds) == (800.0, {"L2": 100.0}, 10.0)


def test_the_level_that_holds_a_layer() -> None:
    levels = [Level("L1", 100), Level("L2", 1000), Level("DRAM", None)]
    found = [roofline.level_of(size, levels) for size in (100, 101, 5000)]
    assert found == ["L1", "L2", "DRAM"]


def test_errors_of_predictions() -> None:
    def layer(name: str, measured: float, predicted: float) -> Prediction:
        return Prediction(0, name, "spmm", "4x1", measured, predicted, "dense", 1.0)

    layers = [layer("a", 1.0, 1.1), layer("b", 2.0, 1.0), layer("tiny", 0.001, 1.0)]
    found = Explanation("table", "avx2", False, "measured", layers)
    assert [x.layer for x in found.counted] == ["a", "b"]
    assert found.median_error == pytest.approx(0.3)
    assert (found.worst.layer, found.worst.error) == ("b", -0.5)
    assert found.total_error == pytest.approx(3.1 / 3.001 - 1)
    assert "-50% at worst (b)" in explain.summary(found)[1]
