"""Fusion: each rule where it applies, and where it must not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from filigree.converter import lowering, packfile
from filigree.converter.lowering.check import check
from filigree.converter.lowering.plan import plan
from filigree.converter.lowering.program import Op, Program
from filigree.converter.sparsity import CostTable, pack
from filigree.native import enums as c
from filigree.native.model import Model, isas
from tests.converter.small import assert_close, model, onnx_runtime, random_inputs, simplified

COSTS = CostTable.load("x86-64-avx2")
NUMBERS = np.random.default_rng(0)
KINDS = {
    c.FIL_OP_SPMM: "spmm",
    c.FIL_OP_CONV: "conv",
    c.FIL_OP_DWCONV: "dwconv",
    c.FIL_OP_SPMV: "spmv",
    c.FIL_OP_POOL: "pool",
    c.FIL_OP_MAP: "map",
    c.FIL_OP_REDUCE: "reduce",
    c.FIL_OP_SOFTMAX: "softmax",
    c.FIL_OP_MATMUL: "matmul",
}
CONSTANTS: dict[str, Any] = {
    "w": NUMBERS.standard_normal((4, 4, 1, 1)).astype(np.float32),
    "w3": NUMBERS.standard_normal((4, 4, 3, 3)).astype(np.float32),
    "dw": NUMBERS.standard_normal((4, 1, 3, 3)).astype(np.float32),
    "d": NUMBERS.standard_normal((6, 6)).astype(np.float32),
    "s": np.array([2, 2], np.int64),
    "channels": np.array([0, 1, 0, 0, 0, 2, 0, 0], np.int64),
    "batches": np.array([1, 0, 0, 0, 1, 0, 0, 0], np.int64),
    "one": np.array([1], np.int64),
    "start": np.array([0], np.int64),
}
IMAGE = (1, 4, 5, 6)


def fused(
    *nodes: str, shape: tuple[int, ...] = IMAGE, outputs: tuple[str, ...] = ("y",)
) -> Program:
    """The lowered program, whose numbers are checked on every ISA."""
    text = " ".join(nodes)
    used = {n: a for n, a in CONSTANTS.items() if f"{n})" in text or f"{n}," in text}
    proto = model(*nodes, inputs={"x": shape}, outputs=outputs, **used)
    program = lowering.lower(simplified(proto), name="small")
    check(program, "lowered")
    assert_runs(proto, program)
    return program


def assert_runs(proto: onnx.ModelProto, program: Program) -> None:
    inputs = random_inputs(proto)
    want = onnx_runtime(proto, inputs)
    data = packfile.encode(plan(pack(program, costs=COSTS)[0]))
    for isa in isas():
        found = Model.from_bytes(data, isa=isa).run(*inputs.values())
        for got, expected in zip(
            found if isinstance(found, tuple) else (found,), want, strict=True
        ):
            assert_close(got, expected, isa)


def kinds(program: Program) -> list[str]:
    return [KINDS[op.kind] for op in program.ops]


def layers(program: Program) -> list[Op]:
    return [op for op in program.ops if op.weights is not None]


# --- 1. activation ---


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("a = Conv(x, w)", "spmm"),
        ("a = Conv<pads=[1, 1, 1, 1]>(x, w3)", "conv"),
        ("a = Conv<pads=[1, 1, 1, 1], group=4>(x, dw)", "dwconv"),
        ("a = MaxPool<kernel_shape=[2, 2]>(x)", "pool"),
        ("a = ReduceMean<axes=[2]>(x)", "reduce"),
        ("a = Add(x, x)", "map"),
    ],
)
@pytest.mark.parametrize("act", ["Relu", "HardSwish", "Sigmoid"])
def test_an_activation_goes_into_what_writes_its_operand(layer: str, kind: str, act: str) -> None:
    program = fused(layer, f"y = {act}(a)", shape=(1, 4, 4, 4))  # planes of whole vectors
    writer = next(op for op in program.ops if KINDS[op.kind] == kind)
    assert writer.act.kind != c.FIL_ACT_NONE
    assert sum(op.act.kind != c.FIL_ACT_NONE for op in program.ops) == 1


def test_an_activation_goes_into_every_image_of_a_batch() -> None:
    program = fused("a = Conv(x, w)", "y = Relu(a)", shape=(3, 4, 5, 6))
    assert [op.act.kind for op in layers(program)] == [c.FIL_ACT_CLAMP] * 3


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param(("a = Softmax<axis=1>(x)", "y = Relu(a)"), id="softmax"),
        pytest.param(("a = Conv(x, w)", "b = Relu(a)", "y = Sigmoid(b)"), id="has-one-already"),
        pytest.param(("a = Conv(x, w)", "b = Relu(a)", "y = Mul(a, b)"), id="read-twice"),
        pytest.param(("a = Pad(x, channels)", "y = Sigmoid(a)"), id="filled"),
        pytest.param(("y = Relu(x)",), id="of-an-input"),
    ],
)
def test_an_activation_that_stays(nodes: tuple[str, ...]) -> None:
    program = fused(*nodes)
    assert any(op.kind == c.FIL_OP_MAP and op.act.kind != c.FIL_ACT_NONE for op in program.ops)


def test_an_activation_of_an_output_stays() -> None:
    assert "map" in kinds(fused("a = Conv(x, w)", "y = Relu(a)", outputs=("y", "a")))


# --- 2. residual ---


@pytest.mark.parametrize("add", ["s1 = Add(a, b)", "s1 = Add(b, a)"])
@pytest.mark.parametrize(
    "layer",
    [
        "b = Conv(a, w)",
        "b = Conv<pads=[1,1,1,1]>(a, w3)",
        "b = Conv<pads=[1,1,1,1], group=4>(a, dw)",
    ],
)
def test_a_residual_goes_into_the_layer(layer: str, add: str) -> None:
    program = fused("a = Conv(x, w)", layer, add, "y = Relu(s1)")
    assert [len(op.inputs) for op in layers(program)] == [1, 2]
    assert layers(program)[1].act.kind == c.FIL_ACT_CLAMP


def test_a_residual_of_every_image_of_a_batch() -> None:
    program = fused("a = Conv(x, w)", "b = Conv(a, w)", "y = Add(b, a)", shape=(2, 4, 5, 6))
    assert [len(op.inputs) for op in layers(program)] == [1, 1, 2, 2]


def test_of_two_layers_the_later_takes_the_earlier() -> None:
    program = fused("a = Conv(x, w)", "b = Conv<pads=[1,1,1,1]>(x, w3)", "y = Add(a, b)")
    assert [len(op.inputs) for op in layers(program)] == [1, 2]


def test_a_residual_of_fully_connected_layers() -> None:
    program = fused("a = MatMul(x, d)", "b = MatMul(a, d)", "y = Add(a, b)", shape=(1, 6))
    assert kinds(program)[:2] == ["spmv", "spmv"]
    assert [len(op.inputs) for op in layers(program)] == [1, 2]


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param(("a = Conv(x, w)", "y = Add(a, x)"), id="an-input-has-no-padding"),
        pytest.param(("a = Conv(x, w)", "r = Relu(a)", "y = Add(r, x)"), id="after-an-activation"),
        pytest.param(("a = Conv(x, w)", "y = Add(a, a)"), id="itself"),
        pytest.param(("a = Conv(x, w)", "r = Relu(a)", "y = Add(r, a)"), id="read-by-the-other"),
        pytest.param(("a = Conv(x, w)", "m = GlobalMaxPool(x)", "y = Add(a, m)"), id="broadcast"),
        pytest.param(
            ("a = Conv(x, w)", "t = Transpose<perm=[0, 1, 3, 2]>(a)", "y = Add(t, x)"),
            id="transposed",
        ),
    ],
)
def test_a_sum_that_stays(nodes: tuple[str, ...]) -> None:
    shape = (1, 4, 5, 5) if "Transpose" in " ".join(nodes) else IMAGE
    program = fused(*nodes, shape=shape)
    assert all(len(op.inputs) == 1 for op in layers(program))


# --- 3. redirection ---


def copies(program: Program) -> int:
    return sum(op.kind == c.FIL_OP_MAP and op.fn == c.FIL_MAP_COPY for op in program.ops)


def test_parts_are_written_where_they_are_concatenated() -> None:
    program = fused("a = Conv(x, w)", "b = Conv(x, w)", "y = Concat<axis=1>(a, b)")
    written = {op.output for op in layers(program)}
    assert len(written) == 1


def test_nested_concatenation_and_a_part_that_is_read_elsewhere() -> None:
    nodes = ("a = Conv(x, w)", "b = Conv(a, w)", "i = Concat<axis=1>(a, b)", "d1 = Conv(x, w)")
    fused(*nodes, "o = Concat<axis=1>(i, d1, i)", "y = Relu(o)")


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 4, 2, 4), (2, 4, 1, 3), (1, 4, 1, 1), (1, 4, 4, 4)])
def test_a_part_of_a_plane_is_not_written_over_by_padding(
    axis: int, shape: tuple[int, ...]
) -> None:
    parts = ("a = Conv(x, w)", "b = Sigmoid(x)")
    for made in (parts, parts[::-1]):
        for order in ("a, b", "b, a", "a, b, a"):
            fused(*made, f"t = Concat<axis={axis}>({order})", "y = Relu(t)", shape=shape)


@pytest.mark.parametrize("pads", ["channels", "batches"])
@pytest.mark.parametrize("layer", ["a = Conv(x, w)", "a = Sigmoid(x)", "a = Softmax<axis=1>(x)"])
def test_what_is_written_before_a_fill_is_not_undone(layer: str, pads: str) -> None:
    fused(layer, f"y = Pad(a, {pads})")


def test_an_output_is_written_directly_by_kinds_that_write_no_padding() -> None:
    assert copies(fused("a = Add(x, x)", "y = Sigmoid(a)", shape=(1, 6))) == 0
    assert copies(fused("y = MatMul(x, d)", shape=(1, 6))) == 0
    assert copies(fused("y = Conv(x, w)")) == 1
    assert copies(fused("a = Add(x, x)", "y = Relu(a)", "z = Neg(a)", outputs=("y", "z"))) > 0


def test_parts_of_a_split_stay_where_they_are() -> None:
    nodes = ("a = Conv(x, w)", "b, e = Split<axis=1>(a, s)", "t = Concat<axis=1>(e, b)")
    fused(*nodes, "y = Sigmoid(t)")
