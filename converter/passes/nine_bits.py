"""Layers whose weights need a ninth bit, as those of asymmetric uint8 do, become layers of int8.

1. A weight of -255 to 254 steps is the sum of two of int8, and so a layer on its input and, again,
   those channels of it that have such weights: Conv(Concat(x, x[channels]), [a, b]). The sums are
   the same integers, so nothing changes; few weights are that large.
2. A depthwise convolution is cut: runs of channels that fit, and by themselves those that do not,
   as convolutions of two channels.
3. What would be cut into more than MOST pieces, grouped convolutions that are not depthwise and
   weights of more steps stay as they are, to compute in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.passes.graph import constant, dims, initializer
from filigree.converter.passes.quantized import LAYERS, add_scales, int8_weights
from filigree.converter.quantize import marks

Array = NDArray[Any]
MOST = 16
LARGEST = 127
WIDEST = 254  # and -255: the sum of two of int8


def apply(model: ir.Model) -> bool:
    """Rewrite every such layer that can be; ``quantized`` has marked what is int8."""
    changed = False
    for node in list(model.graph):
        if node.op_type not in LAYERS or len(node.inputs) > marks.ROW_SCALES:
            continue
        found = int8_weights(node, most=WIDEST)
        if found is not None:
            changed |= _Layer(model, node, *found).rewrite()
    return changed


class _Layer:
    """``steps``: the weights as whole numbers; ``axis``: of their rows; ``scale`` [rows]."""

    def __init__(
        self, model: ir.Model, node: ir.Node, steps: Array, axis: int, scale: Array
    ) -> None:
        self.model, self.node = model, node
        self.steps, self.axis, self.scale = steps, axis, scale
        value = node.inputs[0]
        assert value is not None  # it is marked
        self.x = value

    def rewrite(self) -> bool:
        groups = self.node.attributes.get_int("group", 1)
        low = np.clip(self.steps, -LARGEST, LARGEST)
        high = self.steps - low
        if self.node.op_type != "Conv" or groups == 1:
            return self._widened(low, high)
        if groups == self.steps.shape[0] == dims(self.x)[1]:
            return self._cut(low, high)
        return False

    def _widened(self, low: Array, high: Array) -> bool:
        """Rule 1."""
        taken = 1 - self.axis  # the axis of the weights' columns
        kept = tuple(a for a in range(high.ndim) if a != taken)
        runs = _runs(np.asarray(high.any(axis=kept)))
        if len(runs) > MOST:
            runs = [(runs[0][0], runs[-1][1])]
        axis = len(dims(self.x)) - 1 if self.node.op_type == "MatMul" else 1
        parts = [self._sliced(start, end, axis) for start, end in runs]
        columns = np.concatenate([np.arange(start, end) for start, end in runs])
        whole = np.concatenate([low, np.take(high, columns, axis=taken)], axis=taken)
        self.node.replace_input_with(0, self._joined([self.x, *parts], axis))
        self.node.replace_input_with(1, self._weights(whole, self.scale))
        add_scales(self.model, self.node)
        return True

    def _cut(self, low: Array, high: Array) -> bool:
        """Rule 2."""
        large = np.asarray(high.any(axis=(1, 2, 3)))
        alone = [(int(i), int(i) + 1) for i in np.flatnonzero(large)]
        pieces = sorted([*_runs(~large), *alone])
        if len(pieces) > MOST:
            return False
        outs = [self._piece(low, high, start, end) for start, end in pieces]
        old = self.node.outputs[0]
        joined = self._joined(outs, 1, like=old)
        name = old.name
        old.replace_all_uses_with(joined, replace_graph_outputs=True)
        graph = self.node.graph
        assert graph is not None
        graph.remove(self.node, safe=True)
        joined.name = name
        return True

    def _piece(self, low: Array, high: Array, start: int, end: int) -> ir.Value:
        """The channels from ``start`` to ``end``."""
        node, out = self.node, self.node.outputs[0]
        x, steps, groups = self._sliced(start, end, 1), low[start:end], end - start
        if high[start:end].any():
            x = self._joined([x, x], 1)
            steps, groups = np.concatenate([steps, high[start:end]], axis=1), 1
        inputs = [x, self._weights(steps, self.scale[start:end])]
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is not None:
            inputs.append(initializer(self.model, out, bias.reshape(-1)[start:end]))
        kept = [a for name, a in node.attributes.items() if name != "group"]
        kept.append(ir.AttrInt64("group", groups))
        made = ir.Node("", "Conv", inputs, attributes=kept, name=f"{node.name}[{start}:{end}]")
        shape = (dims(out)[0], end - start, *dims(out)[2:])
        value = self._add(made, f"{out.name}.{start}", shape, marks.mark_of(out))
        add_scales(self.model, made)
        return value

    def _weights(self, steps: Array, scale: Array) -> ir.Value:
        """A constant of so many steps of its rows' scales."""
        old = self.node.inputs[1]
        assert old is not None
        by = scale.reshape([-1 if a == self.axis else 1 for a in range(steps.ndim)])
        value = initializer(self.model, old, (steps * by).astype(np.float32))
        marks.set_grid(value, marks.Grid(scale, self.axis))
        return value

    def _sliced(self, start: int, end: int, axis: int) -> ir.Value:
        bounds = [
            initializer(self.model, self.x, np.array([n], np.int64)) for n in (start, end, axis)
        ]
        made = ir.node("Slice", [self.x, *bounds], name=f"{self.node.name}.slice{start}")
        shape = tuple(end - start if a == axis else n for a, n in enumerate(dims(self.x)))
        name = f"{self.node.outputs[0].name}.in{start}"
        return self._add(made, name, shape, marks.mark_of(self.x))

    def _joined(
        self, parts: Sequence[ir.Value], axis: int, *, like: ir.Value | None = None
    ) -> ir.Value:
        """``like``: the value that the result takes the place of."""
        made = ir.node("Concat", parts, {"axis": axis}, name=f"{self.node.name}.concat")
        count = sum(dims(part)[axis] for part in parts)
        shape = tuple(count if a == axis else n for a, n in enumerate(dims(parts[0])))
        name = f"{parts[0].name}.joined"
        value = self._add(made, name, shape, marks.mark_of(parts[0]))
        if like is not None:
            marks.set_port_dtype(value, marks.port_dtype(like))
        return value

    def _add(
        self, made: ir.Node, name: str, shape: tuple[int, ...], quant: marks.Quant | None
    ) -> ir.Value:
        value = made.outputs[0]
        value.name, value.shape = name, ir.Shape(shape)
        value.type = ir.TensorType(ir.DataType.FLOAT)
        marks.mark(value, quant)
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, made)
        return value


def _runs(wanted: Array) -> list[tuple[int, int]]:
    """Start and end of every run of neighbours that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], wanted.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
