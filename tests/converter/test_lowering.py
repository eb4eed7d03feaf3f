"""Lowering against ONNX Runtime: random graphs, in float64 as lowered and on every ISA as packed.

A case's id is its seed: ``-k 'seed-17-'`` reruns it, ``python -m tests.converter.graphs 17`` prints
it, FILIGREE_GRAPHS=5000 runs more of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from filigree.converter import (
    Converted,
    ConvertOptions,
    convert,
    lowering,
    packfile,
    passes,
    reference,
)
from filigree.converter.errors import UnsupportedModel
from filigree.converter.frontends import onnx as frontend
from filigree.converter.lowering import plan as planner
from filigree.converter.lowering.check import check
from filigree.converter.lowering.program import Program
from filigree.converter.sparsity import CostTable, pack
from filigree.native import enums as c
from filigree.native.model import Model, isas
from tests.converter.graphs import Graph, random_graph
from tests.converter.small import F32, assert_close, model, onnx_runtime, random_inputs

GRAPHS = int(os.environ.get("FILIGREE_GRAPHS", "320"))
FIRST = int(os.environ.get("FILIGREE_FIRST_GRAPH", "0"))
COSTS = CostTable.load("x86-64-avx2")
PATTERNS = ("auto", "dense", "1x1", "4x1")


@pytest.fixture(autouse=True)
def _quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "SEARCH_STEPS", 2000)


def lowered(graph: Graph, folder: Path, layout: str) -> Program:
    path = folder / "graph.onnx"
    onnx.save(graph.model, path)
    simplified = passes.run(frontend.load(path))
    program = lowering.lower(simplified, name="graph", input_layout=layout)
    check(program, "lowered")
    return program


def given(graph: Graph, layout: str) -> list[F32]:
    """The inputs as the caller has them."""
    own = graph.nhwc_inputs()
    found = []
    for name, array in graph.inputs.items():
        swap = array.ndim == 4 and (layout == "NHWC") != (name in own)
        axes = (0, 2, 3, 1) if layout == "NHWC" else (0, 3, 1, 2)
        found.append(np.ascontiguousarray(array.transpose(axes)) if swap else array)
    return found


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("seed", range(FIRST, FIRST + GRAPHS), ids=lambda s: f"seed-{s}")
def test_random_graph(seed: int, layout: str, tmp_path: Path) -> None:
    graph = random_graph(seed)
    want = onnx_runtime(graph.model, graph.inputs)
    program = lowered(graph, tmp_path, layout)
    inputs = given(graph, layout)
    for got, expected in zip(reference.run(program, *inputs), want, strict=True):
        assert_close(got, expected, "reference")
    packed, _ = pack(program, costs=COSTS, pattern=PATTERNS[seed % len(PATTERNS)])
    data = packfile.encode(planner.plan(packed))
    for isa in isas():
        found = Model.from_bytes(data, isa=isa).run(*inputs)
        outputs = found if isinstance(found, tuple) else (found,)
        for got, expected in zip(outputs, want, strict=True):
            assert_close(got, expected, isa)


# --- forms that random graphs seldom or never have ---


def converted(proto: onnx.ModelProto, folder: Path, **options: Any) -> Converted:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return convert(path, options=ConvertOptions(**options))


def assert_converts(proto: onnx.ModelProto, folder: Path, **options: Any) -> Program:
    """The packed model gives ONNX Runtime's numbers on every ISA, its outputs in order and by
    name."""
    found = converted(proto, folder, **options)
    inputs = random_inputs(proto)
    want = onnx_runtime(proto, inputs)
    assert [port.name for port in found.program.outputs] == [v.name for v in proto.graph.output]
    assert [port.shape for port in found.program.outputs] == [y.shape for y in want]
    for isa in isas():
        got = Model.from_bytes(found.data, isa=isa).run(inputs)
        outputs = got if isinstance(got, tuple) else (got,)
        for one, expected in zip(outputs, want, strict=True):
            assert_close(one, expected, isa)
    return found.program


W = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
IMAGE = (1, 4, 3, 5)


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        (["y = Relu(x)", "z = Identity(y)"], ["y", "z"]),
        (["y = Relu(x)", "z = Identity(y)", "u = Identity(z)"], ["u", "y", "z"]),
        (["y = Relu(x)", "z = Reshape(y, s)"], ["z", "y"]),
        (["y = Identity(x)", "z = Identity(x)"], ["y", "z"]),
        (["y = Conv(x, w)", "z = Relu(y)", "u = Add(z, y)"], ["y", "u", "z"]),
        (["a, y = Split<axis=1>(x, h)", "z = Add(a, y)"], ["z", "a", "y"]),
        (["y = Identity(w)", "z = Conv(x, w)"], ["y", "z"]),
    ],
)
def test_several_outputs_of_one_tensor(
    nodes: list[str], outputs: list[str], tmp_path: Path
) -> None:
    constants = {"w": W, "s": np.array([1, -1]), "h": np.array([1, 3])}
    used = {
        n: a for n, a in constants.items() if f" {n})" in " ".join(nodes) or f"({n})" in nodes[0]
    }
    assert_converts(model(*nodes, inputs={"x": IMAGE}, outputs=outputs, **used), tmp_path)


def test_one_output_listed_twice(tmp_path: Path) -> None:
    proto = model(
        "v = Conv(x, w)", "y = Relu(v)", inputs={"x": IMAGE}, outputs=("y", "y", "y"), w=W
    )
    program = converted(proto, tmp_path).program
    assert [port.name for port in program.outputs] == ["y", "y", "y"]
    assert len({port.tensor for port in program.outputs}) == 3


def test_an_input_that_is_an_output(tmp_path: Path) -> None:
    proto = model("y = Relu(x)", inputs={"x": IMAGE}, outputs=("y", "x"))
    program = converted(proto, tmp_path).program
    inputs = random_inputs(proto)
    relu, same = reference.run(program, *inputs.values())
    assert np.array_equal(same, inputs["x"]) and np.array_equal(relu, np.maximum(same, 0))


def test_an_input_that_nothing_reads(tmp_path: Path) -> None:
    proto = model("y = Relu(x)", inputs={"x": IMAGE, "unused": (2, 2)})
    assert_converts(proto, tmp_path)


@pytest.mark.parametrize(
    "nodes",
    [
        ["y = Relu(x)"],
        ["y = Add(x, c)"],
        ["y = Mul(c, x)"],
        ["y = Reciprocal(x)"],
        ["y = Pow(x, two)"],
        ["y = Clip(x, c, two)"],
        ["y = PRelu(x, c)"],
        ["y = Unsqueeze(x, zero)"],
        ["y = Reshape(x, ones)"],
        ["a = Unsqueeze(x, zero)", "b = Concat<axis=0>(a, a)", "y = ReduceSum<keepdims=0>(b)"],
        ["y = Expand(x, ones)"],
        ["y = Sum(x, x, x)"],
        ["y = Identity(x)"],
        ["y = Transpose(x)"],
        ["y = Max(x)"],
    ],
)
def test_rank_0(nodes: list[str], tmp_path: Path) -> None:
    constants = {"c": np.float32(0.25), "two": np.float32(2), "zero": np.array([0])}
    constants |= {"ones": np.array([1, 1, 1])}
    text = " ".join(nodes)
    used = {
        n: a
        for n, a in constants.items()
        if f" {n})" in text or f" {n}," in text or f"({n}," in text
    }
    assert_converts(model(*nodes, inputs={"x": ()}, **used), tmp_path)


@pytest.mark.parametrize(
    "node", ["y = Pow(x, p)", "y = Pow(x, h)", "y = Mul(x, p)", "y = Add(p, x)"]
)
def test_a_constant_that_adds_axes(node: str, tmp_path: Path) -> None:
    constants = {"p": np.full((1,) * 4, 2, np.float32), "h": np.full((1, 1, 1), 0.5, np.float32)}
    used = {n: a for n, a in constants.items() if f" {n})" in node or f"({n}," in node}
    before = "a = Abs(x)"
    assert_converts(model(before, node.replace("x", "a"), inputs={"x": (3,)}, **used), tmp_path)


@pytest.mark.parametrize(
    "node",
    [
        "y = Relu(x)",
        "y = Transpose<perm=[5, 0, 3, 1, 4, 2]>(x)",
        "y = ReduceMean<axes=[0, 2, 5]>(x)",
        "y = ReduceMax<axes=[1, 3, 4], keepdims=0>(x)",
        "y = Softmax<axis=2>(x)",
        "y = Concat<axis=3>(x, x)",
        "y = Flatten<axis=4>(x)",
        "y = MatMul(x, m)",
        "y = Add(x, b)",
    ],
)
def test_rank_6(node: str, tmp_path: Path) -> None:
    constants = {
        "m": W[:2, :, 0, 0].copy().T[:2],
        "b": np.arange(3, dtype=np.float32).reshape(3, 1, 1),
    }
    used = {n: a for n, a in constants.items() if f" {n})" in node}
    assert_converts(model(node, inputs={"x": (2, 3, 1, 3, 2, 2)}, **used), tmp_path)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "node",
    [
        "y = Conv(x, w)",
        "y = Conv<pads=[1, 1, 1, 1]>(x, w3)",
        "y = MaxPool<kernel_shape=[1, 1]>(x)",
        "y = GlobalAveragePool(x)",
        "y = Softmax<axis=1>(x)",
        "y = Flatten(x)",
        "y = Transpose<perm=[0, 2, 3, 1]>(x)",
        "y = MatMul(x, m)",
        "y = Squeeze(x)",
    ],
)
def test_dims_of_1_everywhere(node: str, layout: str, tmp_path: Path) -> None:
    constants = {"w": W[:1, :1], "m": W[0, 0], "w3": np.ones((1, 1, 3, 3), np.float32)}
    used = {n: a for n, a in constants.items() if f" {n})" in node}
    proto = model(node, inputs={"x": (1, 1, 1, 1)}, **used)
    assert_converts(proto, tmp_path, input_layout=layout)


def test_names_that_collide(tmp_path: Path) -> None:
    """With each other, and with those that the converter makes."""
    nodes = [
        "[y] y.out = Conv(x, w)",
        "[w] x.copy = Conv(y.out, w)",
        "[y.out] w.0 = Mul(x.copy, k)",
        "[] x.planes = MaxPool<kernel_shape=[2, 2]>(w.0)",
        "[x] y = Softmax<axis=1>(x.planes)",
    ]
    names = {"y.out": "a", "x.copy": "b", "w.0": "c", "x.planes": "d"}
    plain = [_renamed(node, names) for node in nodes]
    proto = model(*plain, inputs={"x": (2, 4, 5, 3)}, outputs=("y", "b"), w=W, k=np.float32(2))
    back = {short: long for long, short in names.items()}
    for node in proto.graph.node:
        node.input[:] = [back.get(n, n) for n in node.input]
        node.output[:] = [back.get(n, n) for n in node.output]
    proto.graph.output[1].name = "x.copy"
    assert_converts(proto, tmp_path)


def _renamed(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text.replace("[] ", "")


@pytest.mark.parametrize(
    "nodes",
    [
        ["v = MatMul(x, w)", "y = Add(v, b)"],
        ["t = Transpose<perm=[1, 0]>(x)", "v = Gemm<transA=1>(t, w)", "y = Sub(b, v)"],
    ],
)
@pytest.mark.parametrize("rows", [1, 2, 17])
def test_rows_of_a_fully_connected_layer(nodes: list[str], rows: int, tmp_path: Path) -> None:
    constants = {"w": W[..., 0, 0], "b": np.arange(4, dtype=np.float32)}
    assert_converts(model(*nodes, inputs={"x": (rows, 4)}, **constants), tmp_path)


def test_the_dilation_of_one_tap_is_nothing(tmp_path: Path) -> None:
    proto = model("y = Conv<dilations=[2, 3]>(x, w)", inputs={"x": (1, 4, 4, 4)}, w=W)
    program = assert_converts(proto, tmp_path)
    assert program.ops[0].kind == c.FIL_OP_SPMM


@pytest.mark.parametrize("name", ["v", "first", "u"])
def test_cut_at_a_value_or_node(name: str, tmp_path: Path) -> None:
    nodes = ["[first] v = Relu(x)", "u = Conv(v, w)", "[odd] e = Erf(u)", "y = Relu(e)"]
    proto = model(*nodes, inputs={"x": IMAGE}, w=W)
    with pytest.raises(UnsupportedModel, match="Erf"):
        converted(proto, tmp_path)
    program = converted(proto, tmp_path, outputs=(name,)).program
    inputs = random_inputs(proto)
    (got,) = reference.run(program, *inputs.values())
    want = np.maximum(inputs["x"], 0)
    if name == "u":
        want = np.einsum("rc,nchw->nrhw", W[..., 0, 0], want)
    assert_close(got, want.astype(np.float32))


def test_every_refused_form_at_once(tmp_path: Path) -> None:
    nodes = [
        "[three_dims] a = Conv(x, w5)",
        "[after] b = Relu(a)",
        '[edge] d = Pad<mode="edge">(x, pads)',
        "[backward] e = Slice(d, one, zero, one, minus)",
        "y = ReduceSum<keepdims=0>(b)",
    ]
    constants = {
        "w5": np.ones((4, 1, 1, 1, 1), np.float32),
        "pads": np.ones(10, np.int64),
        "one": np.array([1]),
        "zero": np.array([0]),
        "minus": np.array([-1]),
    }
    proto = model(*nodes, inputs={"x": (1, 1, 2, 3, 2)}, outputs=("y", "e"), **constants)
    with pytest.raises(UnsupportedModel) as raised:
        converted(proto, tmp_path)
    assert [p.node for p in raised.value.problems] == ["three_dims", "edge"]
