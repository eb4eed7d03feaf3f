"""``filigree demo``: everything on the embedded model, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

pytest.importorskip("onnxruntime")


def test_demo_writes_models_page_and_chart(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = cli("demo", "--out", out, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert [Path(path).name for path in found["written"]] == [
        "digits_sparse80.fil",
        "digits_dense.fil",
        "report.html",
        "chart.svg",
    ]
    assert all(Path(path).stat().st_size for path in found["written"])
    sparse, dense = found["results"][:2]
    assert sparse["bytes"] < dense["bytes"]
    assert sparse["accuracy"] >= dense["accuracy"] - 0.011
    assert any(row["target"] == "host" and row["skipped"] is None for row in found["verify"])
