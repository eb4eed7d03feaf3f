"""TFLite models on the command line: whatever an ONNX model is good for."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from filigree.converter import convert, packfile
from filigree.converter.sparsity import pattern
from tests.cli.conftest import Cli
from tests.converter.tflite.nets import CASES, Net, quantised
from tests.converter.tflite.test_operators import ranges_of
from tests.models import network, tflite
from tests.models.flat import Scales


@pytest.fixture
def tflite_file(onnx_file: Path) -> Path:
    """The tiny network as TFLite."""
    path = onnx_file.with_suffix(".tflite")
    tflite.write(network.read(onnx_file), path)
    return path


@pytest.fixture
def packed(cli: Cli, tflite_file: Path) -> Path:
    path = tflite_file.with_suffix(".tflite.fil")
    done = cli("convert", tflite_file, "-o", path)
    assert done.code == 0, done.err
    return path


def odd_file(path: Path) -> Path:
    """Operators that there is no way to run, twice one and once another."""
    net = Net("odd")
    x = net.conv(net.input(1, 4, 4, 2), 3, (4, 4))
    for side in (8, 16):
        x = net.op("RESIZE_BILINEAR", [x, net.ints([side, side])], (1, side, side, 3))
    y = net.op("CUMSUM", [x, net.ints(1)], (1, 16, 16, 3))
    net.file.outputs = [net.op("RELU", [y], (1, 16, 16, 3))]
    path.write_bytes(net.file.finish())
    return path


def test_inspect(cli: Cli, tflite_file: Path) -> None:
    done = cli("inspect", tflite_file)
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    size = tflite_file.stat().st_size
    assert " ".join(lines[0]) == f"tiny.tflite: TFLite, shown in ONNX's operators, {size:,} bytes"
    assert ["input", "x", "1x8x8x3", "float"] in lines
    assert ["Conv", "2", "supported"] in lines
    assert json.loads(cli("inspect", tflite_file, "--json").out)["kind"] == "tflite"
    assert "free" in cli("inspect", tflite_file, "--axes").out


def test_a_file_is_known_by_its_content(cli: Cli, tflite_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "model.onnx"
    other.write_bytes(tflite_file.read_bytes())
    assert "TFLite" in cli("inspect", other).out
    wrong = tmp_path / "wrong.tflite"
    wrong.write_bytes(b"\x08\x07" * 100)
    done = cli("convert", wrong, "-o", tmp_path / "wrong.fil")
    assert (done.code, done.out) == (7, "")
    assert "wrong.tflite is not a TFLite model, or a damaged one" in done.err


def test_the_same_as_the_onnx_twin(fil_file: Path, packed: Path) -> None:
    from filigree.native.model import load

    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    want, got = load(fil_file).run(x), load(packed).run(x.transpose(0, 2, 3, 1).copy())
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_what_cannot_be_run_is_listed_at_once(cli: Cli, tmp_path: Path) -> None:
    source = odd_file(tmp_path / "odd.tflite")
    done = cli("convert", source, "-o", tmp_path / "odd.fil")
    assert (done.code, done.out) == (3, "")
    assert done.err.splitlines() == [
        "error: 2 operators in odd.tflite are not supported (nothing was written)",
        '  tflite.RESIZE_BILINEAR  2 uses, first at node "t5 (operator 1)": no such operator here',
        '  tflite.CUMSUM           1 use at node "t9 (operator 3)": no such operator here',
        "  next: filigree inspect odd.tflite --ops   or cut before: --output t3",
    ]
    done = cli("convert", source, "-o", tmp_path / "cut.fil", "--output", "t3")
    assert done.code == 0, done.err
    rows = cli("inspect", source, "--ops").out.splitlines()
    assert any(row.startswith("tflite.CUMSUM") and "not supported" in row for row in rows)


def test_verify(cli: Cli, tflite_file: Path, packed: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    done = cli("verify", packed, "--against", tflite_file)
    assert done.code == 0
    first, _, *rows = done.out.splitlines()
    assert first.startswith("tiny.tflite.fil against tiny.tflite in LiteRT: 4 inputs, allowed ")
    assert rows and all("agrees" in row for row in rows)


def test_verify_of_images_in_the_other_layout(cli: Cli, tflite_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    packed = tmp_path / "nchw.fil"
    assert cli("convert", tflite_file, "-o", packed, "--input-layout", "NCHW").code == 0
    assert ["input", "x", "1x3x8x8"] in [
        line.split() for line in cli("inspect", packed).out.splitlines()
    ]
    assert cli("verify", packed, "--against", tflite_file, "--isa", "scalar").code == 0


def test_verify_says_what_to_install(
    cli: Cli, tflite_file: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    done = cli("verify", packed, "--against", tflite_file)
    assert (done.code, done.out) == (5, "")
    assert done.err.splitlines() == [
        "error: ai-edge-litert is not installed",
        "  next: pip install ai-edge-litert",
    ]


def test_without_the_reader(
    cli: Cli, tflite_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("file", "flat_check", "sparse", "graph", "operators", "write"):
        monkeypatch.delitem(
            sys.modules, f"filigree.converter.frontends.tflite.{name}", raising=False
        )
    monkeypatch.setitem(sys.modules, "tflite", None)
    done = cli("convert", tflite_file, "-o", tmp_path / "new.fil")
    assert (done.code, done.out) == (5, "")
    assert done.err.splitlines() == [
        "error: tflite is not installed, which reads tiny.tflite (nothing was written)",
        "  next: pip install filigree[convert]",
    ]


def test_the_first_wrong_layer_is_named(cli: Cli, tflite_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    program = convert(tflite_file).program
    key, weights = next((k, w) for k, w in program.weights.items() if w.matrix.shape == (64, 32))
    assert weights.packing is not None
    matrix = weights.matrix * np.float32(1.5)
    packing = pattern.encode(matrix, weights.bias, block_rows=weights.packing.block_rows)
    broken = dataclasses.replace(weights, matrix=matrix, packing=packing)
    changed = dataclasses.replace(program, weights={**program.weights, key: broken})
    packed = tmp_path / "broken.fil"
    packed.write_bytes(packfile.encode(changed))
    done = cli("verify", packed, "--against", tflite_file, "--isa", "scalar")
    assert done.code == 6
    assert f'first at "{weights.layer}"' in done.err and "made by the conversion" in done.err


def test_eight_bit_weights_of_float32_layers_agree(cli: Cli, tmp_path: Path) -> None:
    """LiteRT would round the activations; what is verified is the model with its weights."""
    pytest.importorskip("ai_edge_litert")
    net = Net("hybrid")
    x = net.input(1, 6, 6, 4)
    made = net.conv(x, 40, (6, 6))
    draw = np.random.default_rng(0)
    weights = net.file.tensors[net.file.operators[0].inputs[1]]
    weights.kind, weights.scales = 9, Scales(draw.uniform(0.001, 0.01, 40), [0] * 40)
    q = draw.integers(-127, 128, weights.shape).astype(np.int8)
    net.file.buffers[weights.buffer] = q.tobytes()
    net.file.outputs = [made]
    source, packed = tmp_path / "hybrid.tflite", tmp_path / "hybrid.fil"
    source.write_bytes(net.file.finish())
    assert cli("convert", source, "-o", packed).code == 0
    done = cli("verify", packed, "--against", source, "--isa", "scalar")
    assert done.code == 0, done.err


@pytest.fixture(params=["int8", "uint8"])
def eight_bits(request: pytest.FixtureRequest, cli: Cli, tmp_path: Path) -> tuple[Path, Path]:
    """A quantised .tflite file, integers in and out, and its packed model."""
    case = next(case for case in CASES if case.name == "residual")
    data = quantised(case.net(), ranges_of(case, tmp_path), request.param).finish()
    source = tmp_path / "eight.tflite"
    source.write_bytes(data)
    done = cli("convert", source, "-o", tmp_path / "eight.fil")
    assert done.code == 0, done.err
    return source, tmp_path / "eight.fil"


def test_eight_bits_agree(cli: Cli, eight_bits: tuple[Path, Path]) -> None:
    pytest.importorskip("ai_edge_litert")
    source, made = eight_bits
    done = cli("verify", made, "--against", source, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["unit"] == "steps"
    assert all(row["agrees"] and row["close"] >= 0.99 for row in found["rows"])
    words = ["--vs", f"litert={source}", "--seconds", "0.01", "--json"]
    done = cli("bench", made, *words)
    assert done.code == 0, done.err
    assert json.loads(done.out)["results"][1]["difference"] < 0.05


def test_the_first_wrong_layer_of_eight_bits_is_named(
    cli: Cli, eight_bits: tuple[Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    source, made = eight_bits
    program = packfile.decode(made.read_bytes())
    name, weights = next((n, w) for n, w in program.weights.items() if w.multipliers is not None)
    layer = next(op.node for op in program.ops if op.weights == name)
    assert weights.packing is not None
    wrong = dataclasses.replace(weights.packing, values=-np.maximum(weights.packing.values, -127))
    weights = dataclasses.replace(weights, packing=wrong)
    program = dataclasses.replace(program, weights={**program.weights, name: weights})
    (tmp_path / "bad.fil").write_bytes(packfile.encode(program))
    done = cli("verify", tmp_path / "bad.fil", "--against", source, "--tolerance", "1.5", "--json")
    assert done.code == 6
    found = json.loads(done.out)["first_wrong"]
    assert (found["node"], found["side"]) == (layer, "conversion")


def test_prune(cli: Cli, tflite_file: Path, tmp_path: Path) -> None:
    """The result is ONNX, with the caller's layout."""
    data = tmp_path / "calib.npz"
    draw = np.random.default_rng(0)
    np.savez(data, x=draw.random((8, 8, 8, 3), dtype=np.float32), y=np.arange(8))
    pruned = tmp_path / "pruned.onnx"
    layer = f"{network.read(tflite_file.with_suffix('.onnx')).layers[1].output}=0.9"
    words = ["--sparsity", "0.5", "--method", "wanda", "--calib", data, "--layer", layer]
    done = cli("prune", tflite_file, "-o", pruned, *words)
    assert done.code == 0, done.err
    packed = tmp_path / "pruned.fil"
    assert cli("convert", pruned, "-o", packed).code == 0
    assert ["input", "x", "1x8x8x3"] in [
        line.split() for line in cli("inspect", packed).out.splitlines()
    ]


