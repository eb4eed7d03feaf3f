"""``filigree bench --on node,chromium``: the embedded digits network, shape of the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filigree.packaging import emulate, npm, turns
from filigree.packaging.errors import ToolMissing
from tests.cli.conftest import Cli
from tests.conftest import need

pytest.importorskip("onnxruntime")


@pytest.fixture(params=turns.ENGINES)
def where(request: pytest.FixtureRequest) -> str:
    """An engine of turns.ENGINES and a compiler for WebAssembly, or a skip."""
    name = str(request.param)
    reason = turns.missing(name)
    need(name, reason is None, str(reason))
    reason = emulate.available("wasm-node")
    need("node", reason is None, str(reason))
    return name


@pytest.fixture
def packed(cli: Cli, digits: Path, tmp_path: Path) -> Path:
    made = tmp_path / "digits.fil"
    done = cli("convert", digits / "digits_sparse80.onnx", "-o", made, "--target", "wasm")
    assert done.code == 0, done.err
    return made


def test_both_instruction_sets_and_the_dense_twin(
    cli: Cli, where: str, packed: Path, digits: Path, tmp_path: Path
) -> None:
    page, source = tmp_path / "page.html", digits / "digits_sparse80.onnx"
    words = ("--on", where, "--against", source, "--dense", "--seconds", "0.01", "--report", page)
    done = cli("bench", packed, *words, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    names = [result["name"] for result in found["results"]]
    assert names == ["filigree", "filigree dense", "filigree wasm"]
    assert found["isa"].startswith("wasm_relaxed in ")
    for result in found["results"]:
        assert result["samples"] >= 15 and 0 < result["minimum"] <= result["median"]
        assert result["difference"] < 1e-4
    assert "Speed and size" in page.read_text(encoding="utf-8")


def test_one_instruction_set(cli: Cli, where: str, packed: Path) -> None:
    done = cli("bench", packed, "--on", where, "--isa", "wasm", "--seconds", "0.01")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("wasm in ")
    assert [line.split()[0] for line in lines[1:]] == ["what", "filigree"]


def test_peers_run_the_same_network(
    cli: Cli, where: str, packed: Path, digits: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    try:
        npm.need(*npm.pins())
    except ToolMissing as error:
        need("npm", False, str(error))
    from tests.models import network, tfjs, tflite

    source = digits / "digits_sparse80.onnx"
    layers = network.read(source)
    tflite.write(layers, tmp_path / "dense.tflite")
    tflite.write(layers, tmp_path / "sparse.tflite", sparse=True)
    tfjs.write(layers, tmp_path / "model.json")
    vs = [
        "onnxruntime-web",
        f"litert-js={tmp_path / 'dense.tflite'}",
        f"litert-js-sparse={tmp_path / 'sparse.tflite'}",
        f"tfjs-wasm={tmp_path / 'model.json'}",
    ]
    words = ("--on", where, "--against", source, "--vs", ",".join(vs), "--seconds", "0.01")
    done = cli("bench", packed, *words, "--json")
    assert (done.code, done.err) == (0, "")
    results = {result["name"]: result for result in json.loads(done.out)["results"]}
    for name in ("onnxruntime-web", "litert-js", "litert-js-sparse", "tfjs-wasm"):
        assert results[name]["difference"] < 1e-4, name


def test_options_that_do_not_go_together(cli: Cli, fil_file: Path) -> None:
    words = ("--layers", "--roofline", "--threads", "2", "--vs", "onnxruntime,litert-js")
    done = cli("bench", fil_file, "--on", "node", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: the options do not go together\n"
        "  --layers times on the host alone\n"
        "  --roofline times on the host alone\n"
        "  --threads times on the host alone\n"
        "  --vs onnxruntime: unknown peer; known: onnxruntime-web, litert-js, litert-js-sparse,"
        " tfjs-wasm\n"
        "  --vs litert-js needs a model: --vs litert-js=model.tflite\n"
    )


def test_an_instruction_set_of_the_host(cli: Cli, fil_file: Path) -> None:
    done = cli("bench", fil_file, "--on", "wasm", "--isa", "avx2")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --isa avx2: WebAssembly has wasm_relaxed, wasm, scalar\n"


def test_packages_that_are_not_here(
    cli: Cli, onnx_file: Path, fil_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(turns, "missing", lambda engine: None)
    done = cli("bench", fil_file, "--on", "node", "--vs", f"onnxruntime-web={onnx_file}")
    assert (done.code, done.out) == (5, "")
    version = npm.pins()["onnxruntime-web"]
    assert done.err == (
        f"error: onnxruntime-web {version} (npm) is not installed\n"
        "  next: python -m filigree.packaging.npm\n"
    )


def test_a_model_that_a_peer_cannot_read(cli: Cli, fil_file: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.json"
    model.write_text("[]")
    done = cli("bench", fil_file, "--on", "node", "--vs", f"tfjs-wasm={model}")
    assert (done.code, done.out) == (7, "")
    assert done.err == "error: model.json is not a TensorFlow.js graph model\n"
