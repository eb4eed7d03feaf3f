"""Every form of every TFLite operator: ONNX Runtime on what the front end writes, our program in
float64, and LiteRT on the file itself (where ai-edge-litert is installed) compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from filigree.converter import lowering, passes, reference
from filigree.converter.frontends import tflite
from filigree.converter.frontends.tflite.operators import OPERATORS
from filigree.converter.lowering.check import check
from tests.converter.tflite.nets import CASES, Case, quantised
from tests.converter.tflite.table import PAGE, render

Array = NDArray[Any]
CLOSE = 1e-5  # of values near 1
FEW = 0.99  # of 8-bit values are within one step of LiteRT's


def saved(data: bytes, folder: Path) -> Path:
    path = folder / "net.tflite"
    path.write_bytes(data)
    return path


def inputs_of(model: ir.Model, seed: int = 0) -> list[Array]:
    """Noise, for 8-bit inputs over all that they can hold."""
    draw = np.random.default_rng(seed)
    found: list[Array] = []
    for value in model.graph.inputs:
        shape = [int(n) for n in value.shape or []]
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        if dtype == np.float32:
            found.append(draw.standard_normal(shape).astype(dtype))
        else:
            limits = np.iinfo(dtype)
            found.append(draw.integers(limits.min, limits.max + 1, shape).astype(dtype))
    return found


def in_onnx_runtime(model: ir.Model, inputs: list[Array], *, every: bool = False) -> dict[str, Any]:
    """The outputs, or every value, by name."""
    proto = ir.serde.serialize_model(model)
    if every:
        have = {value.name for value in proto.graph.output}
        made = [name for node in proto.graph.node for name in node.output if name not in have]
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options)
    names = [port.name for port in session.get_outputs()]
    feed = {port.name: x for port, x in zip(session.get_inputs(), inputs, strict=True)}
    return dict(zip(names, session.run(names, feed), strict=True))


def in_litert(data: bytes, inputs: list[Array], *, xnnpack: bool = False) -> list[Array]:
    """Skips where ai-edge-litert is not installed. ``xnnpack``: its kernels, which round each layer
    once, where TFLite's own round twice in eight bits."""
    runtime = pytest.importorskip("ai_edge_litert.interpreter")
    kinds = runtime.OpResolverType
    loaded = runtime.Interpreter(
        model_content=data,
        experimental_op_resolver_type=kinds.AUTO
        if xnnpack
        else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    loaded.allocate_tensors()
    for port, x in zip(loaded.get_input_details(), inputs, strict=True):
        loaded.set_tensor(port["index"], x)
    loaded.invoke()
    return [loaded.get_tensor(port["index"]) for port in loaded.get_output_details()]


def ranges_of(case: Case, folder: Path) -> dict[str, tuple[float, float]]:
    """Of every value in float32, over noise."""
    model = tflite.load(saved(case.net().file.finish(), folder))
    inputs = inputs_of(model)
    found = in_onnx_runtime(model, inputs, every=True)
    found |= {v.name or "": x for v, x in zip(model.graph.inputs, inputs, strict=True)}
    found |= {k.removesuffix(".nchw"): v for k, v in found.items() if k.endswith(".nchw")}
    return {name: (float(v.min()), float(v.max())) for name, v in found.items()}


def program_outputs(path: Path, inputs: list[Array]) -> list[Array]:
    program = lowering.lower(passes.run(tflite.load(path)), name="net")
    check(program, "lowered")
    return list(reference.run(program, *inputs))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_program(case: Case, tmp_path: Path) -> None:
    path = saved(case.net().file.finish(), tmp_path)
    model = tflite.load(path)
    inputs = inputs_of(model)
    want = list(in_onnx_runtime(model, inputs).values())
    for a, b in zip(program_outputs(path, inputs), want, strict=True):
        np.testing.assert_allclose(a, b, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("case", [c for c in CASES if c.litert], ids=lambda c: c.name)
def test_litert(case: Case, tmp_path: Path) -> None:
    data = case.net().file.finish()
    model = tflite.load(saved(data, tmp_path))
    inputs = inputs_of(model)
    want = in_litert(data, inputs)
    for a, b in zip(in_onnx_runtime(model, inputs).values(), want, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("case", [c for c in CASES if c.eight_bits], ids=lambda c: c.name)
def test_eight_bits(case: Case, dtype: str, tmp_path: Path) -> None:
    file = quantised(case.net(), ranges_of(case, tmp_path), dtype)
    data = file.finish()
    model = tflite.load(saved(data, tmp_path))
    inputs = inputs_of(model)
    want = in_litert(data, inputs)
    for a, b in zip(in_onnx_runtime(model, inputs).values(), want, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        steps = np.abs(a.astype(int) - b.astype(int))
        assert np.mean(steps <= 1) >= FEW and np.ptp(b.astype(int)) > 50


def test_every_operator_has_a_case() -> None:
    kinds = {kind for case in CASES for kind in case.net().kinds}
    assert OPERATORS.keys() - kinds == {
        "QUANTIZE",
        "DEQUANTIZE",
        "DENSIFY",
        "CAST",
    }  # test_numbers.py


def test_page_is_current() -> None:
    assert PAGE.read_text() == render(), "run python -m tests.converter.tflite.table"
