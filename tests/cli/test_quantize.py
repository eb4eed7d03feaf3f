"""``filigree quantize``: the report, the file, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.conftest import Cli

pytest.importorskip("onnxruntime")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    draw = np.random.default_rng(0)
    x = draw.standard_normal((20, 3, 8, 8)).astype(np.float32)
    np.savez(path, x=x, y=np.arange(20) % 10)
    return path


def test_report_and_file(cli: Cli, onnx_file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    done = cli("quantize", onnx_file, "-o", out, "--calib", data, "--test", data)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"wrote {out}: ")
    assert lines[1].startswith("3 of 3 layers in int8, calibrated on 20 samples; the output is ")
    assert [line.split()[:2] for line in lines[4:7]] == [
        ["stem", "int8"],
        ["point", "int8"],
        ["classify", "int8"],
    ]
    assert lines[8].startswith("accuracy on the calibration data: ")
    assert lines[9].startswith("accuracy on the test data: ")
    assert lines[10] == f"next: filigree convert {out} -o {tmp_path / 'int8.fil'}"
    onnx.checker.check_model(onnx.load(out))


def test_json_and_float_layers(cli: Cli, onnx_file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    words = ["--calib", data, "--keep-float", "st*,classify", "--ranges", "minmax", "--json"]
    done = cli("quantize", onnx_file, "-o", out, *words)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    kept = [layer["kept_float"] for layer in found["layers"]]
    assert kept == [True, False, True]
    assert found["samples"] == 20


def test_what_cannot_be(cli: Cli, onnx_file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    done = cli("quantize", onnx_file, "-o", out, "--calib", data, "--keep-float", "a,b")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: the model cannot be quantised like that (nothing was written)\n"
        '  no layer is called "a"\n'
        '  no layer is called "b"\n'
    )
    done = cli("quantize", onnx_file, "-o", out, "--calib", tmp_path / "none.npz")
    assert done.code == 2 and "none.npz" in done.err
    done = cli("quantize", data, "-o", out, "--calib", data)
    assert done.code == 7
    assert not out.exists()