def test_prune_on_a_folder_of_images(cli: Cli, tflite_file: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "one.png")
    words = ["--calib", folder, "--mean", "1,2,3", "--scale", "127.5", "--json"]
    done = cli("prune", tflite_file, "-o", tmp_path / "p.onnx", *words)
    assert done.code == 0, done.err
    assert json.loads(done.out)["before"]["samples"] == 1


def test_quantize(cli: Cli, tflite_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "calib.npz"
    np.savez(data, x=np.random.default_rng(0).random((8, 8, 8, 3), dtype=np.float32))
    done = cli("quantize", tflite_file, "-o", tmp_path / "q.onnx", "--calib", data)
    assert done.code == 0, done.err
    assert "QuantizeLinear" in cli("inspect", tmp_path / "q.onnx", "--ops").out


def test_average(cli: Cli, tflite_file: Path, tmp_path: Path) -> None:
    made = tmp_path / "mean.onnx"
    done = cli("prune", tflite_file, "--average", tflite_file, "-o", made)
    assert done.code == 0, done.err
    assert cli("convert", made, "-o", tmp_path / "mean.fil").code == 0


def test_bench(cli: Cli, tflite_file: Path, packed: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    words = ["--dense", "--vs", "litert", "--seconds", "0.01", "--json"]
    done = cli("bench", packed, "--against", tflite_file, *words)
    assert done.code == 0, done.err
    names = [row["name"] for row in json.loads(done.out)["results"]]
    assert names == ["filigree", "filigree dense", "litert"]
    done = cli("bench", packed, "--against", tflite_file, "--vs", "onnxruntime")
    assert done.code == 2 and "--vs onnxruntime=model.onnx" in done.err
