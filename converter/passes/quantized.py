"""QuantizeLinear and DequantizeLinear around operators become marks (``quantize.marks``).

1. QuantizeLinear to int8 or uint8 with one constant scale becomes an Identity with a marked result;
   uint8 becomes int8 by a zero point 128 lower. DequantizeLinear with the same scale and zero point
   goes. An int8 or uint8 input of the model is marked as what first dequantises it says, behind
   what moves or selects elements; it and such an output keep their type.
2. What only moves or selects elements, Relu among it, hands the mark on; that goes for integers
   between the two, too.
3. If nothing else reads what was quantised, the node that makes it makes the marked value.
4. A mark on the result of an operator that commutes with rounding (Relu, Clip, MaxPool, what moves
   elements) also goes to its input if nothing else reads that: the function does not change.
5. A layer with marks on both sides and constant weights on a symmetric grid of its rows gets a
   fourth input: the scale of each row. Any other layer is left to ``nine_bits``, or computes in
   float32.
6. A scale that is not a positive number, or a zero point of another range, contradicts the model.
   Integers of more bits, a scale for each channel of an activation, or integers that are read with
   another scale than they were written with, stay, and are refused later.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.errors import BadFile
from filigree.converter.frontends.onnx import source_of
from filigree.converter.passes.graph import bypass, constant, initializer
from filigree.converter.quantize import marks
from filigree.converter.quantize.marks import Quant

KIND = "filigree.kind"  # of the integers that a marked value was: int8 or uint8
INTEGERS: dict[ir.DataType | None, str] = {ir.DataType.INT8: "int8", ir.DataType.UINT8: "uint8"}
LAYERS = ("Conv", "Gemm", "MatMul")
MOVES = frozenset(
    [
        "Concat",
        "Expand",
        "Flatten",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    ]
)
SELECTS = MOVES | {"MaxPool"}
COMMUTES = SELECTS | {"Relu", "Clip"}


def apply(model: ir.Model) -> bool:
    """Turn a quantised model into a marked one. Raises BadFile."""
    if not any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in model.graph):
        return False
    problems: list[str] = []
    for value in model.graph.inputs:
        _enter(value)
    for node in list(model.graph):
        try:
            _read(node)
        except ValueError as error:
            problems.append(f'node "{node.name}" ({node.op_type}): {error}')
    if problems:
        raise BadFile(f"{source_of(model)} contradicts itself", problems)
    for node in list(model.graph):
        _settle(node)
    for node in reversed(list(model.graph)):
        _hand_back(node)
    for node in list(model.graph):
        _hand_on(node)
        if node.op_type in LAYERS:
            add_scales(model, node)
    return True


def _enter(value: ir.Value) -> None:
    """Rule 1, of an input."""
    node = _dequantizer(value) if value.dtype in INTEGERS else None
    found = _params(node, INTEGERS.get(value.dtype)) if node is not None else None
    if found is not None:
        _become(value, found)


def _dequantizer(value: ir.Value) -> ir.Node | None:
    """The DequantizeLinear that first reads integers, moved or as they are."""
    for use in value.uses():
        node = use.node
        if node.op_type == "DequantizeLinear":
            return node
        if node.op_type in SELECTS and use.idx == 0:
            found = next(filter(None, map(_dequantizer, node.outputs)), None)
            if found is not None:
                return found
    return None


def _read(node: ir.Node) -> None:
    """Rules 1 and 2, in the order of the graph."""
    if node.op_type == "QuantizeLinear":
        _quantize(node)
    elif node.op_type == "DequantizeLinear":
        _dequantize(node)
    elif node.op_type in SELECTS:
        given = marks.mark_of(node.inputs[0])
        for value in node.outputs:
            if given is not None and value.dtype in INTEGERS:
                _become(value, given)


def _quantize(node: ir.Node) -> None:
    x, kind = node.inputs[0], INTEGERS.get(node.outputs[0].dtype)
    found = _params(node, kind)
    if found is not None and x is not None and x.dtype == ir.DataType.FLOAT:
        _replace(node, x, found, kind)


def _dequantize(node: ir.Node) -> None:
    x, out = node.inputs[0], node.outputs[0]
    if x is None or out.dtype != ir.DataType.FLOAT:
        return
    found = _params(node, INTEGERS.get(x.dtype) or x.meta.get(KIND))
    if found is None:
        return
    if marks.mark_of(x) != found:
        return
    if out.is_graph_output():
        _replace(node, x, found, None)
    else:
        bypass(node, x)


def _become(value: ir.Value, quant: Quant) -> None:
    """An integer value is a marked one from now on."""
    kind = INTEGERS[value.dtype]
    marks.mark(value, quant)
    value.meta[KIND] = kind
    if value.producer() is None or value.is_graph_output():
        marks.set_port_dtype(value, kind)
    value.type = ir.TensorType(ir.DataType.FLOAT)


def _replace(node: ir.Node, x: ir.Value, quant: Quant, kind: str | None) -> None:
    """An Identity with a marked result in the place of ``node``, whose integers, if its result is
    one of them, are of ``kind``."""
    old = node.outputs[0]
    new = ir.node("Identity", [x], name=node.name)
    made, name = new.outputs[0], old.name
    made.shape, made.type = old.shape, ir.TensorType(ir.DataType.FLOAT)
    marks.mark(made, quant)
    if kind is not None:
        made.meta[KIND] = kind
        if old.is_graph_output():
            marks.set_port_dtype(made, kind)
    assert node.graph is not None
    node.graph.insert_before(node, new)
    bypass(node, made)
    made.name = name


def _params(node: ir.Node, kind: str | None) -> Quant | None:
    """Scale and zero point of a node for integers of ``kind``; None if they are not those of a
    whole tensor of eight bits. Raises ValueError for numbers that cannot be."""
    scale = constant(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    zero = constant(given) if given is not None else np.zeros((), kind)
    if kind is None or scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    if scale.dtype != np.float32 or zero.dtype != np.dtype(kind):
        return None
    shift = 128 if kind == "uint8" else 0
    return marks.quant(float(scale.reshape(())), int(zero.reshape(())) - shift)


def _settle(node: ir.Node) -> None:
    """Rule 3."""
    x = node.inputs[0] if node.inputs else None
    out = node.outputs[0] if node.outputs else None
    if node.op_type != "Identity" or x is None or out is None or marks.mark_of(out) is None:
        return
    if marks.mark_of(x) is None and _read_by(x) is node and x.producer() is not None:
        marks.mark(x, marks.mark_of(out))
        marks.set_port_dtype(x, marks.port_dtype(out))
        bypass(node, x)


def _hand_back(node: ir.Node) -> None:
    """Rule 4."""
    quant = marks.mark_of(node.outputs[0]) if node.outputs else None
    if node.op_type not in COMMUTES or quant is None or len(node.outputs) > 1:
        return
    given = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    for x in given:
        if x is None or marks.mark_of(x) is not None or x.producer() is None:
            continue
        if _read_by(x) is node:
            marks.mark(x, quant)


def _hand_on(node: ir.Node) -> None:
    """Rule 2, of floats."""
    if node.op_type not in (*MOVES, "MaxPool", "Relu"):
        return
    given = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    found = {marks.mark_of(x) for x in given}
    for value in node.outputs:
        if marks.mark_of(value) is None and len(found) == 1:
            marks.mark(value, next(iter(found)))


def _read_by(value: ir.Value) -> ir.Node | None:
    """The one node that reads the value, if the model does not give it out."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def add_scales(model: ir.Model, node: ir.Node) -> None:
    """Rule 5."""
    found, given = int8_weights(node), node.inputs[1]
    if found is None or given is None:
        return
    value = initializer(model, given, found[2])
    node.resize_inputs(marks.ROW_SCALES + 1)
    node.replace_input_with(marks.ROW_SCALES, value)


