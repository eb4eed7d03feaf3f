"""``filigree bench``: shape of the answer, not its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

pytest.importorskip("onnxruntime")


def test_ours_twin_and_peer_take_turns(
    cli: Cli, onnx_file: Path, fil_file: Path, tmp_path: Path
) -> None:
    page = tmp_path / "bench.html"
    done = cli(
        "bench",
        fil_file,
        "--against",
        onnx_file,
        "--dense",
        "--vs",
        "onnxruntime",
        "--seconds",
        "0.05",
        "--layers",
        "--json",
        "--report",
        page,
    )
    found = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert [r["name"] for r in found["results"]] == ["filigree", "filigree dense", "onnxruntime"]
    assert found["results"][0]["ratio"] == 1.0
    assert found["threads"] == 1
    for result in found["results"]:
        assert 0 < result["minimum"] <= result["median"]
        assert result["samples"] >= 15
    assert all(r["difference"] < 1e-4 for r in found["results"][1:])
    assert all(layer["seconds"] > 0 for layer in found["layers"])
    assert "Speed and size" in page.read_text(encoding="utf-8")


def test_text(cli: Cli, fil_file: Path) -> None:
    done = cli("bench", fil_file, "--seconds", "0.05", "--isa", "scalar", "--layers")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("scalar, one thread, ")
    assert lines[2].split()[0] == "filigree"
    assert lines[4].split() == ["layer", "time", "share", "dense", "twin", "speed-up"]


def test_options_that_do_not_go_together(cli: Cli, fil_file: Path) -> None:
    done = cli("bench", fil_file, "--dense", "--vs", "abacus,onnxruntime")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: the options do not go together\n"
        "  --dense needs --against MODEL, the model that was converted\n"
        "  --vs abacus: unknown peer; known: onnxruntime\n"
        "  --vs onnxruntime needs a model: --vs onnxruntime=model.onnx or --against MODEL\n"
    )
