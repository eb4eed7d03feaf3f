"""``filigree inspect``: models and packed models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx

from tests.cli.conftest import Cli, tiny_onnx
from tests.converter.small import model


def test_onnx_in_short(cli: Cli, onnx_file: Path) -> None:
    done = cli("inspect", onnx_file)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    size = onnx_file.stat().st_size
    assert lines[0] == f"tiny.onnx: ONNX, opset ai.onnx 17, {size:,} bytes"
    assert lines[1] == "8 nodes, 6 weights"
    assert ["input", "x", "1x3x8x8", "float"] in [line.split() for line in lines]
    assert ["Conv", "2", "supported"] in [line.split() for line in lines]
    assert any(line.startswith("w1 ") and "64x32x1x1" in line for line in lines)
    assert "arena" in done.out


def test_unsupported_operators_are_marked_and_exit_is_ok(cli: Cli, tmp_path: Path) -> None:
    source = tiny_onnx(tmp_path / "odd.onnx", extra="Sin")
    done = cli("inspect", source, "--ops", "--json")
    assert (done.code, done.err) == (0, "")
    ops = {entry["op"]: entry for entry in json.loads(done.out)["ops"]}
    assert ops["Conv"]["supported"] is True
    assert ops["Sin"]["supported"] is False
    assert ops["Sin"]["problems"][0]["node"] == "strange/Sin"
    assert "not supported: " in cli("inspect", source, "--ops").out


def test_packed_in_short(cli: Cli, fil_file: Path) -> None:
    done = cli("inspect", fil_file)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    size = fil_file.stat().st_size
    assert lines[0] == f"tiny.fil: packed model, format version 1, {size:,} bytes"
    names = [line.split()[0] for line in lines if line]
    for name in ("tensors", "weights", "program", "io", "const", "meta"):
        assert name in names
    assert ["input", "x", "1x3x8x8"] in [line.split() for line in lines]
    assert ["output", "prob", "1x10"] in [line.split() for line in lines]


def test_packed_as_json(cli: Cli, fil_file: Path) -> None:
    done = cli("inspect", fil_file, "--ops", "--memory", "--layers", "--meta", "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["kind"] == "packed model"
    assert {"ops", "memory", "timeline", "layers", "meta"} <= found.keys()
    assert len(found["ops"]) == len(found["timeline"])
    peak = found["memory"]["peak"]
    most = max(step["live_bytes"] for step in found["timeline"])
    assert sum(item["bytes"] for item in peak["live"]) == most
    assert found["memory"]["arena_bytes"] >= most


def test_wrong_files(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", tmp_path)
    assert done.code == 2
    assert done.err == f"error: {tmp_path} is a folder, not a file\n"
    wrong = tmp_path / "wrong.fil"
    wrong.write_bytes(b"hello")
    done = cli("inspect", wrong)
    assert (done.code, done.out) == (7, "")
    assert done.err.startswith("error: wrong.fil is not a packed model that can be used\n")


def test_axes(cli: Cli, onnx_file: Path) -> None:
    done = cli("inspect", onnx_file, "--axes")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "2 variables whose channels may be reordered\n"
        "variable  channels  made by   read by   state\n"
        "v6        32        stem      point     free\n"
        "v9        64        point     classify  free\n"
        "v3        10        classify            pinned: an output of the model\n"
        "v0        3                   stem      pinned: an input of the model\n"
    )


def test_axes_as_json(cli: Cli, onnx_file: Path) -> None:
    done = cli("inspect", onnx_file, "--axes", "--json")
    found = json.loads(done.out)
    assert (done.code, found.keys()) == (0, {"file", "kind", "axes"})
    first = found["axes"][0]
    assert first["channels"] == 32 and first["pinned"] is None
    assert (first["producers"], first["consumers"]) == (["stem"], ["point"])
    assert {"c0", "r0", "w0", "w1"} <= set(first["values"])


def test_axes_of_one_layer(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    draw = np.random.default_rng(0)
    proto = model(
        "[a] u = Conv(x, wa)",
        "[b] y = Conv(u, wb)",
        inputs={"x": (1, 1, 2, 2)},
        wa=draw.standard_normal((4, 1, 1, 1)).astype(np.float32),
        wb=draw.standard_normal((1, 4, 1, 1)).astype(np.float32),
    )
    onnx.save(proto, path)
    done = cli("inspect", path, "--axes")
    assert done.out.splitlines()[0] == "1 variable whose channels may be reordered"


def test_axes_of_a_packed_model(cli: Cli, fil_file: Path) -> None:
    done = cli("inspect", fil_file, "--axes")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: tiny.fil is a packed model; channel axes are those of the model it was made from\n"
        "  next: filigree inspect MODEL.onnx --axes\n"
    )


def test_axes_of_open_shapes(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    onnx.save(model("y = Relu(x)", inputs={"x": (1, "C", 2)}), path)
    done = cli("inspect", path, "--axes")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: the input shapes of open.onnx are not settled\n")
