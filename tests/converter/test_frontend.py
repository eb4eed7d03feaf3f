"""The ONNX front end: what it makes of good files, and what it refuses with which reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from filigree.converter import ConvertOptions, convert
from filigree.converter.errors import BadFile, UnsupportedModel
from filigree.converter.frontends import onnx as frontend
from filigree.converter.frontends.proto_check import OLDEST_OPSET
from filigree.converter.passes.graph import constant
from filigree.native import enums as c
from tests.converter.small import model

NEWEST_OPSET = onnx.defs.onnx_opset_version()
WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def simple(**options: int) -> onnx.ModelProto:
    return model("y = MatMul(x, w)", inputs={"x": (1, 2)}, w=WEIGHT, **options)  # type: ignore[arg-type]  # opset alone


def problem_of(proto: onnx.ModelProto, folder: Path) -> UnsupportedModel:
    with pytest.raises(UnsupportedModel) as raised:
        frontend.load(saved(proto, folder))
    return raised.value


def external(proto: onnx.ModelProto, location: str, **entries: str) -> onnx.ModelProto:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return proto


# --- names ---


def test_the_files_name_travels(tmp_path: Path) -> None:
    graph = frontend.load(saved(simple(), tmp_path))
    assert frontend.source_of(graph) == "model.onnx"


def test_nodes_keep_their_names_or_get_one(tmp_path: Path) -> None:
    nodes = ("[mine] a = Relu(x)", "b = Relu(a)", "[Relu_3] d = Relu(b)", "y = Relu(d)")
    graph = frontend.load(saved(model(*nodes, inputs={"x": (1,)}), tmp_path))
    names = [node.name for node in graph.graph]
    assert names == ["mine", "Relu_1", "Relu_3", "Relu_3_"]


def test_names_that_are_given_never_collide(tmp_path: Path) -> None:
    nodes = ("[Relu_2_] a = Relu(x)", "[Relu_2] b = Relu(a)", "y = Relu(b)")
    graph = frontend.load(saved(model(*nodes, inputs={"x": (1,)}), tmp_path))
    names = [node.name for node in graph.graph]
    assert names[:2] == ["Relu_2_", "Relu_2"] and len(set(names)) == 3


# --- external data ---


@pytest.mark.parametrize(
    "entries",
    [{}, {"offset": "8"}, {"offset": "0", "length": "24"}, {"offset": "8", "length": "24"}],
)
def test_external_data(entries: dict[str, str], tmp_path: Path) -> None:
    before = b"\xff" * int(entries.get("offset", "0"))
    (tmp_path / "weights.bin").write_bytes(before + WEIGHT.tobytes())
    path = saved(external(simple(), "weights.bin", **entries), tmp_path)
    graph = frontend.load(path, external_data=True)
    found = constant(graph.graph.initializers["w"])
    assert found is not None and np.array_equal(found, WEIGHT)


def test_a_converted_model_is_the_same_with_external_data(tmp_path: Path) -> None:
    inside = convert(saved(simple(), tmp_path)).program
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    path = saved(external(simple(), "weights.bin"), tmp_path)
    outside = convert(path, options=ConvertOptions(external_data=True)).program
    (a,), (b,) = inside.weights.values(), outside.weights.values()
    assert np.array_equal(a.matrix, b.matrix)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"offset": "one"}, "is not a number"),
        ({"length": "12"}, "needs 24"),
        ({"offset": "-4"}, "offset -4"),
        ({"offset": "1"}, "has 24 bytes, needs 25"),
    ],
)
def test_external_data_that_does_not_fit(
    entries: dict[str, str], text: str, tmp_path: Path
) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    path = saved(external(simple(), "weights.bin", **entries), tmp_path)
    with pytest.raises(BadFile, match="external data that cannot be used") as raised:
        frontend.load(path, external_data=True)
    assert text in raised.value.lines[0] and 'tensor "w"' in raised.value.lines[0]


# --- opsets ---


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 13, NEWEST_OPSET])
def test_opsets_that_are_read(opset: int, tmp_path: Path) -> None:
    path = saved(simple(opset=opset), tmp_path)
    assert len(convert(path).program.ops) > 0


@pytest.mark.parametrize("opset", [1, OLDEST_OPSET - 1, NEWEST_OPSET + 1, 2**31 - 1])
def test_opsets_that_are_not(opset: int, tmp_path: Path) -> None:
    error = problem_of(simple(opset=opset), tmp_path)
    assert f"opset {opset}; {OLDEST_OPSET} to {NEWEST_OPSET} are supported" in str(error)


def test_another_domain_is_judged_by_its_operators(tmp_path: Path) -> None:
    proto = simple()
    proto.opset_import.append(helper.make_opsetid("com.example", 900))
    assert len(convert(saved(proto, tmp_path)).program.ops) > 0


# --- what no later stage can take ---


def test_functions(tmp_path: Path) -> None:
    proto = model("y = com.example.Twice(x)", inputs={"x": (1,)})
    body = [onnx.parser.parse_node("b = Add(a, a)")]
    proto.functions.append(
        helper.make_function("com.example", "Twice", ["a"], ["b"], body, proto.opset_import)
    )
    error = problem_of(proto, tmp_path)
    assert [(p.op, p.reason) for p in error.problems] == [("Twice", "a model-local function")]


def test_everything_at_once(tmp_path: Path) -> None:
    branch = helper.make_graph([], "b", [], [helper.make_tensor_value_info("x", 1, (1,))])
    proto = model("[fork] y = Relu(x)", inputs={"x": (1,)}, opset=3)
    proto.graph.node[0].attribute.append(helper.make_attribute("then_branch", branch))
    error = problem_of(proto, tmp_path)
    assert [p.reason for p in error.problems] == [
        "control flow",
        f"opset 3; {OLDEST_OPSET} to {NEWEST_OPSET} are supported",
    ]


@pytest.mark.parametrize("kind", ["INT64", "INT8", "DOUBLE", "FLOAT16", "BOOL"])
def test_inputs_of_other_types_are_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    proto = model("y = Identity(x)", inputs={"x": (1, 4), "z": (1, 4)}, outputs=("y", "z"))
    for value in proto.graph.input:
        value.type.tensor_type.elem_type = getattr(TensorProto, kind)
    proto.graph.output[0].type.CopyFrom(proto.graph.input[0].type)
    with pytest.raises(UnsupportedModel) as raised:
        convert(saved(proto, tmp_path))
    assert [p.node for p in raised.value.problems if p.op == "input"] == ["x", "z"]
    assert f"takes {kind.lower()}; float32 and uint8 are supported" in str(raised.value)


@pytest.mark.parametrize(
    "nodes", [("y = Shape(x)",), ("s = Shape(x)", "y = Identity(s)"), ("y = IsNaN(x)",)]
)
def test_outputs_of_other_types_are_refused(nodes: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel):
        convert(saved(model(*nodes, inputs={"x": (1, 4)}), tmp_path))


# --- structure ---


def test_types_that_the_file_records_a_second_time_are_not_read(tmp_path: Path) -> None:
    wrong = helper.make_tensor_value_info
    proto = model("y = MatMul(x, w)", inputs={"x": (1, 2)}, outputs=("y", "x", "w"), w=WEIGHT)
    proto.graph.value_info.append(wrong("w", TensorProto.FLOAT, (7, 7)))
    proto.graph.value_info.append(wrong("y", TensorProto.INT8, (7, 7)))
    proto.graph.input.append(wrong("w", TensorProto.FLOAT, (9,)))
    proto.graph.output[1].CopyFrom(wrong("x", TensorProto.INT64, (5,)))
    proto.graph.output[2].CopyFrom(wrong("w", TensorProto.FLOAT, (1, 6)))
    program = convert(saved(proto, tmp_path)).program
    assert [port.shape for port in program.outputs] == [(1, 3), (1, 2), (2, 3)]


def test_an_input_over_the_caps_is_named(tmp_path: Path) -> None:
    proto = model("y = Relu(x)", inputs={"x": (1, c.FIL_MAX_DIM + 1)})
    with pytest.raises(BadFile, match=f"must be 1 to {c.FIL_MAX_DIM}"):
        frontend.load(saved(proto, tmp_path))


def test_a_long_list_of_faults_is_cut(tmp_path: Path) -> None:
    nodes = [f"v{i} = Relu(missing{i})" for i in range(30)]
    proto = model(*nodes, "y = Relu(x)", inputs={"x": (1,)})
    with pytest.raises(BadFile) as raised:
        frontend.load(saved(proto, tmp_path))
    assert len(raised.value.lines) == 21 and raised.value.lines[-1] == "and 10 more"


def test_a_node_without_outputs(tmp_path: Path) -> None:
    proto = simple()
    proto.graph.node.add(op_type="Relu", input=["x"], name="nothing")
    path = saved(proto, tmp_path)
    assert len(convert(path).program.ops) > 0
