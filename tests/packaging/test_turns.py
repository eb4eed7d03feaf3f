"""Candidates take turns in node and in headless Chromium, and compute what the host does."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from filigree.native.model import Model
from filigree.packaging import npm, turns
from filigree.packaging.desk import Desk
from filigree.packaging.errors import BadFile, PackagingError, ToolMissing
from tests.conftest import need
from tests.packaging.conftest import F32, need_engine


@pytest.fixture(params=turns.ENGINES)
def where(request: pytest.FixtureRequest) -> str:
    """An engine of turns.ENGINES, or a skip."""
    name = str(request.param)
    reason = turns.missing(name)
    need(name, reason is None, str(reason))
    need_engine("wasm-node")  # a compiler for our own module
    return name


def ours(name: str, fil: bytes, isa: str) -> turns.Candidate:
    return turns.Candidate(name, turns.OURS, {"model.fil": fil}, isa)


def test_our_own_isas(where: str, sample: bytes, image: F32) -> None:
    isas = ("wasm_relaxed", "wasm", "scalar")
    job = turns.Job([ours(isa, sample, isa) for isa in isas], [image], seconds=0.01)
    shares: list[float] = []
    found = turns.measure(where, job, progress=lambda _, share: shares.append(share))
    expected = Model.from_bytes(sample).run(image)
    assert found.relaxed and 0 < found.clock < 1e-3
    assert found.engine.split()[0] == {"node": "node", "chromium": "Chromium"}[where]
    for isa in isas:
        assert len(found.samples[isa]) >= job.least and min(found.samples[isa]) > 0
        (got,) = found.outputs[isa]
        np.testing.assert_allclose(got, np.ravel(expected), rtol=1e-5, atol=1e-6)


def test_relaxed_simd_stays_off_where_it_is_not_asked_for(sample: bytes, image: F32) -> None:
    need_engine("wasm-node")
    found = turns.measure("node", turns.Job([ours("a", sample, "wasm")], [image], seconds=0.01))
    major = int(found.engine.removeprefix("node ").split(".")[0])
    assert found.relaxed == (major >= 21)


def test_a_damaged_file_is_refused(where: str, sample: bytes, image: F32) -> None:
    damaged = sample[:-1] + bytes([sample[-1] ^ 1])
    with pytest.raises(BadFile) as refused:
        turns.measure(where, turns.Job([ours("ours", damaged, "wasm")], [image], seconds=0.01))
    assert refused.value.headline == f"ours in {where} cannot run its model"
    assert refused.value.lines[0].startswith("E_CRC: a checksum does not match (item ")


def test_inputs_that_do_not_fit(where: str, sample: bytes, image: F32) -> None:
    job = turns.Job([ours("ours", sample, "wasm")], [image, image], seconds=0.01)
    with pytest.raises(PackagingError) as failed:
        turns.measure(where, job)
    assert failed.value.lines == ["2 inputs, the model takes 1"]


def test_packages_that_are_not_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sample: bytes, image: F32
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(turns, "missing", lambda engine: None)
    peer = turns.Candidate("peer", "onnxruntime", {"a.onnx": b""})
    with pytest.raises(ToolMissing) as absent:
        turns.measure("node", turns.Job([peer], [image], seconds=0.01))
    version = npm.pins()["onnxruntime-web"]
    assert absent.value.headline == f"onnxruntime-web {version} (npm) is not installed"
    assert absent.value.hint == npm.COMMAND


def test_the_lock_names_no_registry() -> None:
    text = (npm.WEB / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text
    for name, version in npm.pins().items():
        assert f'"node_modules/{name}": {{\n      "version": "{version}"' in text


def test_a_desk_serves_its_roots_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "page.html").write_text("here")
    (tmp_path / "out.txt").write_text("not here")
    with Desk({"web": tmp_path / "in"}) as desk:
        with urllib.request.urlopen(f"{desk.url}/web/page.html") as answer:
            assert answer.read() == b"here"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        for path in ("web/../out.txt", "web/%2e%2e/out.txt", "out.txt", "web/", "other/page.html"):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{desk.url}/{path}")
        urllib.request.urlopen(f"{desk.url}/result", data=b'{"a": 1}').close()
        assert desk.posted.get(timeout=5) == ("result", {"a": 1})
