"""The writers of peers' formats: what is written computes what the ONNX file does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from filigree.cli.tasks.packed import OnnxModel
from filigree.converter import convert, reference
from tests.models import network, tfjs, tflite

pytest.importorskip("onnxruntime")


@pytest.fixture
def image(digits: Path) -> np.ndarray:
    with np.load(digits / "digits_test.npz") as archive:
        return archive["x"][:1].astype(np.float32)


def wanted(source: Path, image: np.ndarray) -> np.ndarray:
    return OnnxModel(source).run([image])[0]


@pytest.mark.parametrize("sparse", [False, True])
def test_tflite(digits: Path, image: np.ndarray, tmp_path: Path, sparse: bool) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    source, target = digits / "digits_sparse80.onnx", tmp_path / "model.tflite"
    tflite.write(network.read(source), target, sparse=sparse)
    loaded = interpreter.Interpreter(model_path=str(target), num_threads=1)
    loaded.allocate_tensors()
    loaded.set_tensor(loaded.get_input_details()[0]["index"], image.transpose(0, 2, 3, 1))
    loaded.invoke()
    got = loaded.get_tensor(loaded.get_output_details()[0]["index"])
    np.testing.assert_allclose(got, wanted(source, image), atol=1e-5)


def test_tflite_int8(digits: Path, image: np.ndarray, tmp_path: Path) -> None:
    source, target = digits / "digits_sparse80.onnx", tmp_path / "model.tflite"
    with np.load(digits / "digits_test.npz") as archive:
        samples = archive["x"][:16].astype(np.float32)
    tflite.write_int8(network.read(source), network.ranges(source, samples), target)
    packed = convert(target)
    assert {layer.dtype for layer in packed.report.layers} == {"int8"}
    (got,) = reference.run(packed.program, image.transpose(0, 2, 3, 1))
    want = wanted(source, image)
    assert np.abs(got - want).max() < 0.05 * np.ptp(want)


def test_sparse_tensors_are_smaller(digits: Path, tmp_path: Path) -> None:
    layers = network.read(digits / "digits_sparse80.onnx")
    tflite.write(layers, tmp_path / "dense.tflite")
    tflite.write(layers, tmp_path / "sparse.tflite", sparse=True)
    dense, sparse = ((tmp_path / f"{n}.tflite").stat().st_size for n in ("dense", "sparse"))
    assert sparse < 0.7 * dense


def test_tfjs_names_every_weight_once(digits: Path, tmp_path: Path) -> None:
    layers = network.read(digits / "digits_sparse80.onnx")
    tfjs.write(layers, tmp_path / "model.json")
    model = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    weights = model["weightsManifest"][0]["weights"]
    names = [node["name"] for node in model["modelTopology"]["node"]]
    assert len(set(names)) == len(names)
    assert {weight["name"] for weight in weights} <= set(names)
    count = sum(int(np.prod(weight["shape"])) for weight in weights)
    assert (tmp_path / tfjs.WEIGHTS).stat().st_size == 4 * count
    assert layers.layers[-1].output in names


def test_shuffled_channels_compute_the_same(
    digits: Path, image: np.ndarray, tmp_path: Path
) -> None:
    source, target = digits / "digits_sparse80.onnx", tmp_path / "shuffled.onnx"
    network.shuffle(source, target)
    np.testing.assert_allclose(wanted(target, image), wanted(source, image), atol=1e-5)
    before, after = network.read(source), network.read(target)
    moved = 0
    for a, b in zip(before.layers, after.layers, strict=True):
        assert np.count_nonzero(a.weights) == np.count_nonzero(b.weights)
        moved += not np.array_equal(a.weights, b.weights)
    assert moved


def test_symmetric_padding_keeps_shapes(data: Path, tmp_path: Path) -> None:
    source, target = data / "models" / "vww" / "mlperf_vww_96.onnx", tmp_path / "padded.onnx"
    network.symmetric(source, target)
    before, after = network.read(source), network.read(target)
    assert [a.shape for a in before.layers] == [b.shape for b in after.layers]
    strided = [layer for layer in after.layers if layer.stride == 2]
    assert strided and all(layer.pads == (1, 1, 1, 1) for layer in strided)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        (224, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (8, 3, 1, (1, 1)),
        (8, 1, 1, (0, 0)),
        (5, 5, 2, (2, 2)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert network.same(size, kernel, stride) == pads


def test_what_is_no_mobilenet_is_refused(tmp_path: Path) -> None:
    from tests.cli.conftest import tiny_onnx

    source = tiny_onnx(tmp_path / "tiny.onnx", extra="Sigmoid")
    with pytest.raises(ValueError, match="Sigmoid is not an operator of a MobileNet"):
        network.read(source)
