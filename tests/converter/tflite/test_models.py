"""The real .tflite files of FILIGREE_DATA on real inputs: those in float32 converted and run, those
in eight bits as the front end writes them, and as int8 programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from filigree.cli.tasks.packed import step_of
from filigree.converter import Converted, ConvertOptions, convert
from filigree.converter.frontends import tflite
from filigree.converter.frontends.tflite.file import read
from filigree.converter.frontends.tflite.graph import held
from filigree.native.model import Model, Port
from tests.converter.tflite.test_operators import FEW, in_litert, in_onnx_runtime
from tests.models.int8_tflite import NETWORKS, close, outputs, samples
from tests.models.int8_tflite import in_litert as litert
from tests.models.zoo import ZOO, Entry, dataset, sample_inputs

Array = NDArray[Any]
TOLERANCE = 1e-4  # of the output range
COUNT = 6
MORE = 40
ENTRIES = {entry.name: entry for entry in ZOO}
FLOAT = {
    "vww": "vww/mlperf_vww_96_float.tflite",
    "kws": "kws/mlperf_kws_dscnn_float.tflite",
    "resnet8": "cifar/mlperf_resnet8_float.tflite",
    "ad": "ad/mlperf_ad01_float.tflite",
    "mobilenet-v1-0.25": "imagenet/mobilenet_v1_0.25_224_float.tflite",
}
EIGHT_BITS = {network.file: network for network in NETWORKS}


def real_inputs(entry: Entry, data: Path) -> Array:
    """[COUNT, ...] in TFLite's order."""
    x = sample_inputs(entry, data, COUNT)
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def relative(got: Array, want: Array) -> float:
    return float(np.abs(got - want).max() / np.ptp(want))


@pytest.fixture(scope="module")
def packed(data: Path) -> dict[str, Model]:
    """Each network converted once."""
    return {
        name: Model.from_bytes(convert(data / "models" / file, options=ConvertOptions()).data)
        for name, file in FLOAT.items()
    }


@pytest.mark.parametrize("name", FLOAT)
def test_twin(name: str, data: Path, packed: dict[str, Model]) -> None:
    """The same network as an ONNX file in ONNX Runtime."""
    entry = ENTRIES[name]
    session = ort.InferenceSession(data / "models" / entry.file)
    port = session.get_inputs()[0]
    for x in real_inputs(entry, data):
        given = x.transpose(2, 0, 1) if x.ndim == 3 else x
        (want,) = session.run(None, {port.name: given[None]})
        assert relative(packed[name].run(x[None]), want) <= TOLERANCE


@pytest.mark.parametrize("name", FLOAT)
def test_litert(name: str, data: Path, packed: dict[str, Model]) -> None:
    pytest.importorskip("ai_edge_litert")
    from filigree.cli.tasks.litert import TfliteModel

    original = TfliteModel(data / "models" / FLOAT[name])
    for x in real_inputs(ENTRIES[name], data):
        (want,) = original.run([x[None]])
        assert relative(packed[name].run(x[None]), want) <= TOLERANCE


@pytest.mark.parametrize("file", EIGHT_BITS)
def test_eight_bits(file: str, data: Path) -> None:
    """Within one step of LiteRT nearly everywhere, or as often as its own two sets of kernels are
    (they round differently, and a softmax makes much of a step)."""
    path = data / "models" / file
    model = tflite.load(path)
    close, own = [], []
    for x in _eight_bit_inputs(file, model.graph.inputs[0]):
        (want,) = in_litert(path.read_bytes(), [x], xnnpack=True)
        (plain,) = in_litert(path.read_bytes(), [x])
        (got,) = in_onnx_runtime(model, [x]).values()
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        step = 1 if want.dtype != np.float32 else np.ptp(want) / 255
        close.append(np.abs(got.astype(float) - want.astype(float)) <= step)
        own.append(np.abs(plain.astype(float) - want.astype(float)) <= step)
    assert np.mean(close) >= min(FEW, float(np.mean(own)))


@pytest.fixture(scope="module")
def eight_bits(data: Path) -> dict[str, Converted]:
    return {file: convert(data / "models" / file) for file in EIGHT_BITS}


@pytest.mark.parametrize("file", EIGHT_BITS)
def test_every_layer_is_int8(file: str, eight_bits: dict[str, Converted]) -> None:
    assert {layer.dtype for layer in eight_bits[file].report.layers} == {"int8"}


