"""float16 activations from end to end: convert on any machine, run on arm64 that has FP16."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from filigree.native.model import isas
from tests.cli.conftest import Cli
from tests.packaging.conftest import need_engine

FLAGS = ("--target", "arm64", "--dtype", "float16", "--activations", "float16")
pytestmark = pytest.mark.skipif(bool(isas("float16")), reason="this machine runs them itself")


@pytest.fixture
def narrow_file(cli: Cli, onnx_file: Path) -> Path:
    packed = onnx_file.with_name("narrow.fil")
    done = cli("convert", onnx_file, "-o", packed, *FLAGS)
    assert (done.code, done.err) == (0, "")
    assert "activations in float16" in done.out.splitlines()
    return packed


def test_it_is_described_but_not_run_here(cli: Cli, narrow_file: Path, tmp_path: Path) -> None:
    shown = cli("inspect", narrow_file)
    assert shown.code == 0
    assert shown.out.splitlines()[1] == (
        "planes padded to 16 values; activations in float16, which do not run here"
    )
    x = tmp_path / "x.npy"
    np.save(x, np.zeros((1, 3, 8, 8), np.float32))
    done = cli("run", narrow_file, x)
    assert done.code == 7
    assert done.err == (
        f"error: {narrow_file.name} is not a packed model that can be used\n"
        "  needs an instruction set that this processor or build does not have [E_ISA]\n"
        "  next: filigree convert --activations float32, which runs everywhere\n"
    )


def test_it_agrees_on_arm64(cli: Cli, onnx_file: Path, narrow_file: Path) -> None:
    need_engine("arm64")
    done = cli("verify", narrow_file, "--against", onnx_file, "--on", "arm64")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    allowed = re.search(r"allowed ([\d.e-]+) of the output range$", lines[0])
    assert allowed is not None and 1e-3 < float(allowed[1]) < 0.2
    (row,) = (line.split() for line in lines[2:-1])
    assert row[:2] == ["arm64", "neon_fp16"] and row[4] == "agrees"
    assert 1e-5 < float(row[2]) < float(allowed[1])


def test_here_there_is_nothing_to_compare_with(
    cli: Cli, onnx_file: Path, narrow_file: Path
) -> None:
    done = cli("verify", narrow_file, "--against", onnx_file)
    assert done.code == 5
    assert "  host neon_fp16: this machine has no neon_fp16\n" in done.err


def test_a_wrong_model_shows(cli: Cli, onnx_file: Path, narrow_file: Path, tmp_path: Path) -> None:
    from tests.cli.conftest import tiny_onnx

    need_engine("arm64")
    other = tiny_onnx(tmp_path / "other.onnx", seed=1)
    assert cli("verify", narrow_file, "--against", other, "--on", "arm64").code == 6


def test_it_takes_fewer_instructions(cli: Cli, onnx_file: Path, narrow_file: Path) -> None:
    need_engine("arm64")
    plain = onnx_file.with_name("plain.fil")
    assert cli("convert", onnx_file, "-o", plain, "--target", "arm64").code == 0
    found = {path: json.loads(cli("count", path, "--json").out) for path in (narrow_file, plain)}
    assert found[narrow_file]["isa"] == "neon_fp16" and found[plain]["isa"] == "neon"
    kinds = {
        path: {kind["name"]: kind["instructions"] for kind in counted["kinds"]}
        for path, counted in found.items()
    }
    assert kinds[narrow_file]["spmm"] < 0.9 * kinds[plain]["spmm"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((*FLAGS[:4], "--activations", "float16", "--dtype", "float32"), "need weights of float16"),
        (("--target", "wasm", *FLAGS[2:]), "activations of float16 are for arm64"),
    ],
)
def test_what_makes_no_sense(
    cli: Cli, onnx_file: Path, tmp_path: Path, flags: tuple[str, ...], text: str
) -> None:
    out = tmp_path / "m.fil"
    done = cli("convert", onnx_file, "-o", out, *flags)
    assert done.code == 2 and text in done.err and not out.exists()
