"""``filigree prune``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.cli.conftest import Cli, tiny_onnx

pytest.importorskip("onnxruntime")
WAYS = [
    "unstructured magnitude",
    "4x1 magnitude, rows as they are",
    "4x1 magnitude, rearranged",
    "4x1 obs + least squares, rearranged",
    "4x1 obs, each layer on what it is given",
    "4x1 random",
]
NOTHING = "(nothing was written)"


def samples(path: Path, *, count: int = 12, labels: bool = True) -> Path:
    draw = np.random.default_rng(0)
    arrays = {"x": draw.standard_normal((count, 3, 8, 8)).astype(np.float32)}
    if labels:
        arrays["y"] = draw.integers(0, 10, count)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return samples(tmp_path / "data.npz")


def zeros(path: Path, name: str = "w1") -> float:
    (tensor,) = [t for t in onnx.load(path).graph.initializer if t.name.startswith(name)]
    return float(np.mean(numpy_helper.to_array(tensor) == 0))


# --- pruning ---


def test_writes_the_model_and_says_so(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.onnx"
    done = cli("prune", onnx_file, "-o", out, "--sparsity", "0.9", "--no-rearrange")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"wrote {out}: 90.0 % of the weights of 1 layer cut\n"
        "\n"
        "layer  weights  pattern  zeros   blocks kept  output error\n"
        "point  64x32    4x1      90.0 %  51/512       -\n"
        "\n"
        f"next: filigree convert {out} -o {out.with_suffix('.fil')}\n"
    )
    onnx.checker.check_model(onnx.load(out), full_check=True)
    assert zeros(out) == 1 - 51 / 512
    assert cli("convert", out, "-o", tmp_path / "p.fil").code == 0


def test_judged_by_data(cli: Cli, onnx_file: Path, npz: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.onnx"
    done = cli("prune", onnx_file, "-o", out, "--pattern", "1x1", "--calib", npz, "--method", "obs")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"wrote {out}: 80.0 % of the weights of 1 layer cut"
    assert re.fullmatch(r"accuracy [\d.]+ % -> [\d.]+ % on 12 samples", lines[1])
    assert re.fullmatch(r"point  64x32    1x1      80\.0 %  \d+/2048 +[\de.-]+", lines[4])
    unlabelled = samples(tmp_path / "plain.npz", labels=False)
    done = cli("prune", onnx_file, "-o", out, "--force", "--test", unlabelled)
    line = next(text for text in done.out.splitlines() if text.startswith("output error"))
    assert re.fullmatch(r"output error [\de.-]+, top-1 as before in [\d.]+ % on 12 samples", line)


def test_channels_are_reordered(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    done = cli("prune", onnx_file, "-o", tmp_path / "p.onnx", "--sparsity", "0.9", "--pattern=8x1")
    assert done.out.splitlines()[1] == "1 group of channels reordered"


def test_json(cli: Cli, onnx_file: Path, npz: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.onnx"
    args = ("--sparsity", "0.9", "--calib", npz, "--label-offset", "-1", "--samples", "8")
    done = cli("prune", onnx_file, "-o", out, "--json", *args)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["model"] == str(onnx_file) and found["written"] == str(out)
    assert found["sparsity"] == pytest.approx(zeros(out)) and zeros(out) > 0.9
    assert found["before"]["samples"] == found["after"]["samples"] == 8
    assert found["before"]["agreement"] == 100 and found["before"]["error"] == 0
    (layer,) = found["layers"]
    assert (layer["name"], layer["blocks"], layer["of"]) == ("point", 51, 512)
    assert layer["sparsity"] == zeros(out)


def test_single_layers(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.onnx"
    layers = ("stem=0.5:2x1", "point=dense", "classify=0.5:1x1+1:2")
    args = [arg for layer in layers for arg in ("--layer", layer)]
    done = cli("prune", onnx_file, "-o", out, "--json", *args)
    found = {layer["name"]: layer for layer in json.loads(done.out)["layers"]}
    assert {name: layer["pattern"] for name, layer in found.items()} == {
        "stem": "2x1",
        "classify": "1x1+1:2",
    }
    assert [layer["sparsity"] for layer in found.values()] == [0.5, 0.5]


def test_report_is_one_self_contained_page(
    cli: Cli, onnx_file: Path, npz: Path, tmp_path: Path
) -> None:
    out, page = tmp_path / "p.onnx", tmp_path / "p.html"
    done = cli("prune", onnx_file, "-o", out, "--calib", npz, "--report", page)
    assert done.code == 0 and f"wrote {page}" in done.out.splitlines()
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "http" not in text and "<script" not in text
    for part in ("tiny.onnx, pruned", "accuracy before", "accuracy after", "point", "64 x 32"):
        assert part in text


def test_a_folder_of_images(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder, out = tmp_path / "images", tmp_path / "p.onnx"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(3):
        pixels = draw.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "labels.csv").write_text("file,class\n0.png,3\n2.png,4\nlost.png,5\n")
    args = ("prune", onnx_file, "-o", out, "--calib", folder, "--force")
    done = cli(*args, "--mean", "127.5", "--scale", "127.5", "--json", "--crop", "0.9")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["before"]["samples"] == 2  # those with a label
    (folder / "labels.csv").unlink()
    found = json.loads(cli(*args, "--mean", "0", "--scale", "255", "--json").out)
    assert (found["before"]["samples"], found["before"]["accuracy"]) == (3, None)
    assert cli(*args).err == (
        f"error: the model does not say how pixels become values {NOTHING}\n"
        "  next: --mean 127.5 --scale 127.5 for -1..1, --mean 0 --scale 255 for 0..1\n"
    )


def test_images_and_labels_that_are_none(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "p.onnx"
    folder.mkdir()
    args = ("prune", onnx_file, "-o", out, "--calib", folder, "--mean", "0", "--scale", "255")
    done = cli(*args)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: {folder} holds no images (.bmp, .jpeg, .jpg, .png) {NOTHING}\n"
    for name in ("a.png", "b.jpg"):
        (folder / name).write_bytes(b"no image")
    done = cli(*args)
    assert (done.code, done.out) == (7, "")
    lines = done.err.splitlines()
    assert lines[0] == f"error: 2 of 2 images cannot be read {NOTHING}"
    assert [line.split()[0] for line in lines[1:]] == ["a.png", "b.jpg"]
    for table in ("file,class\na.png\n", "file,class\na.png,cat\n", "name,class\na.png,1\n", ""):
        (folder / "labels.csv").write_text(table)
        done = cli(*args)
        assert (done.code, done.out) == (7, ""), table
        first = f"{folder / 'labels.csv'} is not a table with the columns file and class"
        assert done.err.splitlines()[0] == f"error: {first} {NOTHING}"
    assert not out.exists()


# --- comparing ---


def test_compare_draws_and_lists(cli: Cli, onnx_file: Path, npz: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    done = cli("prune", onnx_file, "--compare", folder, "--calib", npz)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert re.fullmatch(r"dense: [\d.]+ % on 6 samples that pruning did not see", lines[0])
    assert lines[1].split() == ["zeros", "30%", "50%", "60%", "70%", "80%", "90%"]
    assert [re.split(r"  +", line)[0] for line in lines[2:8]] == WAYS
    assert lines[8:] == [f"wrote {folder / 'accuracy.svg'}", f"wrote {folder / 'accuracy.json'}"]
    assert sorted(p.name for p in folder.iterdir()) == ["accuracy.json", "accuracy.svg"]
    svg = ET.fromstring((folder / "accuracy.svg").read_text(encoding="utf-8"))
    texts = [element.text or "" for element in svg.iter() if element.tag.endswith("text")]
    assert {"dense", "top-1 accuracy, %", *WAYS} <= set(texts)
    assert len([e for e in svg.iter() if e.tag.endswith("polyline")]) == 1 + len(WAYS)
    found = json.loads((folder / "accuracy.json").read_text())
    assert found["model"] == "tiny.onnx" and found["dense"]["samples"] == 6
    assert [p["way"] for p in found["points"]] == [way for way in WAYS for _ in range(6)]
    assert all(p["sparsity"] >= p["asked"] - 1e-9 for p in found["points"])
    again = cli("prune", onnx_file, "--compare", folder, "--calib", npz)
    assert (again.code, again.out) == (2, "")
    assert again.err == (
        f"error: 2 problems with the files given {NOTHING}\n"
        f"  {folder / 'accuracy.svg'} exists already; --force overwrites it\n"
        f"  {folder / 'accuracy.json'} exists already; --force overwrites it\n"
    )


def test_compare_as_json_without_labels(
    cli: Cli, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filigree.cli.tasks import pruning

    monkeypatch.setattr(pruning, "COMPARED_AT", (0.5, 0.9))
    folder = tmp_path / "out"
    folder.mkdir()
    calib = samples(tmp_path / "calib.npz", count=8, labels=False)
    test = samples(tmp_path / "test.npz", count=5, labels=False)
    args = ("--calib", calib, "--test", test, "--json")
    done = cli("prune", onnx_file, "--compare", folder, *args)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == json.loads((folder / "accuracy.json").read_text())
    assert json.loads(done.out)["dense"] == {
        "samples": 5,
        "accuracy": None,
        "agreement": 100.0,
        "error": 0.0,
    }
    assert "same top-1 as dense, %" in (folder / "accuracy.svg").read_text(encoding="utf-8")


def test_compare_needs_data(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = cli("prune", onnx_file, "--compare", folder)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: --compare needs data: --calib DATA {NOTHING}\n"
    one = samples(tmp_path / "one.npz", count=1)
    done = cli("prune", onnx_file, "--compare", folder, "--calib", one)
    assert done.err == (
        f"error: one sample cannot be split into calibration and test data {NOTHING}\n"
    )
    assert not folder.exists()


# --- averaging ---


def test_average(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "mean.onnx", tmp_path / "other.onnx"
    other.write_bytes(onnx_file.read_bytes())
    done = cli("prune", onnx_file, "-o", out, "--average", other)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"wrote {out}: the average of 2 models\n"
    assert zeros(out) == zeros(onnx_file)
    done = cli("prune", onnx_file, "-o", out, "--average", other, "--json", "--force")
    assert json.loads(done.out) == {"written": str(out), "models": [str(onnx_file), str(other)]}


def test_average_of_other_zeros(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "mean.onnx", tiny_onnx(tmp_path / "other.onnx", seed=1)
    done = cli("prune", onnx_file, "-o", out, "--average", other)
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines[0] == f"error: these models cannot be averaged {NOTHING}"
    assert lines[1].startswith('  tensor "w1": checkpoint 1 has another mask than checkpoint 0')
    assert not out.exists()


# --- what is refused ---


def test_nothing_to_write(cli: Cli, onnx_file: Path) -> None:
    for args in ((), ("--average", onnx_file)):
        done = cli("prune", onnx_file, *args)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            f"error: nothing to write: give -o pruned.onnx, or --compare FOLDER {NOTHING}\n"
        )


def test_modes_that_do_not_go_together(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    page = ("--report", tmp_path / "p.html", "--average", onnx_file)
    done = cli("prune", onnx_file, "--compare", tmp_path / "f", "-o", tmp_path / "p.onnx", *page)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: the options do not go together {NOTHING}\n"
        "  -o with --compare\n  --average with --compare\n  --report with --compare\n"
        "  --report with --average\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == [onnx_file.name]


def test_all_problems_with_files_at_once(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    missing, out = tmp_path / "no.npz", tmp_path / "nowhere" / "p.onnx"
    done = cli("prune", tmp_path / "no.onnx", "-o", out, "--calib", missing)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: 3 problems with the files given {NOTHING}\n"
        f"  {tmp_path / 'no.onnx'} does not exist\n"
        f"  {missing} does not exist\n"
        f"  {out} cannot be written: the folder {out.parent} does not exist\n"
    )


def test_all_problems_with_the_options_at_once(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.onnx"
    layers = ("point", "stem=", "=0.5", "point=0.5:", "point=5x1", "a=b=0.5:2:5x")
    args = [arg for layer in layers for arg in ("--layer", layer)]
    done = cli("prune", onnx_file, "-o", out, "--pattern", "3x1", *args)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: the options cannot be read {NOTHING}\n"
        "  'point' is not NAME=SPARSITY, NAME=PATTERN or NAME=dense\n"
        "  'stem=' is not NAME=SPARSITY, NAME=PATTERN or NAME=dense\n"
        "  '=0.5' is not NAME=SPARSITY, NAME=PATTERN or NAME=dense\n"
        '  "" is not a pattern such as 4x1, 1x1, 2:4 or 4x1+2:4\n'
        '  "5x1": blocks have 1, 2, 4, 8 or 16 rows\n'
        '  "2:5x" is not a pattern such as 4x1, 1x1, 2:4 or 4x1+2:4\n'
        '  "3x1": blocks have 1, 2, 4, 8 or 16 rows\n'
    )


def test_what_the_model_does_not_have(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.onnx"
    args = ("--layer", "pont=0.5", "--layer", "pool=dense", "--sparsity", "1", "--reconstruct")
    done = cli("prune", onnx_file, "-o", out, *args)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: tiny.onnx cannot be pruned like that {NOTHING}\n"
        "  sparsity 1.0 is not in [0, 1)\n"
        '  no layer "pont"\n'
        '  no layer "pool"\n'
        "  reconstruction needs calibration data\n"
        "  next: filigree inspect tiny.onnx --layers\n"
    )
    assert not out.exists()


def test_data_that_does_not_fit(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "p.onnx", tmp_path / "data.npz"
    np.savez(path, x=np.zeros((4, 5)), y=np.zeros(4))
    done = cli("prune", onnx_file, "-o", out, "--calib", path)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: no array in data.npz has samples of 3x8x8 {NOTHING}\n"
        "  x: 4x5 float64\n  y: 4 float64\n"
    )
    path.write_bytes(b"PK\x03\x04 and no more")
    done = cli("prune", onnx_file, "-o", out, "--calib", path)
    assert (done.code, done.out) == (7, "")
    first = done.err.splitlines()[0]
    assert first == f"error: data.npz is not an .npz or .npy file of numbers {NOTHING}"
    assert not out.exists()


def test_a_failure_leaves_nothing_behind(
    cli: Cli, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filigree.cli.pages import pruned

    def fail(outcome: object) -> list[str]:
        raise RuntimeError("no page")

    monkeypatch.setattr(pruned, "sections", fail)
    before = sorted(tmp_path.iterdir())
    done = cli("prune", onnx_file, "-o", tmp_path / "p.onnx", "--report", tmp_path / "p.html")
    assert (done.code, done.out) == (1, "")
    assert sorted(tmp_path.iterdir()) == before


def test_choices_are_those_of_the_library() -> None:
    from filigree.cli.commands import prune as command
    from filigree.converter.sparsity.budget import BUDGETS
    from filigree.converter.sparsity.methods import METHODS, REFINEMENTS

    assert set(command.METHODS) == set(METHODS)
    assert set(command.REFINEMENTS) == set(REFINEMENTS)
    assert command.BUDGETS == BUDGETS


@pytest.mark.parametrize(
    ("text", "sparsity", "pattern"),
    [
        ("0.5", 0.5, None),
        ("0", 0.0, None),
        ("dense", 0.0, None),
        ("8x1", None, "8x1"),
        ("2:4", None, "1x1+2:4"),
        ("4x1+2:4", None, "4x1+2:4"),
        ("0.5:8x1", 0.5, "8x1"),
        ("0.25:2:4", 0.25, "1x1+2:4"),
        ("0.25:4x1+2:4", 0.25, "4x1+2:4"),
    ],
)
def test_overrides(text: str, sparsity: float | None, pattern: str | None) -> None:
    from filigree.cli.tasks.pruning import override

    name, found = override(f"a/b=c={text}")
    assert name == "a/b=c" and found.sparsity == sparsity
    assert (str(found.pattern) if found.pattern else None) == pattern
