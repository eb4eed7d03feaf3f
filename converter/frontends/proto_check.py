"""What is wrong with the structure of an ONNX file, before anything of it is used.

1. There is a graph with outputs; every name is defined once, and before it is used.
2. Every tensor, wherever it hides, has a known type, dims within the format's caps, and exactly the
   bytes that its dims need.
3. Inputs are tensors with dims that are positive (or open) and within the caps.
4. Window attributes make sense: strides, dilations and groups are positive, pads are not negative.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

from filigree.converter.errors import Unsupported
from filigree.native import enums as c

MAX_NODES = c.FIL_MAX_OPS
OLDEST_OPSET = 7
MOST_FAULTS = 20
TYPED_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.STRING: "string_data",
}
POSITIVE = ("strides", "dilations", "kernel_shape")
WINDOWS = ("Conv", "MaxPool", "AveragePool", "ConvTranspose", "LpPool")


def faults(proto: onnx.ModelProto) -> list[str]:
    """All that is wrong, at most MOST_FAULTS lines."""
    found = [*_graph(proto)]
    if not found:
        found = [*_names(proto.graph), *_tensors(proto), *_inputs(proto.graph)]
        found += _windows(proto.graph)
    left_out = len(found) - MOST_FAULTS
    return [*found[:MOST_FAULTS], f"and {left_out} more"] if left_out > 0 else found


def unsupported(proto: onnx.ModelProto) -> list[Unsupported]:
    """Valid ONNX that no later stage can take: control flow, functions, foreign opsets."""
    found = []
    for i, node in enumerate(proto.graph.node):
        if any(_subgraphs(a) for a in node.attribute):
            found.append(Unsupported(node.op_type, _node(i, node), "control flow"))
    found += [Unsupported(f.name, f.name, "a model-local function") for f in proto.functions]
    newest = onnx.defs.onnx_opset_version()
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and not OLDEST_OPSET <= entry.version <= newest:
            reason = f"opset {entry.version}; {OLDEST_OPSET} to {newest} are supported"
            found.append(Unsupported("opset", proto.graph.name, reason))
    if proto.graph.sparse_initializer:
        name = proto.graph.sparse_initializer[0].values.name
        found.append(Unsupported("sparse_initializer", name, "weights in ONNX's sparse form"))
    return found


def tensors(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every tensor of the file with where it is, sparse parts and attributes included."""
    for tensor in proto.graph.initializer:
        yield f'tensor "{tensor.name}"', tensor
    for sparse in proto.graph.sparse_initializer:
        yield f'sparse tensor "{sparse.values.name}"', sparse.values
        yield f'indices of sparse tensor "{sparse.values.name}"', sparse.indices
    for i, node in enumerate(proto.graph.node):
        for a in node.attribute:
            where = f'attribute {a.name} of node "{_node(i, node)}"'
            for tensor in (*([a.t] if a.HasField("t") else []), *a.tensors):
                yield where, tensor
            for sparse in (
                *([a.sparse_tensor] if a.HasField("sparse_tensor") else []),
                *a.sparse_tensors,
            ):
                yield where, sparse.values
                yield where, sparse.indices


def location(tensor: onnx.TensorProto) -> str:
    """The file that an external tensor names."""
    return next((e.value for e in tensor.external_data if e.key == "location"), "")


def stored_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of the tensor's raw form (4-bit types are packed two to a byte)."""
    count: int = math.prod(tensor.dims)
    if tensor.data_type in _FOUR_BITS:
        return (count + 1) // 2
    element = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    size: int = count * element.itemsize
    return size


_FOUR_BITS = {
    getattr(TensorProto, name)
    for name in ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2")
    if hasattr(TensorProto, name)
}


