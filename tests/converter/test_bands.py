"""Bands: the same bits as one operation after the other, in less memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from filigree.converter import ConvertOptions, convert, packfile
from filigree.converter.errors import FiligreeError
from filigree.converter.lowering import bands
from filigree.converter.lowering.check import IllegalProgram, check
from filigree.converter.lowering.plan import plan
from filigree.converter.lowering.program import ConvParams, Program
from filigree.native import model as runtime
from filigree.native.model import Model

SMALL = bands.Cache(spill=0, room=0)


@dataclasses.dataclass(frozen=True)
class Block:
    """A convolution: ``kind`` pointwise, depthwise or full; ``residual``: add the block's input."""

    kind: str
    channels: int
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    residual: bool = False


def network(path: Path, blocks: list[Block], *, size: tuple[int, int], channels: int = 4) -> Path:
    """A chain of ``blocks`` on an image, with clamps, pooled at the end."""
    draw = np.random.default_rng(1)
    nodes, weights, value, width = [], [], "x", channels
    for i, b in enumerate(blocks):
        rows = width if b.kind == "depthwise" else b.channels
        taken = 1 if b.kind == "depthwise" else width
        matrix = draw.standard_normal((rows, taken, b.kernel, b.kernel)).astype(np.float32)
        if b.kind == "pointwise":
            matrix *= np.repeat(draw.random((-(-rows // 4), taken)) < 0.4, 4, axis=0)[
                :rows, :, None, None
            ]
        weights.append(numpy_helper.from_array(matrix / np.float32(width), f"w{i}"))
        made = f"v{i}"
        nodes.append(
            helper.make_node(
                "Conv",
                [value, f"w{i}"],
                [made],
                name=f"conv{i}",
                strides=[b.stride] * 2,
                pads=[b.pad] * 4,
                group=rows if b.kind == "depthwise" else 1,
            )
        )
        if b.residual:
            nodes.append(helper.make_node("Add", [made, value], [f"s{i}"], name=f"add{i}"))
            made = f"s{i}"
        nodes.append(helper.make_node("Relu", [made], [f"a{i}"], name=f"relu{i}"))
        value, width = f"a{i}", rows
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["y"], name="pool"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, width, 1, 1])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


MOBILE = [
    Block("full", 8, kernel=3, stride=2, pad=1),
    Block("depthwise", 8, kernel=3, pad=1),
    Block("pointwise", 16),
    Block("depthwise", 16, kernel=3, stride=2, pad=1),
    Block("pointwise", 16),
    Block("depthwise", 16, kernel=5, pad=2),
    Block("pointwise", 16, residual=True),
]


def converted(source: Path, way: str) -> tuple[Program, bytes]:
    made = convert(source, options=ConvertOptions(bands=way))
    return made.program, made.data


def banded(program: Program) -> bool:
    return any(isinstance(op.params, ConvParams) and op.params.band_ops for op in program.ops)


@pytest.mark.parametrize("isa", runtime.isas())
def test_the_same_bits_in_less_memory(tmp_path: Path, isa: str) -> None:
    source = network(tmp_path / "net.onnx", MOBILE, size=(64, 64))
    whole, data = converted(source, "off")
    small, less = converted(source, "small")
    assert banded(small) and not banded(whole)
    assert small.plan is not None and whole.plan is not None
    assert small.plan.arena_bytes < whole.plan.arena_bytes / 2
    x = np.random.default_rng(0).standard_normal((1, 4, 64, 64), dtype=np.float32)
    a, b = (Model.from_bytes(d, isa=isa) for d in (data, less))
    for _ in range(2):  # what a run leaves in the rings does not matter to the next
        assert np.array_equal(a.run(x), b.run(x))


@settings(max_examples=60, deadline=None)
@given(
    blocks=st.lists(
        st.builds(
            lambda kind, kernel, stride, pad, residual: Block(
                kind,
                8,
                1 if kind == "pointwise" else kernel,
                1 if kind == "pointwise" else stride,
                0 if kind == "pointwise" else pad,
                residual and kind == "pointwise",
            ),
            st.sampled_from(["pointwise", "depthwise", "full"]),
            st.sampled_from([2, 3, 5]),
            st.integers(1, 3),
            st.integers(0, 2),
            st.booleans(),
        ),
        min_size=2,
        max_size=6,
    ),
    height=st.integers(20, 70),
    width=st.sampled_from([16, 24, 32, 40, 56, 64]),
    rows=st.integers(1, 9),
)
def test_random_chains(
    tmp_path_factory: pytest.TempPathFactory,
    blocks: list[Block],
    height: int,
    width: int,
    rows: int,
) -> None:
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    try:
        source = network(path, blocks, size=(height, width), channels=8)
        program, data = converted(source, "off")
    except FiligreeError:  # a chain that shrinks the image to nothing
        return
    cache = bands.Cache(spill=0, room=rows << 10)
    small = plan(bands.band(dataclasses.replace(program, plan=None), cache))
    check(small, "planned")
    x = np.random.default_rng(0).standard_normal((1, 8, height, width), dtype=np.float32)
    for isa in runtime.isas():
        expected = Model.from_bytes(data, isa=isa).run(x)
        for threads in (1, 3):
            model = Model.from_bytes(packfile.encode(small), isa=isa, threads=threads)
            assert np.array_equal(model.run(x), expected)


def test_profile_and_trace_see_every_operation(tmp_path: Path) -> None:
    program, data = converted(network(tmp_path / "n.onnx", MOBILE, size=(64, 64)), "small")
    model = Model.from_bytes(data)
    x = np.zeros((1, 4, 64, 64), np.float32)
    assert all(op.seconds > 0 for op in model.profile(x, repeats=3))
    seen: list[int] = []
    model.trace(x, after=seen.append)
    assert set(seen) == set(range(len(program.ops))) and len(seen) > len(program.ops)


def test_unbanded_is_the_program_before(tmp_path: Path) -> None:
    source = network(tmp_path / "net.onnx", MOBILE, size=(64, 64))
    whole, _ = converted(source, "off")
    small, _ = converted(source, "small")
    again = bands.unbanded(small)
    assert [op.params for op in again.ops] == [op.params for op in whole.ops]
    assert {n: t.nbytes for n, t in again.tensors.items()} == {
        n: t.nbytes for n, t in whole.tensors.items()
    }


def test_a_ring_that_is_too_small_is_a_fault(tmp_path: Path) -> None:
    program, _ = converted(network(tmp_path / "net.onnx", MOBILE, size=(64, 64)), "small")
    first = next(i for i, op in enumerate(program.ops) if op.params.band_ops)  # type: ignore[union-attr]
    params = program.ops[first].params
    assert isinstance(params, ConvParams)
    faster = dataclasses.replace(params, band_rows=params.band_rows + 16)
    ops = list(program.ops)
    ops[first] = dataclasses.replace(ops[first], params=faster)
    with pytest.raises(IllegalProgram, match="are not there"):
        check(dataclasses.replace(program, ops=tuple(ops)), "planned")
