"""Small ONNX models from lines of ONNX's text form, and what the tests ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from filigree.converter import lowering, passes, reference
from filigree.converter.lowering.check import check

F32 = NDArray[np.float32]
TOLERANCE = 1e-4  # of an output's range, where that is over 0.1: what is inside is near 1


def model(
    *nodes: str,
    inputs: Mapping[str, Sequence[int | str | None] | None],
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    **constants: NDArray[Any],
) -> onnx.ModelProto:
    """``nodes`` are lines like ``[name] y = Conv<pads=[1,1,1,1]>(x, w)``; the name may be left
    out. ``constants`` are the initializers, by name."""
    found = [onnx.parser.parse_node(line) for line in nodes]
    graph = helper.make_graph(
        found,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def graph_of(proto: onnx.ModelProto) -> ir.Model:
    """The model as a graph whose nodes are named, as the front end makes it."""
    for i, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    return ir.serde.deserialize_model(proto)


def inferred(proto: onnx.ModelProto) -> ir.Model:
    """The graph with every shape known."""
    found = graph_of(proto)
    passes.bind_shapes.apply(found, batch=1, shapes={})
    passes.infer_shapes.apply(found)
    return found


def simplified(proto: onnx.ModelProto, **options: Any) -> ir.Model:
    """The graph after all passes."""
    return passes.run(graph_of(proto), **options)


def ops(graph: ir.Model) -> list[str]:
    return [node.op_type for node in graph.graph]


def constant_of(graph: ir.Model, node: str, index: int) -> NDArray[Any]:
    """The constant that a node (by operator) reads at ``index``."""
    (found,) = (n for n in graph.graph if n.op_type == node)
    array = passes.graph.constant(found.inputs[index])
    assert array is not None
    return array


def random_inputs(proto: onnx.ModelProto, *, seed: int = 0) -> dict[str, F32]:
    """Normal numbers for every input; open dims are 1."""
    numbers = np.random.default_rng(seed)
    shapes = {
        v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in proto.graph.input
    }
    return {n: numbers.normal(0, 3, s).astype(np.float32) for n, s in shapes.items()}


def onnx_runtime(proto: onnx.ModelProto, inputs: Mapping[str, F32]) -> list[F32]:
    """The outputs by ONNX Runtime, not optimized."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(y) for y in session.run(None, dict(inputs))]


def assert_close(got: NDArray[Any], want: F32, what: str = "") -> None:
    """``got`` has the shape of ``want`` and its numbers."""
    assert got.shape == want.shape, what
    finite = np.isfinite(want)
    assert np.array_equal(got[~finite], want[~finite]), what
    got, want = got[finite], want[finite]
    scale = max(float(want.max(initial=0) - want.min(initial=0)), 0.1)
    off = float(np.abs(got - want).max(initial=0))
    assert off <= TOLERANCE * scale, f"{what}: off by {off:.3g}, range {scale:.3g}"


def assert_same_numbers(proto: onnx.ModelProto, graph: ir.Model) -> None:
    """``graph``, lowered and run in float64, gives what ONNX Runtime makes of ``proto``."""
    inputs = random_inputs(proto)
    program = lowering.lower(graph, name="small")
    check(program, "lowered")
    for got, want in zip(
        reference.run(program, *inputs.values()), onnx_runtime(proto, inputs), strict=True
    ):
        assert_close(got, want)