def _graph(proto: onnx.ModelProto) -> Iterator[str]:
    graph = proto.graph
    if not proto.HasField("graph") or not (graph.node or graph.output):
        yield "it has no graph"
    elif not graph.output:
        yield "its graph has no outputs"
    elif not proto.opset_import:
        yield "it names no opset"
    elif sum(node.op_type != "Constant" for node in graph.node) > MAX_NODES:
        yield f"it has {len(graph.node)} nodes, at most {MAX_NODES} are allowed"


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    defined = {value.name for value in graph.input}
    defined |= {tensor.name for tensor in graph.initializer}
    defined |= {sparse.values.name for sparse in graph.sparse_initializer}
    if len(graph.input) != len({value.name for value in graph.input}):
        yield "two inputs have one name"
    if len(graph.initializer) != len({tensor.name for tensor in graph.initializer}):
        yield "two initializers have one name"
    for i, node in enumerate(graph.node):
        for name in node.input:
            if name and name not in defined:
                yield f'node "{_node(i, node)}" reads "{name}", which nothing before it makes'
        for name in node.output:
            if name and name in defined:
                yield f'node "{_node(i, node)}" makes "{name}", which exists already'
            defined.add(name)
    for value in graph.output:
        if value.name not in defined:
            yield f'output "{value.name}" is made by nothing'


def _tensors(proto: onnx.ModelProto) -> Iterator[str]:
    for where, tensor in tensors(proto):
        problem = _tensor(tensor)
        if problem:
            yield f"{where} {problem}"


def _tensor(tensor: onnx.TensorProto) -> str | None:
    if tensor.data_type not in TensorProto.DataType.values() or not tensor.data_type:
        return f"has the unknown type {tensor.data_type}"
    if any(dim < 0 for dim in tensor.dims) or math.prod(tensor.dims) > c.FIL_MAX_ELEMENTS:
        return f"has dims {list(tensor.dims)}: negative or over {c.FIL_MAX_ELEMENTS} elements"
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return None
    if tensor.HasField("raw_data"):
        have, need, unit = len(tensor.raw_data), stored_bytes(tensor), "bytes"
    else:
        have, need, unit = _typed_count(tensor)
    return None if have == need else f"has {have} {unit}, its dims need {need}"


def _typed_count(tensor: onnx.TensorProto) -> tuple[int, int, str]:
    count = math.prod(tensor.dims)
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 0, count, "complex values"
    if tensor.data_type in _FOUR_BITS:
        return len(tensor.int32_data), (count + 1) // 2, "packed values"
    field = TYPED_FIELDS.get(tensor.data_type) or "int32_data"
    return len(getattr(tensor, field)), count, "values"


def _inputs(graph: onnx.GraphProto) -> Iterator[str]:
    constant = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name in constant:
            continue
        if not value.type.HasField("tensor_type"):
            yield f'input "{value.name}" is not a tensor'
            continue
        element = value.type.tensor_type.elem_type
        if element not in TensorProto.DataType.values() or not element:
            yield f'input "{value.name}" has the unknown type {element}'
        yield from _input_dims(value)


def _input_dims(value: onnx.ValueInfoProto) -> Iterator[str]:
    dims = value.type.tensor_type.shape.dim
    if len(dims) > c.FIL_MAX_RANK:
        yield f'input "{value.name}" has {len(dims)} dims, at most {c.FIL_MAX_RANK} are allowed'
    known = [d.dim_value for d in dims if d.WhichOneof("value") == "dim_value"]
    if any(not 1 <= dim <= c.FIL_MAX_DIM for dim in known):
        yield f'input "{value.name}" has dims {known}: each must be 1 to {c.FIL_MAX_DIM}'
    elif math.prod(known) > c.FIL_MAX_ELEMENTS:
        yield f'input "{value.name}" has dims {known}: over {c.FIL_MAX_ELEMENTS} elements'


def _windows(graph: onnx.GraphProto) -> Iterator[str]:
    for i, node in enumerate(graph.node):
        if node.op_type not in WINDOWS:
            continue
        for a in node.attribute:
            problem = _window_problem(a)
            if problem:
                yield f'node "{_node(i, node)}" ({node.op_type}): {problem}'


def _window_problem(a: AttributeProto) -> str | None:
    values = list(a.ints)
    if a.name in POSITIVE and any(not 1 <= v <= 0xFFFF for v in values):
        return f"{a.name} {values} must be 1 to {0xFFFF}"
    if a.name == "pads" and any(not 0 <= v <= 0xFFFF for v in values):
        return f"pads {values} must be 0 to {0xFFFF}"
    if a.name == "group" and not 1 <= a.i <= c.FIL_MAX_DIM:
        return f"group {a.i} must be 1 to {c.FIL_MAX_DIM}"
    return None


def _subgraphs(a: AttributeProto) -> bool:
    return a.HasField("g") or bool(a.graphs)


def _node(i: int, node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type}_{i}"
