"""``filigree verify``: agreement, disagreement and what could not run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from filigree.cli.tasks import compare
from filigree.cli.tasks.compare import Case
from filigree.native.model import isas
from filigree.packaging import targets
from tests.cli.conftest import Cli, large_onnx, tiny_onnx
from tests.packaging.conftest import need_engine

pytest.importorskip("onnxruntime")


def test_every_isa_agrees(cli: Cli, onnx_file: Path, fil_file: Path) -> None:
    done = cli("verify", fil_file, "--against", onnx_file)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == (
        "tiny.fil against tiny.onnx in ONNX Runtime: 4 inputs, allowed 0.0001 of the output range"
    )
    assert lines[1].split() == ["target", "isa", "difference", "result"]
    rows = [line.split() for line in lines[2:]]
    assert [row[1] for row in rows] == isas()
    assert all(row[0] == "host" and row[3] == "agrees" for row in rows)


def test_threads(cli: Cli, onnx_file: Path, fil_file: Path) -> None:
    done = cli("verify", fil_file, "--against", onnx_file, "--threads", "3")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        "tiny.fil against tiny.onnx in ONNX Runtime: 4 inputs, 3 threads, allowed 0.0001 "
    )
    assert done.out.count("agrees") == len(isas())


@pytest.mark.parametrize("target", ["arm64", "wasm-threads-node"])
def test_threads_elsewhere(cli: Cli, onnx_file: Path, fil_file: Path, target: str) -> None:
    need_engine(target)
    words = ["--on", target, "--threads", "2", "--inputs", "1", "--json"]
    done = cli("verify", fil_file, "--against", onnx_file, *words)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["threads"] == 2
    assert [(row["target"], row["agrees"]) for row in found["rows"]] == [(target, True)]


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_cores_have_the_bits_of_the_host(
    cli: Cli, onnx_file: Path, tmp_path: Path, target: str
) -> None:
    from tests.models.quantize import quantize  # onnxruntime may be absent

    need_engine(target)
    quantised, packed = tmp_path / "int8.onnx", tmp_path / "int8.fil"
    samples = np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32)
    quantize(onnx_file, quantised, samples)
    assert cli("convert", quantised, "-o", packed, "--target", target).code == 0
    isa = (*targets.target(target).isas, "scalar")[0]
    words = ["--on", f"host,{target}", "--isa", ",".join({"scalar": 1, isa: 1}), "--json"]
    done = cli("verify", packed, "--against", quantised, *words)
    assert (done.code, done.err) == (0, "")
    rows = [row for row in json.loads(done.out)["rows"] if row["skipped"] is None]
    assert [(row["target"], row["isa"], row["same_bits"]) for row in rows] == [
        ("host", "scalar", True),
        (target, isa, True),
    ]


def test_other_bits_than_the_scalar_kernels_disagree() -> None:
    x = np.array([1.0, 2.0], np.float32)
    case = Case([[x]], [[x]], ["y"], [], "ONNX Runtime", bits=[[x]])
    assert compare.row_of("cortex-m4", "scalar", case, [[x]]).agrees(1.0)
    other = compare.row_of("cortex-m4", "scalar", case, [[np.nextafter(x, np.float32(3))]])
    assert other.same_bits is False
    assert not other.agrees(1.0)


def test_a_model_too_large_for_a_core(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    need_engine("cortex-m4")
    packed = tmp_path / "large.fil"
    words = ["--pattern", "dense", "--batch", "1"]
    assert cli("convert", large_onnx(tmp_path / "large.onnx"), "-o", packed, *words).code == 0
    against = ("--against", tmp_path / "large.onnx", "--inputs", "1")
    done = cli("verify", packed, *against, "--on", "cortex-m4")
    assert done.code == 4
    assert done.err.splitlines()[0] == "error: the model does not fit cortex-m4"
    assert done.err.splitlines()[1].startswith("  RAM: ")


def test_json_and_one_isa_and_real_data(
    cli: Cli, onnx_file: Path, fil_file: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.npz"
    np.savez(
        data, x=np.random.default_rng(1).random((6, 3, 8, 8), dtype=np.float32), y=np.arange(6)
    )
    done = cli(
        "verify",
        fil_file,
        "--against",
        onnx_file,
        "--isa",
        "scalar",
        "--data",
        data,
        "--inputs",
        "5",
        "--json",
    )
    found = json.loads(done.out)
    assert done.code == 0
    assert found["inputs"] == 5
    assert [(row["target"], row["isa"], row["agrees"]) for row in found["rows"]] == [
        ("host", "scalar", True)
    ]


def test_disagreement(cli: Cli, fil_file: Path, tmp_path: Path) -> None:
    other = tiny_onnx(tmp_path / "other.onnx", seed=1)
    done = cli("verify", fil_file, "--against", other, "--isa", "scalar")
    assert done.code == 6
    assert 'disagrees at output "prob"' in done.out
    lines = done.err.splitlines()
    assert lines[0] == "error: converted model disagrees with the original"
    assert lines[1].startswith('  first at "stem')
    assert "made by the conversion" in lines[1]
    assert lines[2].startswith("  host scalar: difference ")
    assert lines[-1].startswith("  next: ")


def test_unknown_target_and_isa(cli: Cli, onnx_file: Path, fil_file: Path) -> None:
    done = cli("verify", fil_file, "--against", onnx_file, "--on", "host,vax")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: --on vax: unknown; known: host, arm64, armv7, riscv64, wasm, wasm-threads-node, "
        f"{', '.join(compare.CORES)}, all\n"
    )
    done = cli("verify", fil_file, "--against", onnx_file, "--isa", "mmx")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: --isa mmx: unknown; known: scalar, ")


def test_data_that_does_not_fit(cli: Cli, onnx_file: Path, fil_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x=np.zeros((6, 3, 9, 8), np.float32))
    done = cli("verify", fil_file, "--against", onnx_file, "--data", data)
    assert (done.code, done.out) == (2, "")
    assert done.err == ("error: no array in data.npz has rows that fit the input 1x3x8x8\n")


def test_against_something_else(cli: Cli, fil_file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"hello")
    done = cli("verify", fil_file, "--against", wrong)
    assert (done.code, done.out) == (7, "")
    assert done.err.startswith("error: ONNX Runtime cannot load wrong.onnx\n")


def test_missing_tools_skip_and_matter_only_if_named(
    cli: Cli, onnx_file: Path, fil_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filigree.packaging import emulate

    monkeypatch.setattr(emulate, "available", lambda target: "no emulator here")
    done = cli("verify", fil_file, "--against", onnx_file, "--on", "all")
    assert (done.code, done.err) == (0, "")
    assert "skipped: no emulator here" in done.out
    done = cli("verify", fil_file, "--against", onnx_file, "--on", "arm64")
    assert done.code == 5
    assert done.err == (
        "error: 1 comparison asked for could not run\n"
        "  arm64 neon: no emulator here\n"
        "  next: filigree doctor, or --on all for whatever can run here\n"
    )


@pytest.fixture
def half_file(cli: Cli, onnx_file: Path) -> Path:
    packed = onnx_file.with_name("half.fil")
    done = cli("convert", onnx_file, "-o", packed, "--dtype", "float16")
    assert done.code == 0, done.err
    return packed


def test_float16(cli: Cli, onnx_file: Path, half_file: Path) -> None:
    done = cli("verify", half_file, "--against", onnx_file)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    allowed = re.search(r"allowed ([\d.e-]+) of the output range$", lines[0])
    assert allowed is not None and 3e-4 < float(allowed[1]) < 0.02
    assert lines[1].split() == ["target", "isa", "difference", "arithmetic", "result"]
    rows = [line.split() for line in lines[2:-1]]
    assert [row[1] for row in rows] == isas()
    for row in rows:
        assert (
            row[4] == "agrees" and 1e-6 < float(row[2]) < float(allowed[1]) and float(row[3]) < 1e-6
        )
    assert lines[-1].startswith("arithmetic: against the packed model's own rounded weights")


def test_float16_against_another_model(cli: Cli, half_file: Path, tmp_path: Path) -> None:
    other = tiny_onnx(tmp_path / "other.onnx", seed=1)
    done = cli("verify", half_file, "--against", other, "--isa", "scalar")
    assert done.code == 6
    assert 'first at "stem' in done.err and "made by the conversion" in done.err
    assert "; arithmetic " in done.err


def test_a_wrong_kernel_shows_inside_the_tolerance_of_float16(
    cli: Cli, onnx_file: Path, half_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filigree.native.model import Model

    run = Model.run
    monkeypatch.setattr(Model, "run", lambda self, *x: run(self, *x) + np.float32(2e-4))
    done = cli("verify", half_file, "--against", onnx_file, "--isa", "scalar", "--tolerance", "0.1")
    assert done.code == 6
    assert "disagrees" in done.out
