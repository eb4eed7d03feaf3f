"""quantized: QuantizeLinear and DequantizeLinear become marks, and int8 is what comes of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from filigree.converter import lowering, reference
from filigree.converter.errors import BadFile, UnsupportedModel
from filigree.converter.lowering.check import check
from filigree.converter.lowering.program import Program
from filigree.converter.quantize.marks import Quant, mark_of
from filigree.native import enums as c
from tests.converter.small import model, onnx_runtime, ops, simplified

NUMBERS = np.random.default_rng(7)
S, Z = np.float32(0.05), np.int8(-3)
SHAPE = (1, 4, 6, 6)


def weights(*shape: int) -> np.ndarray:
    return NUMBERS.integers(-127, 127, shape, endpoint=True).astype(np.int8)


def scales(rows: int) -> np.ndarray:
    return (NUMBERS.random(rows) * 0.01 + 0.001).astype(np.float32)


BASE: dict[str, Any] = {
    "s": S,
    "z": Z,
    "so": np.float32(0.07),
    "zo": np.int8(11),
    "w": weights(5, 4, 3, 3),
    "sw": scales(5),
    "zw": np.zeros(5, np.int8),
    "b": NUMBERS.integers(-3000, 3000, 5).astype(np.int32),
    "sb": np.float32(0.001),
    "dw": weights(4, 1, 3, 3),
    "sdw": scales(4),
    "fc": weights(144, 7),
    "sfc": np.float32(0.003),
    "c": weights(1, 4, 1, 1),
}
ENTER = ["q = QuantizeLinear(x, s, z)", "a = DequantizeLinear(q, s, z)"]
LEAVE = ["p = QuantizeLinear(r, so, zo)", "y = DequantizeLinear(p, so, zo)"]
CONV = [
    "wf = DequantizeLinear<axis=0>(w, sw, zw)",
    "bf = DequantizeLinear(b, sb)",
    "v = Conv<pads=[1,1,1,1]>(a, wf, bf)",
]
CASES: dict[str, tuple[list[str], set[int]]] = {
    "conv": ([*CONV, "r = Identity(v)"], {c.FIL_OP_QCONV}),
    "conv-relu": ([*CONV, "r = Relu(v)"], {c.FIL_OP_QCONV}),
    "conv-clip": ([*CONV, "lo = Constant<value_float=0.0>()", "r = Clip(v, lo)"], {c.FIL_OP_QCONV}),
    "conv-moved": ([*CONV, "r = Transpose<perm=[0,2,3,1]>(v)"], {c.FIL_OP_QCONV}),
    "depthwise": (
        [
            "wf = DequantizeLinear<axis=0>(dw, sdw)",
            "r = Conv<group=4, pads=[1,1,1,1], strides=[2,2]>(a, wf)",
        ],
        {c.FIL_OP_QDWCONV},
    ),
    "gemm": (
        ["wf = DequantizeLinear(fc, sfc)", "f = Flatten(a)", "r = Gemm(f, wf)"],
        {c.FIL_OP_QSPMV},
    ),
    "matmul": (
        ["wf = DequantizeLinear(fc, sfc)", "f = Flatten(a)", "r = MatMul(f, wf)"],
        {c.FIL_OP_QSPMV},
    ),
    "add": (["r = Add(a, a)"], set()),
    "add-constant": (["cf = DequantizeLinear(c, s, z)", "r = Add(a, cf)"], set()),
    "sub": (["t = Transpose<perm=[0,1,3,2]>(a)", "r = Sub(a, t)"], set()),
    "mul": (["r = Mul(a, a)"], set()),
    "max-pool": (["r = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)"], {c.FIL_OP_QPOOL}),
    "average-pool": (["r = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)"], {c.FIL_OP_QPOOL}),
    "average-padded": (
        ["r = AveragePool<kernel_shape=[3,2], pads=[1,1,1,1], count_include_pad=1>(a)"],
        {c.FIL_OP_QPOOL},
    ),
    "global": (["r = GlobalAveragePool(a)"], {c.FIL_OP_QREDUCE}),
    "global-max": (["r = GlobalMaxPool(a)"], {c.FIL_OP_QREDUCE}),
    "softmax": (["r = Softmax<axis=1>(a)"], {c.FIL_OP_QSOFTMAX}),
    "sigmoid": (["r = Sigmoid(a)"], set()),
    "tanh": (["r = Tanh(a)"], set()),
    "leaky": (["r = LeakyRelu(a)"], set()),
    "hard-swish": (["r = HardSwish(a)"], set()),
    "concat": (["t = Relu(a)", "r = Concat<axis=1>(a, t)"], set()),
    "requantized": (["r = Identity(a)"], set()),
}


def case(name: str, *, nodes: list[str] | None = None, **more: Any) -> onnx.ModelProto:
    nodes = [*ENTER, *(nodes or CASES[name][0]), *LEAVE]
    used = {word.strip(" ,)") for line in nodes for word in line.replace("(", " ").split()}
    constants = {k: v for k, v in {**BASE, **more}.items() if k in used}
    return model(*nodes, inputs={"x": SHAPE}, **constants)


def lowered(proto: onnx.ModelProto) -> Program:
    program = lowering.lower(simplified(proto), name="int8")
    check(program, "lowered")
    return program


def steps_apart(proto: onnx.ModelProto, program: Program, scale: float) -> np.ndarray:
    """How many steps of ``scale`` the program's results are from ONNX Runtime's."""
    x = NUMBERS.normal(0, 3, SHAPE).astype(np.float32)
    (want,) = onnx_runtime(proto, {"x": x})
    (got,) = reference.run(program, x)
    assert got.shape == want.shape
    return np.abs(got - want) / scale


@pytest.mark.parametrize("name", CASES)
def test_in_int8_and_a_step_from_onnx_runtime_at_most(name: str) -> None:
    proto = case(name)
    program = lowered(proto)
    apart = steps_apart(proto, program, float(BASE["so"]))
    assert apart.max() < 1.01
    assert (apart < 0.01).mean() > 0.97
    kinds = Counter(op.kind for op in program.ops)
    assert set(kinds) == CASES[name][1] | {c.FIL_OP_QMAP}, kinds


@pytest.mark.parametrize("name", ["conv-relu", "depthwise", "average-pool", "requantized"])
def test_uint8_is_int8_with_another_zero(name: str) -> None:
    zeros = {"z": np.uint8(125), "zo": np.uint8(139)}
    program = lowered(case(name, **zeros))
    twin = lowered(case(name))
    x = NUMBERS.normal(0, 3, SHAPE).astype(np.float32)
    assert np.array_equal(reference.run(program, x)[0], reference.run(twin, x)[0])


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_integer_ports(kind: str, *, moved: bool) -> None:
    """An input and an output of integers keep their type and hold the integers themselves; what
    ``moved`` them does not matter."""
    zero = np.array(3, kind)
    turned = ["t = Transpose<perm=[0,2,3,1]>(x)", "a = DequantizeLinear(t, s, z)"]
    back = ["q = QuantizeLinear(r, s, z)", "y = Transpose<perm=[0,3,1,2]>(q)"]
    proto = model(
        *(turned if moved else ["a = DequantizeLinear(x, s, z)"]),
        "r = Relu(a)",
        *(back if moved else ["y = QuantizeLinear(r, s, z)"]),
        inputs={"x": SHAPE},
        s=S,
        z=zero,
    )
    element = TensorProto.INT8 if kind == "int8" else TensorProto.UINT8
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.CopyFrom(helper.make_tensor_type_proto(element, SHAPE))
    program = lowered(proto)
    ends = [program.tensors[port.tensor] for port in (*program.inputs, *program.outputs)]
    assert [(t.dtype, t.quant) for t in ends] == [(kind, Quant(float(S), 3))] * 2
    info = np.iinfo(kind)
    x = NUMBERS.integers(info.min, info.max, SHAPE, endpoint=True).astype(kind)
    (want,) = onnx_runtime(proto, {"x": x})
    assert np.array_equal(reference.run(program, x)[0], want)


def test_what_is_not_quantised_stays_float() -> None:
    """An operator without an int8 form runs between two conversions."""
    nodes = [*ENTER, "r = Exp(a)", "y = Relu(r)"]
    program = lowered(model(*nodes, inputs={"x": SHAPE}, s=S, z=Z))
    assert [op.kind for op in program.ops][-1] == c.FIL_OP_MAP
    assert program.tensors[program.ops[-1].output].quant is None


NINE_BITS: dict[str, tuple[str, dict[str, Any], set[int]]] = {
    "conv": (
        "conv-relu",
        {"w": weights(5, 4, 3, 3), "zw": np.full(5, 9, np.int8)},
        {c.FIL_OP_QCONV},
    ),
    "every-weight": (
        "conv",
        {"w": np.full((5, 4, 3, 3), -128, np.int8), "zw": np.full(5, 127, np.int8)},
        {c.FIL_OP_QCONV},
    ),
    "uint8": (
        "conv",
        {
            "w": NUMBERS.integers(0, 256, (5, 4, 3, 3)).astype(np.uint8),
            "zw": np.full(5, 100, np.uint8),
        },
        {c.FIL_OP_QCONV},
    ),
    "depthwise": (
        "depthwise-asymmetric",
        {"dw": np.where(np.arange(4).reshape(4, 1, 1, 1) == 2, 120, weights(4, 1, 3, 3) // 2)},
        {c.FIL_OP_QCONV, c.FIL_OP_QDWCONV},
    ),
    "gemm": ("gemm-asymmetric", {}, {c.FIL_OP_QSPMV}),
    "matmul": ("matmul-asymmetric", {}, {c.FIL_OP_QSPMV}),
}
ASYMMETRIC = {
    "depthwise-asymmetric": [
        "wf = DequantizeLinear<axis=0>(dw, sdw, zdw)",
        "r = Conv<group=4, pads=[1,1,1,1], strides=[2,2]>(a, wf, bd)",
    ],
    "gemm-asymmetric": [
        "wf = DequantizeLinear(fc, sfc, zfc)",
        "f = Flatten(a)",
        "r = Gemm(f, wf)",
    ],
    "matmul-asymmetric": [
        "wf = DequantizeLinear(fc, sfc, zfc)",
        "f = Flatten(a)",
        "r = MatMul(f, wf)",
    ],
}
ZEROS = {"zdw": np.full(4, -20, np.int8), "zfc": np.int8(-7), "bd": np.ones(4, np.float32)}


@pytest.mark.parametrize("name", NINE_BITS)
def test_weights_of_nine_bits_run_in_int8(name: str) -> None:
    """Their sums are the same integers: as near ONNX Runtime as other layers."""
    base, constants, kinds = NINE_BITS[name]
    constants = {k: v.astype(np.int8) if k == "dw" else v for k, v in constants.items()}
    proto = case(base, nodes=ASYMMETRIC.get(base), **ZEROS, **constants)
    program = lowered(proto)
    assert {op.kind for op in program.ops} == kinds | {c.FIL_OP_QMAP}
    apart = steps_apart(proto, program, float(BASE["so"]))
    assert apart.max() < 1.01 and (apart < 0.01).mean() > 0.97


def test_weights_of_more_run_as_floats() -> None:
    proto = case("conv", zw=np.zeros(5, np.uint8), w=np.full((5, 4, 3, 3), 255, np.uint8))
    program = lowered(proto)
    assert c.FIL_OP_CONV in {op.kind for op in program.ops}
    assert steps_apart(proto, program, float(BASE["so"])).max() < 1.01


def test_marks_go_through_what_commutes() -> None:
    graph = simplified(case("conv-relu"))
    assert ops(graph) == ["Identity", "Conv", "Relu"]
    conv, relu = list(graph.graph)[1:3]
    assert mark_of(conv.outputs[0]) == mark_of(relu.outputs[0]) == Quant(float(BASE["so"]), 11)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_cannot_be(scale: float) -> None:
    with pytest.raises(BadFile, match=r"QuantizeLinear.*a scale of"):
        simplified(case("conv", s=np.float32(scale)))


REFUSED = {
    "int16": ({"z": np.int16(0)}, "int16"),
    "per-channel": ({"s": scales(4), "z": np.zeros(4, np.int8)}, "a scale for each channel"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(name: str) -> None:
    constants, reason = REFUSED[name]
    proto = model(*ENTER, "y = Relu(a)", inputs={"x": SHAPE}, opset=21, **{"s": S, **constants})
    with pytest.raises(UnsupportedModel, match=reason):
        lowered(proto)


def test_integers_read_with_another_scale_are_refused() -> None:
    nodes = ["q = QuantizeLinear(x, s, z)", "y = DequantizeLinear(q, so, z)"]
    proto = model(*nodes, inputs={"x": SHAPE}, s=S, z=Z, so=BASE["so"])
    with pytest.raises(UnsupportedModel, match="not those"):
        lowered(proto)


def test_sums_that_may_pass_int32_are_refused() -> None:
    proto = case("conv", b=np.full(5, 2**30, np.int32), sb=np.float32(1.0))
    with pytest.raises(UnsupportedModel, match="32 bits"):
        lowered(proto)


def test_a_quantised_model_is_not_pruned() -> None:
    with pytest.raises(UnsupportedModel, match="then quantise"):
        simplified(case("conv"), portable=True)
