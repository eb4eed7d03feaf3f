"""``filigree finetune``: what it says, what it writes, what it refuses."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    draw = np.random.default_rng(0)
    x = draw.standard_normal((60, 3, 8, 8)).astype(np.float32)
    np.savez(path, x=x, y=draw.integers(0, 10, 60))
    return path


def trained(cli: Cli, *args: object) -> Any:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return cli("finetune", *args)


def test_texts(cli: Cli, onnx_file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    done = trained(cli, onnx_file, "--data", data, "-o", out, "--epochs", 2, "--sparsity", 0.5)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"wrote {out}: 50.0 % of the weights of 1 layer cut"
    assert lines[1] == "0 groups of channels reordered"  # it comes in blocks already
    assert lines[2].startswith("accuracy ")
    assert lines[2].endswith(" % on 6 samples that training did not see")
    assert lines[4].split() == ["epoch", "loss", "zeros", "accuracy"]
    assert [line.split()[0] for line in lines[5:7]] == ["1/2", "2/2"]
    assert lines[9].split() == ["point", "64x32", "4x1", "50.0", "%", "256/512"]
    assert lines[-1] == f"next: filigree convert {out} -o {tmp_path / 'out.fil'}"
    assert cli("convert", out, "-o", tmp_path / "out.fil").code == 0


def test_json_and_resuming(cli: Cli, onnx_file: Path, data: Path, tmp_path: Path) -> None:
    first, second, kept = (tmp_path / name for name in ("a.onnx", "b.onnx", "run.npz"))
    flags = ["--data", data, "--test", data, "--epochs", 2, "--distil", "--json"]
    done = trained(cli, onnx_file, *flags, "-o", first, "--checkpoint", kept)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["trained_on"] == found["after"]["samples"] == 60
    assert [epoch["epoch"] for epoch in found["history"]] == [1, 2]
    assert found["layers"][0]["pattern"] == "4x1"
    again = cli("finetune", onnx_file, *flags, "-o", second, "--resume", kept, "--checkpoint", kept)
    assert (again.code, again.err) == (0, "")
    assert second.read_bytes() == first.read_bytes()


def test_all_problems_at_once(cli: Cli, onnx_file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    bad = ["--sparsity", 1.5, "--pattern", "3x1", "--epochs", 0, "--batch", 0, "--rate", 0]
    done = cli("finetune", onnx_file, "--data", data, "-o", out, *bad)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: the options cannot be used (nothing was written)\n"
        '  "3x1": blocks have 1, 2, 4, 8 or 16 rows\n'
        "  sparsity 1.5 is not in [0, 1)\n"
        "  0 epochs; at least 1 is needed\n"
        "  batches of 0; at least 1 is needed\n"
        "  rate 0.0 is not above 0\n"
    )
    assert not out.exists()


def test_files_are_checked_first(cli: Cli, onnx_file: Path, data: Path, tmp_path: Path) -> None:
    out, kept, none = tmp_path / "out.onnx", tmp_path / "run.npz", tmp_path / "none.npz"
    out.touch()
    kept.touch()
    files = ["--data", data, "--resume", none, "--checkpoint", kept, "-o", out]
    done = cli("finetune", onnx_file, *files)
    assert done.code == 2
    assert done.err == (
        "error: 3 problems with the files given (nothing was written)\n"
        f"  {none} does not exist\n"
        f"  {out} exists already; --force overwrites it\n"
        f"  {kept} exists already; --force overwrites it\n"
    )
    assert out.read_bytes() == b""


def test_labels_that_do_not_fit(cli: Cli, onnx_file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    done = trained(cli, onnx_file, "--data", data, "-o", out, "--label-offset", 5)
    assert done.code == 2
    assert done.err == (
        "error: the labels do not fit tiny.onnx (nothing was written)\n"
        "  training labels run from 5 to 14, the model has 10 classes: 0 to 9\n"
        "  test labels run from 7 to 14, the model has 10 classes: 0 to 9\n"
        "  next: --label-offset is added to every label\n"
    )
    assert not out.exists()


def test_a_file_that_is_no_checkpoint(
    cli: Cli, onnx_file: Path, data: Path, tmp_path: Path
) -> None:
    done = trained(cli, onnx_file, "--data", data, "-o", tmp_path / "o.onnx", "--resume", data)
    assert done.code == 7
    assert done.err == (
        "error: data.npz is not a checkpoint of filigree finetune, or a damaged one"
        " (nothing was written)\n"
    )


def test_without_pytorch(
    cli: Cli, onnx_file: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    done = cli("finetune", onnx_file, "--data", data, "-o", tmp_path / "o.onnx")
    assert (done.code, done.out) == (5, "")
    assert done.err == (
        "error: PyTorch, which fine-tuning needs, is not installed (nothing was written)\n"
        '  next: pip install "filigree[train]"\n'
    )
