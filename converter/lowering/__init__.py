"""The graph becomes a program: operators to operations, then fusion.

1. Inputs are the caller's buffers, in NCHW or NHWC as asked.
2. Each node is lowered by the function of its operator (``operators``); values become views, so
   that reshaping, transposing and slicing cost nothing.
3. Outputs are copied to the caller's buffers.
4. ``fuse`` removes the copies and element-wise operations that another operation can do.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from filigree.converter.errors import Unsupported, UnsupportedModel
from filigree.converter.frontends.onnx import source_of
from filigree.converter.lowering.builder import Builder, Refused, free_name
from filigree.converter.lowering.fuse import fuse
from filigree.converter.lowering.operators.shaping import is_to_nchw
from filigree.converter.lowering.program import LANES, Place, Port, Program, Tensor
from filigree.converter.lowering.view import View, row_major
from filigree.converter.passes.graph import cut_before, dims
from filigree.converter.quantize.marks import PLAIN, Quant, mark_of, port_dtype
from filigree.native import enums as c

TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
TYPES = {ir.DataType.FLOAT: "float32", ir.DataType.UINT8: "uint8"}
"""What inputs may be of."""


def supported_ops() -> dict[str, str]:
    """Every supported ONNX operator, and which forms of it."""
    from filigree.converter.lowering.operators import OPERATORS

    return {name: operator.note for name, operator in OPERATORS.items()}


def lower(
    model: ir.Model, *, name: str, input_layout: str | None = None, lanes: int = LANES
) -> Program:
    """The program of a graph that went through ``passes``.

    ``input_layout`` ("NCHW", "NHWC"): how the caller gives images, None: as the model has them.
    ``lanes``: planes are padded to a multiple of so many elements: 1, 4, 8 or 16.
    Raises UnsupportedModel with every form that cannot be lowered.
    """
    from filigree.converter.lowering.operators import OPERATORS

    builder = Builder(lanes=lanes)
    problems = [p for v in model.graph.inputs for p in _input_problems(v)]
    problems += [p for v in model.graph.outputs for p in _output_problems(v)]
    if problems:
        raise UnsupportedModel.of(source_of(model), problems)
    for value in model.graph.inputs:
        _add_input(builder, value, input_layout)
    lost: set[str] = set()
    for node in model.graph:
        if any(v is not None and v.name in lost for v in node.inputs):
            lost |= {v.name or "" for v in node.outputs}
            continue
        builder.node = node.name or node.op_type
        try:
            _check_type(node)
            OPERATORS[node.op_type].lower(builder, node)
            for value in node.outputs:
                builder.settle(value)
        except Refused as refused:
            problems.append(Unsupported(node.op_type, builder.node, str(refused), cut_before(node)))
            lost |= {v.name or "" for v in node.outputs}
    if problems:
        raise UnsupportedModel.of(source_of(model), problems)
    for value in model.graph.outputs:
        _add_output(builder, value)
    return _within_caps(fuse(builder.program(name)), source_of(model))


def _input_problems(value: ir.Value) -> list[Unsupported]:
    name = value.name or ""
    kind = str(value.dtype).lower()
    if value.dtype not in TYPES:
        return [Unsupported("input", name, f"takes {kind}; float32 and uint8 are supported")]
    if value.dtype == ir.DataType.UINT8 and any(u.node.op_type != "Cast" for u in value.uses()):
        return [Unsupported("input", name, f"takes {kind}, which only Cast may read")]
    shape = dims(value)
    if any(n > c.FIL_MAX_DIM for n in shape) or math.prod(shape) > c.FIL_MAX_ELEMENTS:
        return [Unsupported("input", name, f"{list(shape)} is over the packed model's caps")]
    return []


def _output_problems(value: ir.Value) -> list[Unsupported]:
    if value.producer() is not None or value.dtype == ir.DataType.FLOAT:
        return []  # what nodes make is judged with them
    kind = str(value.dtype).lower()
    return [Unsupported("output", value.name or "", f"is {kind}; only float32 is supported")]


def _add_input(b: Builder, value: ir.Value, layout: str | None) -> None:
    name, shape = value.name or "", dims(value)
    swap = _swap(value, layout)
    stored = tuple(shape[a] for a in swap) if swap else shape
    split = max(0, len(stored) - 1) if swap else min(2, max(0, len(stored) - 1))
    positions = math.prod(stored[split:])
    dtype, quant = _port_type(value)
    b.tensors[name] = Tensor(name, stored, split, positions, Place.INPUT, None, dtype, quant)
    b.inputs.append(Port(name, name, stored))
    view = View(name, 0, stored, row_major(stored))
    view = view.transpose([swap.index(a) for a in range(4)]) if swap else view
    if dtype == "uint8" and value.dtype != ir.DataType.UINT8:
        own = b.allocate(f"{name}.int8", view.shape, like=view, quant=mark_of(value))
        b.map(c.FIL_MAP_COPY, [view], own)
        view = own
    b.values[name] = view
    b.settle(value)


def _port_type(value: ir.Value) -> tuple[str, Quant | None]:
    """The element type of the caller's buffer, and what its integers stand for."""
    if value.dtype == ir.DataType.UINT8:
        return "uint8", PLAIN
    dtype, quant = port_dtype(value), mark_of(value)
    if dtype == "float32" or quant is None:
        return "float32", None
    return dtype, quant if dtype == "int8" else Quant(quant.scale, quant.zero + 128)


