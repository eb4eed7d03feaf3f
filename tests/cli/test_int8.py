"""A quantised model on the command line: convert, inspect, verify, bench."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from filigree.cli.tasks.packed import as_floats, as_integers
from filigree.native.model import isas, load
from filigree.packaging import npm
from tests.cli.conftest import Cli, tiny_onnx
from tests.packaging.conftest import need_engine

pytest.importorskip("onnxruntime")
SHAPE = (1, 3, 8, 8)


def integer_ports(path: Path, kind: str) -> Path:
    """The quantised model between ports of ``kind``: less the QuantizeLinear in front and the
    DequantizeLinear at the end."""
    import onnx
    from onnx import TensorProto, helper

    graph = (proto := onnx.load(path)).graph
    element = TensorProto.INT8 if kind == "int8" else TensorProto.UINT8
    first = next(n for n in graph.node if n.input[0] == graph.input[0].name)
    last = next(n for n in graph.node if n.output[0] == graph.output[0].name)
    assert (first.op_type, last.op_type) == ("QuantizeLinear", "DequantizeLinear")
    for port, node, name in (
        (graph.input[0], first, first.output[0]),
        (graph.output[0], last, last.input[0]),
    ):
        dims = [d.dim_value for d in port.type.tensor_type.shape.dim]
        port.CopyFrom(helper.make_tensor_value_info(name, element, dims))
        graph.node.remove(node)
    made = path.with_name(f"ports_{kind}.onnx")
    onnx.save(proto, made)
    return made


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


@pytest.fixture(params=["int8", "uint8"])
def ports(request: pytest.FixtureRequest, cli: Cli, tmp_path: Path) -> tuple[str, Path, Path]:
    """The element type, an ONNX model with such inputs and outputs, and its packed model."""
    from tests.models.quantize import quantize

    samples = np.random.default_rng(1).standard_normal((16, *SHAPE[1:])).astype(np.float32)
    whole, made = tmp_path / "whole.onnx", tmp_path / "ports.fil"
    quantize(tiny_onnx(tmp_path / "tiny.onnx"), whole, samples, activations=request.param)
    source = integer_ports(whole, request.param)
    done = cli("convert", source, "-o", made)
    assert done.code == 0, done.err
    return request.param, source, made


def test_verify_of_integer_ports(cli: Cli, ports: tuple[str, Path, Path]) -> None:
    """Integers go in; differences are in steps."""
    _, source, made = ports
    done = cli("verify", made, "--against", source, "--on", "all", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["unit"] == "steps"
    rows = [row for row in found["rows"] if not row["skipped"]]
    assert all(row["agrees"] and row["difference"] <= 1 and row["close"] == 1 for row in rows)
    assert "steps of the output's scale" in cli("verify", made, "--against", source).out


def test_verify_on_given_numbers(cli: Cli, ports: tuple[str, Path, Path], tmp_path: Path) -> None:
    """Floats are rounded to the port's integers, integers of its range are taken as they are."""
    kind, source, made = ports
    info, draw = np.iinfo(kind), np.random.default_rng(3)
    fitting = draw.integers(info.min, info.max, (3, *SHAPE[1:]), endpoint=True)
    for name, x in {
        "floats": draw.standard_normal((3, *SHAPE[1:])).astype(np.float32),
        "integers": fitting.astype(kind),
    }.items():
        np.savez(tmp_path / f"{name}.npz", x=x)
        done = cli("verify", made, "--against", source, "--data", tmp_path / f"{name}.npz")
        assert done.code == 0, done.err
    np.savez(tmp_path / "far.npz", x=fitting + 400)
    assert cli("verify", made, "--against", source, "--data", tmp_path / "far.npz").code == 2


def test_blame_of_integer_ports(cli: Cli, ports: tuple[str, Path, Path], tmp_path: Path) -> None:
    """A wrong weight of the second layer is found, by the original's values."""
    import onnx
    from onnx import numpy_helper

    _, source, made = ports
    proto = onnx.load(source)
    name = next(n.input[0] for n in proto.graph.node if n.output[0].startswith("w1_Deq"))
    stored = next(t for t in proto.graph.initializer if t.name == name)
    stored.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(stored), name))
    other = tmp_path / "other.onnx"
    onnx.save(proto, other)
    done = cli("verify", made, "--against", other, "--json")
    assert done.code == 6
    second = [n.name for n in proto.graph.node if n.op_type == "Conv"][1]
    found = json.loads(done.out)["first_wrong"]
    assert (found["node"], found["side"]) == (second, "conversion")


def test_run_of_integer_ports(cli: Cli, ports: tuple[str, Path, Path], tmp_path: Path) -> None:
    """Scores are printed as what integers stand for, and saved as they are."""
    from PIL import Image

    kind, _, made = ports
    model = load(made)
    (given,), (port,) = model.inputs, model.outputs
    pixels = np.random.default_rng(5).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    floats = ((pixels.astype(np.float32) - 100) / 60).transpose(2, 0, 1)[None]
    integers = as_integers(floats, given)
    np.save(tmp_path / "floats.npy", floats)
    np.save(tmp_path / "integers.npy", integers)
    want = model.run(integers)
    assert want.dtype == kind
    for name, flags in {
        "floats.npy": (),
        "integers.npy": (),
        "x.png": ("--mean", "100", "--scale", "60"),
    }.items():
        saved = tmp_path / "y.npy"
        done = cli("run", made, tmp_path / name, *flags, "--save", saved, "--force", "--json")
        assert done.code == 0, done.err
        assert np.array_equal(np.load(saved), want)
        (shown,) = json.loads(done.out)["runs"][0]["outputs"]
        assert shown["max"] == pytest.approx(float(as_floats(want, port).max()))
    done = cli("run", made, tmp_path / "x.png", "--json")
    assert done.code == (0 if kind == "uint8" else 2)  # pixels as they are


def test_bench_of_integer_ports(cli: Cli, ports: tuple[str, Path, Path]) -> None:
    _, source, made = ports
    done = cli("bench", made, "--vs", f"onnxruntime={source}", "--seconds", "0.01", "--json")
    assert done.code == 0, done.err
    found = {row["name"]: row for row in json.loads(done.out)["results"]}
    assert found["onnxruntime"]["difference"] < 0.05


def test_bench_of_integer_ports_in_node(cli: Cli, ports: tuple[str, Path, Path]) -> None:
    need_engine("wasm-node")
    _, source, made = ports
    peers: list[object] = []
    if not npm.absent("onnxruntime-web"):
        peers = ["--vs", f"onnxruntime-web={source}"]
    done = cli("bench", made, "--on", "node", *peers, "--seconds", "0.01", "--json")
    assert done.code == 0, done.err
    found = {row["name"]: row["difference"] for row in json.loads(done.out)["results"]}
    assert found["filigree"] == found["filigree wasm"] == 0
    assert found.get("onnxruntime-web", 0) < 0.05
