"""qoperator: operators on integers become those on floats between conversions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from filigree.converter import lowering, reference
from filigree.converter.errors import UnsupportedModel
from filigree.converter.lowering.check import check
from filigree.converter.passes import qoperator
from tests.converter.small import graph_of, model, onnx_runtime, simplified

NUMBERS = np.random.default_rng(11)
SHAPE = (1, 4, 6, 6)
S, Z, SO, ZO = np.float32(0.05), np.int8(-3), np.float32(0.07), np.int8(11)


def whole(*shape: int, most: int = 127, kind: str = "int8") -> np.ndarray:
    return NUMBERS.integers(-most, most, shape, endpoint=True).astype(kind)


BASE: dict[str, Any] = {
    "s": S,
    "z": Z,
    "so": SO,
    "zo": ZO,
    "w": whole(5, 4, 3, 3),
    "sw": (NUMBERS.random(5) * 0.01 + 0.001).astype(np.float32),
    "zw": np.zeros(5, np.int8),
    "b": whole(5, most=3000, kind="int32"),
    "fc": whole(144, 7),
    "sfc": np.float32(0.003),
    "zfc": np.int8(0),
    "bfc": whole(7, most=3000, kind="int32"),
    "c": whole(1, 4, 1, 1),
}
MS = "com.microsoft"
CASES = {
    "conv": "p = QLinearConv<pads=[1,1,1,1]>(q, s, z, w, sw, zw, so, zo, b)",
    "conv-no-bias": "p = QLinearConv<strides=[2,2]>(q, s, z, w, sw, zw, so, zo)",
    "matmul": "p = QLinearMatMul(f, s, z, fc, sfc, zfc, so, zo)",
    "gemm": f"p = {MS}.QGemm(f, s, z, fc, sfc, zfc, bfc, so, zo)",
    "gemm-no-bias": f"p = {MS}.QGemm(f, s, z, fc, sfc, zfc, , so, zo)",
    "add": f"p = {MS}.QLinearAdd(q, s, z, q, s, z, so, zo)",
    "add-constant": f"p = {MS}.QLinearAdd(q, s, z, c, s, z, so, zo)",
    "mul": f"p = {MS}.QLinearMul(q, s, z, q, s, z, so, zo)",
    "concat": f"p = {MS}.QLinearConcat<axis=1>(so, zo, q, s, z, q, s, z)",
    "global": f"p = {MS}.QLinearGlobalAveragePool<channels_last=0>(q, s, z, so, zo)",
    "average": f"p = {MS}.QLinearAveragePool<kernel_shape=[2,2]>(q, s, z, so, zo)",
    "sigmoid": f"p = {MS}.QLinearSigmoid(q, s, z, so, zo)",
    "leaky": f"p = {MS}.QLinearLeakyRelu<alpha=0.1>(q, s, z, so, zo)",
    "softmax": f"p = {MS}.QLinearSoftmax<axis=1, opset=17>(q, s, z, so, zo)",
}


def case(line: str) -> onnx.ModelProto:
    nodes = [
        "q = QuantizeLinear(x, s, z)",
        "f = Flatten(q)",
        line,
        "y = DequantizeLinear(p, so, zo)",
    ]
    if "(f," not in line:
        nodes.remove("f = Flatten(q)")
    used = {word.strip(" ,)") for text in nodes for word in text.replace("(", " ").split()}
    constants = {k: v for k, v in BASE.items() if k in used}
    proto = model(*nodes, inputs={"x": SHAPE}, **constants)
    proto.opset_import.append(helper.make_opsetid(MS, 1))
    return proto


@pytest.mark.parametrize("name", CASES)
def test_a_step_from_onnx_runtime_at_most(name: str) -> None:
    proto = case(CASES[name])
    program = lowering.lower(simplified(proto), name="int8")
    check(program, "lowered")
    assert all(w.multipliers is not None for w in program.weights.values())
    x = NUMBERS.normal(0, 3, SHAPE).astype(np.float32)
    (want,) = onnx_runtime(proto, {"x": x})
    (got,) = reference.run(program, x)
    assert got.shape == want.shape
    apart = np.abs(got - want) / float(SO)
    assert apart.max() < 1.01 and (apart < 0.01).mean() > 0.9


@pytest.mark.parametrize(
    "line",
    [
        CASES["global"].replace("channels_last=0", "channels_last=1"),
        CASES["softmax"].replace("opset=17", "opset=11"),
    ],
)
def test_left_to_be_refused(line: str) -> None:
    graph = graph_of(case(line))
    assert not qoperator.apply(graph)
    with pytest.raises(UnsupportedModel, match=r"com\.microsoft\.QLinear"):
        simplified(case(line))
