"""``filigree count``: layers in order, kinds and the whole, the dense twin beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from filigree.packaging import count, emulate
from tests.cli.conftest import Cli
from tests.conftest import need
from tests.packaging.conftest import need_engine


@pytest.fixture
def counting() -> None:
    reason = emulate.available("arm64") or count.available()
    need("qemu", reason is None, reason or "")


def test_layers_add_up_and_sparse_ones_take_less(
    counting: None, cli: Cli, onnx_file: Path, fil_file: Path
) -> None:
    args = ("count", fil_file, "--against", onnx_file, "--json")
    done = cli(*args)
    assert (done.code, done.err) == (0, "")
    assert done.out == cli(*args).out
    found = json.loads(done.out)
    assert (found["target"], found["isa"]) == ("arm64", "neon")
    assert [layer["name"] for layer in found["layers"]][:2] == ["stem", "point"]
    for rows in (found["layers"], found["kinds"]):
        for key in ("instructions", "dense"):
            assert sum(row[key] for row in rows) == found[key]
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["stem"]["ratio"] == 1.0
    assert layers["point"]["ratio"] < 0.6
    assert found["ratio"] < 1.0


def test_text(counting: None, cli: Cli, fil_file: Path) -> None:
    done = cli("count", fil_file, "--isa", "scalar")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "tiny.fil on arm64 (scalar), instructions of one inference under QEMU"
    assert lines[1].split()[:4] == ["layer", "kind", "instructions", "share"]
    assert lines[2].split()[:2] == ["stem", "conv"]
    assert lines[-1].split()[0] == "all"


@pytest.mark.parametrize("command", ["count", "bench"])
def test_a_core_also_says_what_memory_it_takes(
    cli: Cli, onnx_file: Path, fil_file: Path, command: str
) -> None:
    need_engine("cortex-m4")
    words = ["--against", onnx_file, *["--dense"] * (command == "bench")]
    done = cli(command, fil_file, "--on", "cortex-m4", *words)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "tiny.fil on cortex-m4 (dsp), instructions of one inference under QEMU"
    assert [line.split()[0] for line in lines[-3:]] == ["memory", "flash", "RAM"]
    assert lines[-2].endswith(f" code + {fil_file.stat().st_size:,} model")
    found = json.loads(cli(command, fil_file, "--on", "cortex-m4", *words, "--json").out)
    assert found["target"] == "cortex-m4"
    assert found["memory"]["model"] == fil_file.stat().st_size
    assert found["dense_memory"]["model"] > found["memory"]["model"]


def test_what_needs_a_clock_is_refused_on_a_core(cli: Cli, fil_file: Path) -> None:
    done = cli("bench", fil_file, "--on", "cortex-m4", "--vs", "onnxruntime", "--roofline")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "error: --roofline, --vs: on cortex-m4 only instructions are counted"
    )


def test_a_missing_emulator(cli: Cli, fil_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, *_, **__: None)
    done = cli("count", fil_file)
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("error: qemu-aarch64 is not installed")
