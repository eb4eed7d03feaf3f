"""``filigree bench``: shape of the answer, not its numbers."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from filigree.cli.tasks import timing
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
    assert len(found["cores"]) <= 1
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


def test_threads(cli: Cli, onnx_file: Path, fil_file: Path) -> None:
    words = ["--threads", "2", "--seconds", "0.05", "--against", onnx_file, "--vs", "onnxruntime"]
    done = cli("bench", fil_file, *words)
    assert (done.code, done.err) == (0, "")
    assert ", 2 threads, " in done.out.splitlines()[0]
    found = json.loads(cli("bench", fil_file, *words, "--dense", "--json").out)
    assert found["threads"] == 2
    assert len(found["cores"]) in (0, 1, 2)
    assert all(r["difference"] < 1e-4 for r in found["results"][1:])


def test_every_thread_is_pinned(fil_file: Path) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not pin")
    before = os.sched_getaffinity(0)
    with timing.pinned(2) as found:
        assert set(found) == set(sorted(before)[-2:])
    started, stop = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        stop.wait()

    other = threading.Thread(target=work)
    other.start()
    started.wait()
    with timing.pinned(1) as (core,):
        assert {frozenset(os.sched_getaffinity(t)) for t in (0, other.native_id or 0)} == {
            frozenset({core})
        }
    assert os.sched_getaffinity(other.native_id or 0) == os.sched_getaffinity(0) == before
    stop.set()
    other.join()


def test_options_that_do_not_go_together(cli: Cli, fil_file: Path) -> None:
    done = cli("bench", fil_file, "--dense", "--vs", "abacus,onnxruntime")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: the options do not go together\n"
        "  --dense needs --against MODEL, the model that was converted\n"
        "  --vs abacus: unknown peer; known: onnxruntime, openvino, litert\n"
        "  --vs onnxruntime needs a model: --vs onnxruntime=model.onnx or --against MODEL.onnx\n"
    )


def test_another_runtime(cli: Cli, onnx_file: Path, fil_file: Path) -> None:
    pytest.importorskip("openvino")
    done = cli(
        "bench", fil_file, "--against", onnx_file, "--vs", "openvino", "--seconds", "0.02", "--json"
    )
    assert (done.code, done.err) == (0, "")
    results = {r["name"]: r for r in json.loads(done.out)["results"]}
    assert results["openvino"]["difference"] < 1e-4


def test_litert_runs_a_model_of_its_own(cli: Cli, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    folder, packed = data / "models" / "vww", tmp_path / "vww.fil"
    assert cli("convert", folder / "mlperf_vww_96.onnx", "-o", packed).code == 0
    peer = f"litert={folder / 'mlperf_vww_96_float.tflite'}"
    done = cli("bench", packed, "--vs", peer, "--seconds", "0.02", "--json")
    assert (done.code, done.err) == (0, "")
    results = {r["name"]: r for r in json.loads(done.out)["results"]}
    assert results["litert"]["difference"] < 1e-3


@pytest.mark.parametrize(
    ("peer", "module"), [("openvino", "openvino"), ("litert", "ai_edge_litert")]
)
def test_a_runtime_that_is_not_here(
    cli: Cli,
    onnx_file: Path,
    fil_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    peer: str,
    module: str,
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    done = cli("bench", fil_file, "--vs", f"{peer}={onnx_file}")
    package = module.replace("_", "-")
    assert (done.code, done.out) == (5, "")
    assert done.err == f"error: {package} is not installed\n  next: pip install {package}\n"
