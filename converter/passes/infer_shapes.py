"""Infer every value's type and shape, node by node (ONNX's own rules), and check them.

1. A node whose inputs contradict its operator's rules is refused, with the rule's words.
2. Every shape must be static, positive and within the format's caps.
3. What follows a refused node is not judged, nor are foreign domains and what follows them.
4. Pools with ceil_mode have no windows that start in the padding: ONNX says so from opset 22 on,
   runtimes did so before.
"""

from __future__ import annotations

import math

import onnx
import onnx_ir as ir

from filigree.converter.errors import BadFile
from filigree.converter.frontends.onnx import source_of
from filigree.native import enums as c

POOLS = ("MaxPool", "AveragePool")
POOLS_SETTLED = 22  # the opset whose inference for pools says what runtimes do
MOST_DATA = 4096  # elements of a constant that inference may look at: shapes, axes, pads


def apply(model: ir.Model) -> bool:
    """Set type and shape of every node's outputs. Raises BadFile."""
    problems = []
    for node in model.graph:
        if any(v is not None and v.type is None for v in node.inputs):
            continue
        if node.domain not in ("", "ai.onnx"):
            continue  # refused by ``supported``
        problem = _infer(model, node)
        if problem:
            problems.append(f'node "{node.name}" ({node.op_type}): {problem}')
            for value in node.outputs:
                value.type = None
    if problems:
        raise BadFile(f"{source_of(model)} contradicts itself", problems)
    return True


def _infer(model: ir.Model, node: ir.Node) -> str | None:
    version = model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx", 1))
    if node.op_type in POOLS and node.attributes.get_int("ceil_mode", 0) != 0:
        version = max(version, POOLS_SETTLED)
    schema = onnx.defs.get_schema(node.op_type, version, "")
    given = {v.name: v for v in node.inputs if v is not None and v.name is not None}
    types = {name: _type_proto(value) for name, value in given.items()}
    data = {
        name: ir.serde.serialize_tensor(value.const_value)
        for name, value in given.items()
        if value.const_value is not None and value.const_value.size <= MOST_DATA
    }
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, ir.serde.serialize_node(node), types, data, ir_version=model.ir_version
        )
    except Exception as error:  # InferenceError, ValidationError, RuntimeError, OverflowError
        return _sentence(error)
    return _take(node, found)


def _take(node: ir.Node, found: dict[str, onnx.TypeProto]) -> str | None:
    for value in node.outputs:
        if not value.name:
            continue
        proto = found.get(value.name)
        if proto is None:
            return f'the type of "{value.name}" cannot be inferred'
        value.type = ir.serde.deserialize_type_proto_for_type(proto)
        value.shape = ir.serde.deserialize_type_proto_for_shape(proto)
        problem = _shape_problem(value)
        if problem:
            return problem
    return None


def _shape_problem(value: ir.Value) -> str | None:
    shape = value.shape
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return f'the shape of "{value.name}" depends on data'
    dims = [int(dim) for dim in shape if isinstance(dim, int)]
    if any(not 1 <= dim <= c.FIL_MAX_DIM for dim in dims):
        return f'"{value.name}" has dims {dims}: each must be 1 to {c.FIL_MAX_DIM}'
    if math.prod(dims) > c.FIL_MAX_ELEMENTS:
        return f'"{value.name}" has dims {dims}: over {c.FIL_MAX_ELEMENTS} elements'
    return None


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    assert value.type is not None
    proto = ir.serde.serialize_type(value.type)
    if value.shape is not None:
        ir.serde.serialize_shape_into(proto, value.shape)
    return proto


def _sentence(error: Exception) -> str:
    """The part of ONNX's message that says what is wrong."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return text.rpartition("] ")[2] or text
