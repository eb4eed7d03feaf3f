"""``filigree run``: arrays and images in, classes or figures out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Cli
from tests.packaging.conftest import need_engine


@pytest.fixture
def array(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(3).standard_normal((1, 3, 8, 8)).astype(np.float32))
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "x.png"
    pixels = np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image.fromarray(pixels).save(path)
    return path


def test_array_gives_classes_because_it_is_a_distribution(
    cli: Cli, fil_file: Path, array: Path
) -> None:
    done = cli("run", fil_file, array, "--top", "3")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == str(array)
    assert len(lines) == 4
    scores = [float(line.split()[0]) for line in lines[1:]]
    assert scores == sorted(scores, reverse=True)
    assert all("class" in line for line in lines[1:])


def test_json_and_saved_output_agree(cli: Cli, fil_file: Path, array: Path, tmp_path: Path) -> None:
    saved = tmp_path / "out.npy"
    done = cli("run", fil_file, array, "--json", "--save", saved)
    assert done.code == 0
    entry = json.loads(done.out)["runs"][0]["outputs"][0]
    values = np.load(saved)
    assert entry["shape"] == list(values.shape) == [1, 10]
    assert entry["top"][0]["class"] == int(values.argmax())
    assert entry["top"][0]["score"] == pytest.approx(float(values.max()))


def test_threads_give_the_same_bits(cli: Cli, fil_file: Path, array: Path, tmp_path: Path) -> None:
    one, three = tmp_path / "one.npy", tmp_path / "three.npy"
    assert json.loads(cli("run", fil_file, array, "--json", "--save", one).out)["threads"] == 1
    done = cli("run", fil_file, array, "--json", "--threads", "3", "--save", three)
    assert json.loads(done.out)["threads"] == 3
    assert three.read_bytes() == one.read_bytes()


def test_image_with_flags(cli: Cli, fil_file: Path, picture: Path) -> None:
    done = cli("run", fil_file, picture, "--mean", "127.5", "--scale", "127.5", "--crop", "0.9")
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 6


def test_image_without_preprocessing(cli: Cli, fil_file: Path, picture: Path) -> None:
    done = cli("run", fil_file, picture)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: the model does not say how pixels become values\n"
        "  next: --mean 127.5 --scale 127.5 for -1..1, --mean 0 --scale 255 for 0..1\n"
    )


def test_preprocessing_and_labels_travel_in_the_file(
    cli: Cli, onnx_file: Path, picture: Path, tmp_path: Path
) -> None:
    labels, packed = tmp_path / "labels.txt", tmp_path / "labelled.fil"
    labels.write_text("".join(f"thing {i}\n" for i in range(10)), encoding="utf-8")
    done = cli(
        "convert", onnx_file, "-o", packed, "--labels", labels, "--mean", "0", "--scale", "255"
    )
    assert done.code == 0, done.err
    done = cli("run", packed, picture, "--top", "1")
    assert done.code == 0, done.err
    assert "thing " in done.out


def test_wrong_shape_is_named(cli: Cli, fil_file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.npy"
    np.save(wrong, np.zeros((1, 3, 9, 8), np.float32))
    done = cli("run", fil_file, wrong)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: wrong.npy does not fit the model\n"
        '  input "x": expected shape [1, 3, 8, 8], got [1, 3, 9, 8]\n'
    )


def test_wrong_files(cli: Cli, fil_file: Path, array: Path, tmp_path: Path) -> None:
    text = tmp_path / "x.txt"
    text.write_text("hello", encoding="utf-8")
    done = cli("run", fil_file, text)
    assert done.code == 2
    assert done.err == ("error: x.txt is neither .npy nor an image (.bmp, .jpeg, .jpg, .png)\n")
    fake = tmp_path / "fake.npy"
    fake.write_bytes(b"hello")
    done = cli("run", fil_file, fake)
    assert done.code == 7
    assert done.err.startswith("error: fake.npy is not a .npy file that can be read\n")
    fake = tmp_path / "fake.png"
    fake.write_bytes(b"hello")
    done = cli("run", fil_file, fake, "--mean", "0", "--scale", "255")
    assert done.code == 7
    assert done.err.startswith("error: fake.png is not an image that can be read\n")
    done = cli("run", text, array)
    assert done.code == 7
    assert done.err.startswith("error: x.txt is not a packed model that can be used\n")


def test_pickles_are_not_read(cli: Cli, fil_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    done = cli("run", fil_file, path)
    assert done.code == 7


def test_damaged_model(cli: Cli, fil_file: Path, array: Path) -> None:
    data = bytearray(fil_file.read_bytes())
    data[-1] ^= 1
    fil_file.write_bytes(data)
    done = cli("run", fil_file, array)
    assert (done.code, done.out) == (7, "")
    assert done.err.splitlines()[0] == ("error: tiny.fil is not a packed model that can be used")
    assert "a checksum does not match" in done.err


def test_unknown_isa(cli: Cli, fil_file: Path, array: Path) -> None:
    done = cli("run", fil_file, array, "--isa", "mmx")
    assert (done.code, done.out) == (2, "")
    assert '"mmx" is not an instruction set' in done.err


@pytest.mark.parametrize("target", ["arm64", "cortex-m4"])
def test_elsewhere(cli: Cli, fil_file: Path, tmp_path: Path, target: str) -> None:
    need_engine(target)
    x = tmp_path / "x.npy"
    np.save(x, np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32))
    outs = []
    for where in ("host", target):
        out = tmp_path / f"{where}.npy"
        done = cli("run", fil_file, x, "--on", where, "--save", out)
        assert (done.code, done.err) == (0, "")
        outs.append(np.load(out))
    np.testing.assert_allclose(outs[1], outs[0], rtol=1e-5, atol=1e-6)
