"""dequantize: integer weights become ONNX Runtime's floats."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from filigree.converter import lowering
from filigree.converter.errors import BadFile, UnsupportedModel
from filigree.converter.passes import dequantize
from tests.converter.small import assert_same_numbers, graph_of, model, ops, simplified

NUMBERS = np.random.default_rng(0)
SHAPE = (4, 6)
KINDS = {"int8": np.int8, "uint8": np.uint8, "int16": np.int16, "uint16": np.uint16}


def integers(shape: tuple[int, ...], kind: str = "int8") -> np.ndarray:
    info = np.iinfo(KINDS[kind])
    return NUMBERS.integers(info.min, info.max, shape, endpoint=True).astype(KINDS[kind])


def scales(shape: tuple[int, ...]) -> np.ndarray:
    return (NUMBERS.random(shape) * 0.1 + 0.01).astype(np.float32)


def quantized(node: str, *, opset: int = 21, **constants: Any) -> onnx.ModelProto:
    """x + dequantized constants."""
    return model(node, "y = Add(x, v)", inputs={"x": SHAPE}, opset=opset, **constants)


def check(proto: onnx.ModelProto) -> None:
    graph = simplified(proto)
    assert ops(graph) == ["Add"]
    assert_same_numbers(proto, graph)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_scale(kind: str, shape: tuple[int, ...]) -> None:
    zero = integers(shape, kind)
    constants = {"q": integers(SHAPE, kind), "s": scales(shape)}
    check(quantized("v = DequantizeLinear(q, s, z)", z=zero, **constants))
    check(quantized("v = DequantizeLinear(q, s)", **constants))


def test_int32_without_a_zero_point() -> None:
    q = NUMBERS.integers(-(2**20), 2**20, SHAPE).astype(np.int32)
    check(quantized("v = DequantizeLinear(q, s)", opset=10, q=q, s=scales(()) * 1e-3))


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_one_scale_per_index_of_an_axis(axis: int) -> None:
    count = SHAPE[axis]
    constants = {"q": integers(SHAPE), "s": scales((count,)), "z": integers((count,))}
    check(quantized(f"v = DequantizeLinear<axis={axis}>(q, s, z)", **constants))


def test_the_axis_is_1_unless_given() -> None:
    check(quantized("v = DequantizeLinear(q, s)", opset=13, q=integers(SHAPE), s=scales((6,))))


@pytest.mark.parametrize(("axis", "block"), [(0, 2), (1, 3), (-1, 2), (1, 6), (0, 1)])
def test_one_scale_per_block(axis: int, block: int) -> None:
    shape = list(SHAPE)
    shape[axis] //= block
    node = f"v = DequantizeLinear<axis={axis}, block_size={block}>(q, s, z)"
    shape_of = tuple(shape)
    check(quantized(node, q=integers(SHAPE), s=scales(shape_of), z=integers(shape_of)))


@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
def test_four_bits(kind: str) -> None:
    low = -8 if kind == "INT4" else 0
    values = NUMBERS.integers(low, low + 16, 24)
    proto = quantized("v = DequantizeLinear(q, s)", s=scales(()))
    proto.graph.initializer.append(
        helper.make_tensor("q", getattr(TensorProto, kind), SHAPE, values)
    )
    check(proto)


def test_an_output_of_the_model_keeps_its_name() -> None:
    proto = model(
        "v = DequantizeLinear(q, s)",
        "y = Relu(x)",
        inputs={"x": SHAPE},
        outputs=("y", "v"),
        q=integers(SHAPE),
        s=scales(()),
    )
    graph = simplified(proto)
    assert [value.name for value in graph.graph.outputs] == ["y", "v"]
    assert_same_numbers(proto, graph)


def test_an_empty_zero_point_is_none() -> None:
    proto = quantized("v = DequantizeLinear(q, s)", q=integers(SHAPE), s=scales(()))
    proto.graph.node[0].input.append("")
    graph = graph_of(proto)
    assert dequantize.apply(graph)
    assert ops(graph) == ["Add"]


def test_what_is_not_constant_stays_and_is_refused_later() -> None:
    proto = model(
        "q = QuantizeLinear(x, s, z)",
        "y = DequantizeLinear(q, s, z)",
        inputs={"x": SHAPE},
        opset=21,
        s=scales(()),
        z=np.int16(3),
    )
    assert not dequantize.apply(graph_of(proto))
    with pytest.raises(UnsupportedModel, match="int16"):
        lowering.lower(simplified(proto), name="small")


def test_every_contradiction_is_named_at_once() -> None:
    nodes = [
        "[per_axis] a = DequantizeLinear<axis=0>(q, s6)",
        "[axis] b = DequantizeLinear<axis=2>(q, s6)",
        "[block] c = DequantizeLinear<axis=0, block_size=3>(q, blocks)",
        "[negative] d = DequantizeLinear<axis=0, block_size=-2>(q, blocks)",
        "[huge] e = DequantizeLinear<axis=0, block_size=4611686018427387904>(q, blocks)",
        "[fine] f = DequantizeLinear<axis=1>(q, s6)",
    ]
    constants = {"q": integers(SHAPE), "s6": scales((6,)), "blocks": scales((3, 6))}
    proto = model(*nodes, "y = Sum(a, b, c, d, e, f)", inputs={}, opset=21, **constants)
    start = time.process_time()
    with pytest.raises(BadFile) as raised:
        dequantize.apply(graph_of(proto))
    assert time.process_time() - start < 0.5
    named = [line.split('"')[1] for line in raised.value.lines]
    assert named == ["per_axis", "axis", "block", "negative", "huge"]
