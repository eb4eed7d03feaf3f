"""A tiny network to convert, and a way to run one command line in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from filigree.cli.console import console
from filigree.cli.main import run


@dataclass(frozen=True)
class Done:
    """What a command line did."""

    code: int
    out: str
    err: str


class Cli:
    """``cli("convert", path, "-o", out)``: runs it and returns exit code and both streams."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *args: object) -> Done:
        self._capture.readouterr()
        console.debug = False
        code = run([str(arg) for arg in args])
        captured = self._capture.readouterr()
        return Done(code, captured.out, captured.err)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def large_onnx(path: Path) -> Path:
    """1x3x256x256 through ReLU: more than a microcontroller's RAM."""
    import onnx
    from onnx import TensorProto, helper

    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 256, 256]) for name in "xy"
    ]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [ports[0]], [ports[1]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def tiny_onnx(path: Path, *, extra: str | None = None, seed: int = 0) -> Path:
    """1x3x8x8 -> 3x3 convolution -> sparse 1x1 convolution in 4x1 blocks -> mean -> 10 classes.

    ``extra`` names an operator, with attributes none, put before the classifier.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(seed)
    mask = np.repeat(draw.random((16, 32)) > 0.8, 4, axis=0)
    weights = {
        "w0": draw.standard_normal((32, 3, 3, 3)) * 0.3,
        "b0": draw.standard_normal(32) * 0.1,
        "w1": (draw.standard_normal((64, 32)) * mask)[:, :, None, None],
        "b1": draw.standard_normal(64) * 0.1,
        "w2": draw.standard_normal((64, 10)) * 0.3,
        "b2": draw.standard_normal(10) * 0.1,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], "stem_relu"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], "point"),
        helper.make_node("Relu", ["c1"], ["r1"], "point_relu"),
        helper.make_node("GlobalAveragePool", ["r1"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flat"),
    ]
    last = "f"
    if extra:
        nodes.append(helper.make_node(extra, ["f"], ["e"], f"strange/{extra}"))
        last = "e"
    nodes.append(helper.make_node("Gemm", [last, "w2", "b2"], ["logits"], "classify"))
    nodes.append(helper.make_node("Softmax", ["logits"], ["prob"], "softmax", axis=1))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def camera_onnx(path: Path) -> Path:
    """The same for images as they are: bytes 1x8x8x3, normalised inside."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(tiny_onnx(path))
    graph = model.graph
    nodes = [
        helper.make_node("Cast", ["photo"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["raw", "k"], ["norm"]),
        helper.make_node("Transpose", ["norm"], ["x"], perm=[0, 3, 1, 2]),
        *graph.node,
    ]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("photo", TensorProto.UINT8, [1, 8, 8, 3]))
    graph.initializer.append(numpy_helper.from_array(np.float32([0.02]), "k"))
    onnx.save(model, path)
    return path


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    return tiny_onnx(tmp_path / "tiny.onnx")


@pytest.fixture
def fil_file(cli: Cli, onnx_file: Path) -> Path:
    """The tiny network, converted."""
    packed = onnx_file.with_suffix(".fil")
    done = cli("convert", onnx_file, "-o", packed)
    assert done.code == 0, done.err
    return packed
