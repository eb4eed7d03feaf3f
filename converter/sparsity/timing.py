"""What a layer costs in time on a target, at a density and in a pattern: for latency budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from filigree.converter.passes.graph import constant, dims
from filigree.converter.sparsity.axes import matrix_of
from filigree.converter.sparsity.cost import DENSE, CostTable, Shape, Window
from filigree.converter.sparsity.pattern import dense_block_rows
from filigree.native import enums as c

HEIGHTS = (1, 2, 4, 8)
"""Block rows that an automatic choice of pattern considers: those of the cost tables."""


@dataclass(frozen=True)
class Timer:
    """Predicted nanoseconds of layers by name; ``shapes`` as ``shape_of`` makes them."""

    table: CostTable
    shapes: dict[str, Shape]

    def at(self, name: str, density: float, *, block_rows: int) -> float:
        """The layer with ``density`` of its blocks stored, or dense if that is faster."""
        shape = self.shapes[name]
        if block_rows not in HEIGHTS:
            block_rows = max(h for h in HEIGHTS if h <= block_rows)
        blocks = max(1, math.ceil(density * -(-shape.rows // block_rows) * shape.cols))
        sparse = self.table.predict(shape, f"{block_rows}x1", blocks=blocks, block_rows=block_rows)
        return min(sparse, self.dense(name))

    def dense(self, name: str) -> float:
        """The layer stored dense."""
        shape = self.shapes[name]
        rows = dense_block_rows(shape.kind, shape.rows)
        blocks = -(-shape.rows // rows) * shape.cols
        return self.table.predict(shape, DENSE, blocks=blocks, block_rows=rows)


def shape_of(node: ir.Node) -> Shape:
    """The shape under which lowering will run a layer, for one sample."""
    rows, cols = matrix_of(node).shape
    out = dims(node.outputs[0])
    if node.op_type != "Conv":
        positions = math.prod(out[1:-1])
        kind = c.FIL_OP_SPMV if positions == 1 else c.FIL_OP_SPMM
        return Shape(kind, rows, cols, positions, positions)
    given, array = node.inputs[0], constant(node.inputs[1])
    assert given is not None and array is not None  # calibration.layers_of
    positions, width = math.prod(out[2:]), out[-1]
    strides = set(node.attributes.get_ints("strides", [1]))
    pointwise = set(array.shape[2:]) == {1} and strides == {1}
    kind = c.FIL_OP_SPMM if pointwise else c.FIL_OP_CONV
    stride = strides.pop() if len(strides) == 1 else 0
    window = Window(array.shape[-1], stride, stride or 1, dims(given)[1])
    return Shape(c.FIL_OP_SPMV if positions == 1 else kind, rows, cols, positions, width, window)
