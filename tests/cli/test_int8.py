"""A quantised model on the command line: convert, inspect, verify, bench."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from filigree.native.model import isas
from tests.cli.conftest import Cli, tiny_onnx

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.models.quantize import quantize

    folder = tmp_path_factory.mktemp("int8")
    draw = np.random.default_rng(1)
    samples = draw.standard_normal((16, 3, 8, 8)).astype(np.float32)
    quantize(tiny_onnx(folder / "tiny.onnx"), folder / "tiny_int8.onnx", samples)
    return folder / "tiny_int8.onnx"


@pytest.fixture
def packed(cli: Cli, source: Path, tmp_path: Path) -> Path:
    made = tmp_path / "tiny.fil"
    done = cli("convert", source, "-o", made)
    assert done.code == 0, done.err
    return made


def test_layers_are_int8(cli: Cli, packed: Path) -> None:
    done = cli("inspect", packed, "--json")
    assert done.code == 0
    layers = json.loads(done.out)["layers"]
    assert {layer["dtype"] for layer in layers} == {"int8"}
    assert {layer["kind"] for layer in layers} == {"qconv", "qspmm", "qspmv"}


def test_it_is_a_quarter_of_the_float_one(cli: Cli, packed: Path, tmp_path: Path) -> None:
    floats = tmp_path / "float.fil"
    assert cli("convert", tiny_onnx(tmp_path / "tiny.onnx"), "-o", floats).code == 0

    def stored(path: Path) -> int:
        layers = json.loads(cli("inspect", path, "--json").out)["layers"]
        return sum(int(layer["stored_bytes"]) for layer in layers)

    assert stored(packed) < 0.4 * stored(floats)


def test_every_isa_agrees(cli: Cli, source: Path, packed: Path) -> None:
    done = cli("verify", packed, "--against", source, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert [(row["isa"], row["agrees"]) for row in found["rows"]] == [(x, True) for x in isas()]
    assert len({row["difference"] for row in found["rows"]}) == 1  # the very same numbers


def test_something_else_does_not_agree(cli: Cli, packed: Path, tmp_path: Path) -> None:
    other = tiny_onnx(tmp_path / "other.onnx", seed=5)
    done = cli("verify", packed, "--against", other)
    assert done.code == 6
    assert "disagrees" in done.out


def test_convert_quantises_on_the_way(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data.npz", tmp_path / "int8.fil"
    draw = np.random.default_rng(0)
    x = draw.standard_normal((20, 3, 8, 8)).astype(np.float32)
    np.savez(data, x=x, y=np.arange(20) % 10)
    done = cli("convert", onnx_file, "-o", out, "--dtype", "int8", "--calib", data)
    assert (done.code, done.err) == (0, "")
    assert "3 of 3 layers in int8, the output " in done.out
    assert "; accuracy on the calibration data " in done.out
    words = ["--dtype", "int8", "--calib", data, "--keep-float", "st*", "--json", "--force"]
    found = json.loads(cli("convert", onnx_file, "-o", out, *words).out)
    assert (found["quantized"]["layers"], found["quantized"]["of"]) == (2, 3)
    layers = {layer["node"]: layer for layer in found["layers"]}
    assert [layers[n]["dtype"] for n in ("stem", "point")] == ["float32", "int8"]
    assert layers["stem"]["rounding"].startswith("stays float32, ")
    assert layers["point"]["rounding"].endswith(" dB over its error")


def test_int8_needs_data(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.fil"
    done = cli("convert", onnx_file, "-o", out, "--dtype", "int8")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: int8 needs real inputs to be calibrated on (nothing was written)\n"
        "  next: --calib DATA\n"
    )
    assert not out.exists()