def int8_weights(
    node: ir.Node, *, most: int = marks.HIGH
) -> tuple[NDArray[Any], int, NDArray[np.float32]] | None:
    """The weights of a layer with marks on both sides, in steps of -``most`` - 1 to ``most``, the
    axis of their rows and the scale of each; None if they are no such layer's."""
    if marks.mark_of(node.inputs[0]) is None or marks.mark_of(node.outputs[0]) is None:
        return None
    if any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return None
    given = node.inputs[1]
    weight, grid = constant(given), marks.grid_of(given)
    if given is None or weight is None or grid is None or weight.ndim < 2:
        return None
    axis = _row_axis(node, weight.ndim)
    scale = _by_row(grid, weight.shape[axis], axis)
    if scale is None:
        return None
    steps = np.rint(weight / scale.reshape([-1 if a == axis else 1 for a in range(weight.ndim)]))
    return (steps, axis, scale) if steps.min() >= -most - 1 and steps.max() <= most else None


def _row_axis(node: ir.Node, rank: int) -> int:
    if node.op_type == "Conv" or node.attributes.get_int("transB", 0) == 1:
        return 0
    return rank - 1


def _by_row(grid: marks.Grid, rows: int, axis: int) -> NDArray[np.float32] | None:
    """A scale for each row, if that is how the grid is."""
    if grid.scale.size not in (1, rows) or (grid.scale.size > 1 and grid.axis != axis):
        return None
    scale = np.broadcast_to(grid.scale.astype(np.float32), (rows,)).copy()
    return scale if np.isfinite(scale).all() and (scale > 0).all() else None
