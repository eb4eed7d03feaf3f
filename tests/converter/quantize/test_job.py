"""Quantising small networks and the embedded one, judged in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from filigree.converter.calibration import Data
from filigree.converter.errors import UsageError
from filigree.converter.frontends import onnx as frontend
from filigree.converter.quantize import qdq
from filigree.converter.quantize.job import Quantized, quantize
from filigree.converter.quantize.options import QuantizeOptions
from filigree.converter.quantize.ranges import weight_scales
from tests.converter.small import graph_of, model, onnx_runtime

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((24, 4, 8, 8)).astype(np.float32)
W = DRAW.standard_normal((8, 4, 3, 3)).astype(np.float32)
V = DRAW.standard_normal((8, 8, 1, 1)).astype(np.float32)
FC = DRAW.standard_normal((8, 5)).astype(np.float32)
CONV = "a = Conv<pads=[1,1,1,1]>(x, w)"
HEAD = ("p = GlobalAveragePool({})", "f = Flatten(p)", "y = Gemm(f, c)")


def made(*nodes: str, **options: object) -> Quantized:
    constants = {"w": W, "v": V, "c": FC}
    used = {k: v for k, v in constants.items() if any(f", {k})" in n for n in nodes)}
    proto = model(*nodes, inputs={"x": ("N", 4, 8, 8)}, **used)
    labels = np.arange(len(X)) % 5
    return quantize(
        lambda: graph_of(proto),
        QuantizeOptions(**options),
        Data(X, labels),  # type: ignore[arg-type]
    )


def ops(found: Quantized) -> list[str]:
    return [node.op_type for node in found.model.graph]


def test_an_activation_belongs_to_its_layer() -> None:
    found = made(CONV, "b = Relu(a)", *(line.format("b") for line in HEAD))
    order = [op for op in ops(found) if op != "DequantizeLinear"]
    rounds = "QuantizeLinear"
    expected = [rounds, "Conv", "Relu", rounds, "GlobalAveragePool", rounds, "Flatten", rounds]
    assert order == [*expected, "Gemm", rounds]
    assert found.output_signal_to_noise > 30
    onnx.checker.check_model(ir.serde.serialize_model(found.model))


def scales_of(found: Quantized) -> dict[str, tuple[float, int]]:
    """Scale and zero point of every rounded value."""
    graph = found.model.graph
    given = {}
    for node in graph:
        if node.op_type == "QuantizeLinear":
            arrays = [v.const_value.numpy() for v in node.inputs[1:] if v and v.const_value]
            name = node.inputs[0].name if node.inputs[0] else ""
            given[(name or "").removesuffix(".exact")] = (float(arrays[0]), int(arrays[1]))
    return given


def test_what_only_moves_elements_shares_a_scale() -> None:
    found = made(
        CONV,
        "b = Relu(a)",
        "d = Conv(b, v)",
        "e = Concat<axis=1>(b, d)",
        "y = MaxPool<kernel_shape=[2,2]>(e)",
    )
    scales = scales_of(found)
    assert scales["b"] == scales["d"] == scales["e"] == scales["y"] != scales["x"]


def test_weights_have_a_scale_per_row_and_zeros_stay_zero() -> None:
    sparse = np.where(np.abs(W) > 1, W, 0)
    proto = model(CONV.replace("a =", "y ="), inputs={"x": (1, 4, 8, 8)}, w=sparse)
    found = quantize(lambda: graph_of(proto), QuantizeOptions(), Data(X))
    (layer,) = qdq_inputs(found, "Conv")
    q, scale = layer
    assert q.dtype == np.int8 and scale.shape == (8,) and np.abs(q).max() == 127
    assert ((q == 0) >= (sparse == 0)).all()


def qdq_inputs(found: Quantized, op: str) -> list[tuple[np.ndarray, np.ndarray]]:
    weights = [node.inputs[1] for node in found.model.graph if node.op_type == op]
    makers = [w.producer() for w in weights if w is not None]
    return [tuple(v.const_value.numpy() for v in m.inputs[:2]) for m in makers if m]  # type: ignore[misc, union-attr]


def test_layers_that_are_kept_float() -> None:
    nodes = (f"[one] {CONV}", "[two] d = Conv(a, v)", *(line.format("d") for line in HEAD))
    found = made(*nodes, keep_float=("t*",))
    assert {layer.name: layer.kept_float for layer in found.layers}["two"]
    assert len(qdq_inputs(found, "Conv")) == 1
    assert found.output_signal_to_noise > made(*nodes).output_signal_to_noise


def test_correction_takes_the_mean_error_away() -> None:
    nodes = (CONV, "b = Relu(a)", "d = Conv(b, v)", "e = Relu(d)", *(n.format("e") for n in HEAD))
    with_, without = (made(*nodes, bias_correction=on, ranges="minmax") for on in (True, False))
    proto = model(*nodes, inputs={"x": ("N", 4, 8, 8)}, w=W, v=V, c=FC)
    want = onnx_runtime(proto, {"x": X})[0]
    gaps = []
    for found in (with_, without):
        quantised = ir.serde.serialize_model(found.model)
        got = np.concatenate([onnx_runtime(quantised, {"x": X[i : i + 1]})[0] for i in range(24)])
        gaps.append(np.abs((got - want).mean(axis=0)).max())
    assert gaps[0] < gaps[1]


def test_biases_fit_int32() -> None:
    huge = np.full(8, 1e7, np.float32)
    proto = model("y = Conv(x, v, b)", inputs={"x": (1, 8, 4, 4)}, v=V * 1e-6, b=huge)
    x = DRAW.standard_normal((8, 8, 4, 4)).astype(np.float32)
    found = quantize(lambda: graph_of(proto), QuantizeOptions(bias_correction=False), Data(x))
    assert found.output_signal_to_noise > 30


def test_everything_wrong_at_once() -> None:
    proto = model("y = Relu(x)", inputs={"x": (1, 4, 8, 8)})
    options = QuantizeOptions(ranges="a", weights="b", keep_float=("z",), accuracy_budget=1.0)
    with pytest.raises(UsageError) as raised:
        quantize(lambda: graph_of(proto), options, Data(X))
    assert raised.value.lines == [
        'no ranges by "a"; known: minmax, percentile, mse, entropy',
        'no weights by "b"; known: minmax, mse',
        "an accuracy budget needs data with labels",
        'no layer is called "z"',
        "it has no layer with constant weights",
    ]


@pytest.fixture(scope="module")
def embedded(digits: Path) -> tuple[Callable[[], ir.Model], Data]:
    with np.load(digits / "digits_test.npz") as z:
        data = Data(z["x"].astype(np.float32), z["y"].astype(np.int64))
    return lambda: frontend.load(digits / "digits_sparse80.onnx"), data


def test_the_embedded_network(embedded: tuple[Callable[[], ir.Model], Data]) -> None:
    load, data = embedded
    found = quantize(load, QuantizeOptions(), data)
    assert found.accuracy_before is not None and found.accuracy_after is not None
    assert found.accuracy_after >= found.accuracy_before - 0.01
    assert all(layer.signal_to_noise > 20 for layer in found.layers)
    files = [
        ir.serde.serialize_model(q.model).SerializeToString(deterministic=True)
        for q in (found, quantize(load, QuantizeOptions(), data))
    ]
    assert files[0] == files[1]


def test_a_budget_keeps_the_most_sensitive_layers(
    embedded: tuple[Callable[[], ir.Model], Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With weights of about two bits much is lost, layer by layer."""
    load, data = embedded
    data = Data(data.x[:96], data.y[:96] if data.y is not None else None)
    monkeypatch.setattr(qdq, "weight_scales", lambda rows, way: 64 * weight_scales(rows, way))
    lost = quantize(load, QuantizeOptions(bias_correction=False), data)
    assert lost.accuracy_before is not None and lost.accuracy_after is not None
    assert lost.accuracy_after < lost.accuracy_before - 0.05
    options = QuantizeOptions(bias_correction=False, accuracy_budget=5.0)
    found = quantize(load, options, data)
    assert found.accuracy_after is not None
    assert found.accuracy_after >= lost.accuracy_before - 0.05
    kept = [layer for layer in found.layers if layer.kept_float]
    others = [layer for layer in found.layers if not layer.kept_float]
    assert kept and others
    worst = max(layer.alone or 0.0 for layer in kept)
    assert worst <= min(layer.alone or 0.0 for layer in others)