@pytest.mark.parametrize("file", EIGHT_BITS)
def test_program_of_eight_bits(file: str, data: Path, eight_bits: dict[str, Converted]) -> None:
    """The same of the int8 program; integers go in and come out as TFLite has them."""
    pytest.importorskip("ai_edge_litert")
    path, made = data / "models" / file, eight_bits[file]
    model, step = Model.from_bytes(made.data), step_of(made.program, made.program.outputs[0])
    _, x, _ = next(samples(EIGHT_BITS[file], model.inputs[0]))
    found = [outputs(run, x[:MORE]) for run in (model.run, litert(path), litert(path, plain=True))]
    ours, theirs, plain = found
    assert model.run(x[:1]).dtype == litert(path)(x[:1]).dtype
    assert close(ours, theirs, step) >= min(FEW, close(plain, theirs, step))


@pytest.mark.parametrize(
    ("file", "name", "figure"),
    [(n.file, name, figure) for n in NETWORKS for name, figure in n.figures],
)
def test_accuracy_of_eight_bits(
    file: str, name: str, figure: float, data: Path, eight_bits: dict[str, Converted]
) -> None:
    """What the data folder's own figures say."""
    if dataset(data, name) is None:
        pytest.skip(f"no {name}")
    model = Model.from_bytes(eight_bits[file].data)
    sets = samples(EIGHT_BITS[file], model.inputs[0])
    x, labels = next((x, labels) for found, x, labels in sets if found == name)
    hits = outputs(model.run, x).argmax(1) == labels
    assert 100 * float(hits.mean()) == pytest.approx(figure, abs=0.5)


@pytest.mark.parametrize("file", EIGHT_BITS)
def test_every_layer_of_eight_bits(file: str, data: Path) -> None:
    """Each operator alone, on what LiteRT's plain kernels give it."""
    runtime = pytest.importorskip("ai_edge_litert.interpreter")
    path = data / "models" / file
    model = tflite.load(path)
    graph, seen = read(path.read_bytes()), {}
    loaded = runtime.Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    loaded.allocate_tensors()
    x = _eight_bit_inputs(file, model.graph.inputs[0])[0]
    loaded.set_tensor(loaded.get_input_details()[0]["index"], x)
    loaded.invoke()
    for i, tensor in enumerate(graph.tensors):
        if tensor.data is None:
            seen[_held_name(model, tensor.name)] = held(loaded.get_tensor(i))
    for name, got in _layers(model, seen):
        want = seen[name]
        step = 1 if want.dtype != np.float32 else np.ptp(want) / 255
        close = np.abs(got.astype(float) - want.astype(float)) <= step
        assert np.mean(close) >= FEW, name


def _held_name(model: ir.Model, name: str) -> str:
    """Of a value whose own name is that of an input or output of the graph."""
    made = {value.name for node in model.graph for value in node.outputs}
    return f"{name}.nchw" if f"{name}.nchw" in made else name


def _layers(model: ir.Model, seen: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """What ONNX Runtime makes of every value in ``seen`` from those before it."""
    extractor = onnx.utils.Extractor(ir.serde.serialize_model(model))
    given = {value.name or "" for value in model.graph.inputs}
    for node in model.graph:
        for value in node.outputs:
            if value.name in seen and value.name not in given:
                needed = _needed(value, seen)
                if needed:
                    part = extractor.extract_model(sorted(needed), [value.name])
                    session = ort.InferenceSession(part.SerializeToString())
                    yield value.name, session.run(None, {n: seen[n] for n in needed})[0]


def _needed(value: ir.Value, seen: dict[str, Array]) -> set[str]:
    """The nearest values in ``seen`` that it is made from."""
    found: set[str] = set()
    node = value.producer()
    for before in node.inputs if node is not None else ():
        if before is None or before.const_value is not None:
            continue
        found |= {before.name or ""} if before.name in seen else _needed(before, seen)
    return found


def _eight_bit_inputs(file: str, port: Any) -> list[Array]:
    """COUNT inputs in TFLite's order, of the model's input or output type."""
    readers = [use.node for use in port.uses()]
    if readers[0].op_type == "Transpose":
        readers = [use.node for use in readers[0].outputs[0].uses()]
    shape, dtype = tuple(int(n) for n in port.shape), port.dtype.numpy().name
    scale, zero = (value.const_value.numpy() for value in readers[0].inputs[1:3])
    given = Port(port.name, shape, dtype, float(scale), int(zero))
    _, x, _ = next(samples(EIGHT_BITS[file], given))
    return list(x[:COUNT, None])


def test_every_file_is_tested(data: Path) -> None:
    found = {str(p.relative_to(data / "models")) for p in (data / "models").rglob("*.tflite")}
    assert found == {*FLOAT.values(), *EIGHT_BITS}
