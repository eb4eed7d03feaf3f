"""Reports: what they say is what was stored."""

from __future__ import annotations

import dataclasses
import json

import pytest

from filigree.converter.lowering.plan import plan
from filigree.converter.report import LayerReport, MemoryReport, Report
from filigree.converter.sparsity import pack
from filigree.converter.sparsity.select import Choice
from tests.converter import programs

CHOICE = Choice(
    layer="block_3/expand",
    kind="spmm",
    rows=8,
    cols=16,
    positions=49,
    pattern="4x1",
    sparsity=0.81234567,
    fill=0.0,
    stored_bytes=100,
    dense_bytes=512,
    kernel="spmm/4x1/d8",
    predicted_ns=1000.0,
    predicted_dense_ns=3000.0,
    reason="predicted 3.0x faster than dense",
    dtype="float16",
    rounding="2 of 128 became zero",
)


def test_layer_report() -> None:
    assert LayerReport.of(CHOICE).to_json() == {
        "node": "block_3/expand",
        "kind": "spmm",
        "rows": 8,
        "cols": 16,
        "positions": 49,
        "pattern": "4x1",
        "sparsity": 0.8123,
        "fill": 0.0,
        "stored_bytes": 100,
        "dense_bytes": 512,
        "kernel": "spmm/4x1/d8",
        "predicted_speedup": 3.0,
        "reason": "predicted 3.0x faster than dense",
        "dtype": "float16",
        "rounding": "2 of 128 became zero",
    }


def test_nothing_is_predicted_for_depthwise() -> None:
    choice = dataclasses.replace(CHOICE, kind="dwconv", pattern="dense")
    assert LayerReport.of(choice).predicted_speedup is None


def test_memory_report() -> None:
    program = plan(programs.packed(programs.two_layers()))
    report = MemoryReport.of(program)
    assert report.arena_bytes == report.lower_bound == 192
    assert (report.peak_op, report.peak_node, report.live) == (0, "fc1", ("hidden",))
    with pytest.raises(ValueError, match="no memory plan"):
        MemoryReport.of(programs.two_layers())


def test_report_is_plain_data() -> None:
    program, choices = pack(programs.two_layers(), costs=programs.COSTS)
    layers = tuple(LayerReport.of(choice) for choice in choices)
    report = Report("small", "arm64", "estimated", layers, MemoryReport.of(plan(program)))
    data = json.loads(json.dumps(report.to_json()))
    assert [layer["node"] for layer in data["layers"]] == ["fc1", "fc2"]
    assert data["memory"]["peak_node"] == "fc1"