def _swap(value: ir.Value, layout: str | None) -> tuple[int, int, int, int] | None:
    """The order of the caller's axes, where it is not the model's."""
    if layout is None or len(dims(value)) != 4:
        return None
    readers = [use.node for use in value.uses()]
    own = "NHWC" if readers and all(is_to_nchw(node) for node in readers) else "NCHW"
    if layout == own:
        return None
    return TO_NHWC if layout == "NHWC" else TO_NCHW


def _check_type(node: ir.Node) -> None:
    if node.op_type == "QuantizeLinear":
        return  # one that is still here is refused with a better reason
    for value in node.outputs:
        is_read = bool(value.name) and (bool(value.uses()) or value.is_graph_output())
        if is_read and value.dtype not in (ir.DataType.FLOAT, None):
            raise Refused(f"its result is {str(value.dtype).lower()}, not float32")


def _add_output(b: Builder, value: ir.Value) -> None:
    name = value.name or ""
    shape = dims(value)
    b.node = name
    source = b.stored(value)
    tensor = free_name(f"{name}.out" if name in b.tensors else name, b.tensors)
    dtype, quant = _port_type(value)
    size = math.prod(shape)
    b.tensors[tensor] = Tensor(tensor, shape, 0, size, Place.OUTPUT, None, dtype, quant)
    b.map(c.FIL_MAP_COPY, [source], View(tensor, 0, shape, row_major(shape)))
    b.outputs.append(Port(name, tensor, shape))


def _within_caps(program: Program, source: str) -> Program:
    counts = {
        "tensors": (len(program.tensors), c.FIL_MAX_TENSORS),
        "operations": (len(program.ops), c.FIL_MAX_OPS),
        "weight matrices": (len(program.weights), c.FIL_MAX_WEIGHTS),
        "inputs and outputs": (len(program.inputs) + len(program.outputs), c.FIL_MAX_IO),
    }
    over = [f"{have} {what}, at most {cap}" for what, (have, cap) in counts.items() if have > cap]
    over += [
        f'"{port.name}" has rank {len(port.shape)}, at most {c.FIL_MAX_RANK}'
        for port in (*program.inputs, *program.outputs)
        if len(port.shape) > c.FIL_MAX_RANK
    ]
    if over:
        raise UnsupportedModel(f"{source} is larger than a packed model can be", over)
    return program
