"""The sweep's arithmetic on made-up numbers, and one real point of a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from filigree.converter import ConvertOptions
from filigree.converter.report import LayerReport
from tests.models import sweep
from tests.models.sweep import Culprit, Point, Runs

POINT = Point("net", "4x1", 0.5, 1.2, 1.1, 1.3, 9, 1.0, 1.2, 1, 2, None)


def layer(node: str, pattern: str) -> LayerReport:
    return LayerReport(
        node, "spmm", 8, 8, 49, pattern, 0.5, 0.0, 10, 20, "spmm/4x1/d8", 1.4, "why", "float32", ""
    )


def test_the_speed_up_is_the_median_of_paired_ratios() -> None:
    ours = np.array([[1.0, 1.0], [10.0, 10.0], [1.0, 1.0]])  # all was slow for a while
    low, median, high = Runs(ours, 1.5 * ours).speedup()
    assert (low, median, high) == (1.5, 1.5, 1.5)
    ours[0] = 0.5
    assert Runs(ours, np.full((3, 2), 1.0)).speedup()[1] == 1.0


def test_the_sparse_layer_that_loses_most_is_to_blame() -> None:
    runs = Runs(np.array([[3.0, 2.0, 9.0]]), np.array([[2.0, 1.5, 1.0]]))
    layers = [layer("a", "4x1"), layer("b", "2x1"), layer("c", "dense")]
    assert sweep.culprit(runs, ["a", "b", "c"], layers) == Culprit("a", "4x1", 3.0, 2.0, 1.4)
    winning = Runs(runs.dense, runs.ours)
    assert sweep.culprit(winning, ["a", "b", "c"], layers) is None
    assert sweep.culprit(runs, ["a", "b", "c"], layers[2:]) is None


def test_worst_and_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    bad = replace(POINT, network="slow", speedup=0.9, culprit=Culprit("a", "4x1", 2e-6, 1e-6, 1.4))
    points = [POINT, bad, replace(POINT, sparsity=0.9)]
    assert sweep.worst(points) is bad
    found = sweep.as_json(points, "avx2")
    assert found["worst"]["culprit"]["layer"] == "a"  # type: ignore[index]
    assert len(found["points"]) == 3  # type: ignore[arg-type]
    sweep.show_table(points, [0.5, 0.9])
    sweep.show_losses(points)
    out = capsys.readouterr().out
    assert "| net | 4x1 | 1.20 | 1.20 |" in out
    assert "worst: 0.900x, slow at 50% 4x1" in out
    assert "a (4x1, predicted 1.40x): 2.0 us, dense 1.0 us" in out


def test_the_chart_has_a_line_per_network_and_the_limit() -> None:
    points = [POINT, replace(POINT, sparsity=0.9), replace(POINT, network="other")]
    root = ElementTree.fromstring(sweep.chart(points, "4x1"))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 3
    assert lines[-1].get("stroke-dasharray")
    texts = [t.text for t in root.findall("{http://www.w3.org/2000/svg}text")]
    assert {"net", "other", "0.97 of dense"} <= set(texts)


@pytest.mark.parametrize("way", sweep.WAYS)
def test_a_point(data: Path, tmp_path: Path, way: str) -> None:
    options = ConvertOptions(effort=0.0, isa="scalar")
    found = sweep.point("kws", way, 0.8, folder=tmp_path, options=options, seconds=0.01)
    assert (found.network, found.way, found.sparsity) == ("kws", way, 0.8)
    assert 0 < found.low <= found.speedup <= found.high
    assert found.pairs >= sweep.OPENINGS * sweep.LEAST_PAIRS
    assert 0 < found.sparse_layers < found.layers
