"""A model that takes pixels as they are, through every command that feeds one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Cli, camera_onnx
from tests.packaging.conftest import need_engine


@pytest.fixture
def camera(cli: Cli, tmp_path: Path) -> tuple[Path, Path]:
    """The model and its packed form."""
    source, packed = camera_onnx(tmp_path / "camera.onnx"), tmp_path / "camera.fil"
    done = cli("convert", source, "-o", packed)
    assert done.code == 0, done.err
    return source, packed


@pytest.mark.parametrize("target", ["host", "arm64", "wasm", "wasm-threads-node"])
def test_verify(cli: Cli, camera: tuple[Path, Path], target: str) -> None:
    pytest.importorskip("onnxruntime")
    if target != "host":
        need_engine({"wasm": "wasm-node"}.get(target, target))
    source, packed = camera
    done = cli("verify", packed, "--against", source, "--on", target, "--inputs", "2", "--json")
    assert (done.code, done.err) == (0, "")
    assert all(row["agrees"] for row in json.loads(done.out)["rows"])


def test_bench_and_what_it_explains(cli: Cli, camera: tuple[Path, Path]) -> None:
    pytest.importorskip("onnxruntime")
    source, packed = camera
    words = ["--vs", f"onnxruntime={source}", "--seconds", "0.1", "--explain", "--roofline"]
    done = cli("bench", packed, *words)
    assert (done.code, done.err) == (0, "")
    assert "pixels" in done.out


def test_a_picture_goes_in_as_it_is(cli: Cli, camera: tuple[Path, Path], tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(4).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture, array = tmp_path / "x.png", tmp_path / "x.npy"
    image.fromarray(pixels).save(picture)
    np.save(array, pixels[np.newaxis])
    found = [json.loads(cli("run", camera[1], x, "--json").out)["runs"] for x in (picture, array)]
    assert found[0][0]["outputs"] == found[1][0]["outputs"]
    done = cli("run", camera[1], picture, "--mean", "0")
    assert done.code == 2
    assert done.err == "error: the model takes pixels as they are: no --mean, no --scale\n"


def test_floats_are_not_pixels(cli: Cli, camera: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1, 8, 8, 3), np.float32))
    done = cli("run", camera[1], path)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        'error: x.npy does not fit the model\n  input "photo": expected uint8, got dtype float32\n'
    )
