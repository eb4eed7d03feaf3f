"""The ONNX graph under construction: where TFLite's values lie in it, and how they are held.

1. A value of rank 4 is held channels first, any other as TFLite has it. The graph's own inputs and
   outputs keep TFLite's order: a Transpose stands behind the one and before the other.
2. A quantised value is held as its integers under the tensor's name; operators read it behind a
   DequantizeLinear and hand their result to a QuantizeLinear.
3. An operator that cannot be written in ONNX becomes a node of the domain ``tflite`` that has the
   reason: it is refused with all others, or cut away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.frontends.tflite.file import Graph, Operator, Quantization, Tensor
from filigree.native import enums as c

Array = NDArray[Any]
OPSET = 17
IR_VERSION = 8
DOMAIN = "tflite"
MOST_INDICES = 2 * c.FIL_MAX_RANK  # axes, a shape, pads
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
HELD_AXIS = (0, 2, 3, 1)  # where axis i of [N, H, W, C] lies in [N, C, H, W]
REAL = {np.dtype(np.int8), np.dtype(np.uint8)}


class Refused(Exception):
    """A form of an operator that is not supported; the text says which."""


class Contradiction(Exception):
    """A file that contradicts itself; the text says where."""


class Names:
    """Names that are taken; each stem counts its copies, so that many of them are no work."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._copies: dict[str, int] = {}

    def free(self, name: str) -> str:
        """``name``, with a number if it is taken; it is taken from now on."""
        found = name
        while found in self._taken:
            self._copies[name] = self._copies.get(name, 0) + 1
            found = f"{name}.{self._copies[name]}"
        self._taken.add(found)
        return found

    def release(self, name: str) -> None:
        self._taken.discard(name)


class Builder:
    """Nodes and constants so far, and the ONNX value of every tensor."""

    def __init__(self, graph: Graph) -> None:
        self.tensors = list(graph.tensors)  # constants that operators make are entered here
        self.operator = Operator(-1, "", (), ())
        self._graph = graph
        self._nodes: list[ir.Node] = []
        self._constants: dict[str, ir.Value] = {}
        self._numbers: dict[str, ir.Value] = {}
        self._held: dict[int, ir.Value] = {}
        self._real: dict[int, ir.Value] = {}
        self._arranged: dict[tuple[int, str], ir.Value] = {}
        self._values = Names(tensor.name for tensor in graph.tensors)
        self._node_names = Names()
        self.made: dict[str, int] = {}
        """Which tensor a value holds, by its name in the graph."""
        self._inputs = [self._input(i) for i in graph.inputs]

    def shape(self, index: int) -> tuple[int, ...]:
        """As TFLite has it."""
        return self.tensors[index].shape

    def is_constant(self, index: int) -> bool:
        return self.tensors[index].data is not None

    def is_input(self, index: int) -> bool:
        """Whether it is one of the graph's."""
        return index in self._graph.inputs

    def input(self, index: int) -> ir.Value:
        """The graph's input, in TFLite's order."""
        return self._inputs[self._graph.inputs.index(index)]

    # --- nodes ---

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        *,
        main: bool = False,
        of: str | None = None,
        **attributes: Any,
    ) -> ir.Value:
        """One node and its result; ``main``: it takes the operator's name. ``of``: the name that
        others are made from, if that is not the operator's."""
        base = self._base() if of is None else of
        name = base if main else f"{base}.{op_type.lower()}"
        made = ir.node(op_type, inputs, attributes, name=self._node_names.free(name))
        made.outputs[0].name = self._values.free(f"{base}.{op_type.lower()}")
        self._nodes.append(made)
        return made.outputs[0]

    def number(self, value: float) -> ir.Value:
        """A constant float32 of rank 0."""
        return self._shared(f"number.{value!r}", np.array(value, np.float32))

    def integers(self, values: Sequence[int]) -> ir.Value:
        """A constant int64 vector."""
        name = "integers." + ".".join(map(str, values))
        return self._shared(name, np.array(values, np.int64))

    def refuse(self, reason: str) -> None:
        """Let a node that nothing can run stand for the operator."""
        op = self.operator
        inputs = [self._held[i] for i in op.inputs if i in self._held]
        attributes = {"reason": reason, "operator": op.index}
        name = f"{self.tensors[op.outputs[0]].name} (operator {op.index})"
        name = self._node_names.free(name)
        made = ir.Node(
            DOMAIN,
            op.kind,
            inputs,
            attributes=[ir.Attr(k, _KINDS[type(v)], v) for k, v in attributes.items()],
            num_outputs=len(op.outputs),
            name=name,
        )
        self._nodes.append(made)
        for i, value in zip(op.outputs, made.outputs, strict=True):
            value.name = self._values.free(f"{self.tensors[i].name}.refused")
            self.hold(i, value)

    # --- what operators read ---

    def real(self, index: int) -> ir.Value:
        """Tensor ``index`` in float32, held as values of its rank are."""
        if self.is_constant(index):
            return self.arranged(index, "held", held)
        self._check_real(index)
        if index in self._real:
            return self._real[index]
        value = self._held[index]
        quantization = self.tensors[index].quantization
        if quantization is not None and self.tensors[index].dtype in REAL:
            value = self._dequantized(index, value)
        self._real[index] = value
        return value

    def plain(self, index: int) -> ir.Value:
        """Tensor ``index`` in float32, in TFLite's order."""
        if self.is_constant(index):
            return self.arranged(index, "plain", lambda a: a)
        return self.turned(self.real(index), self.shape(index), TO_LAST)

    def operand(self, index: int, rank: int) -> ir.Value:
        """Tensor ``index`` in float32, to be broadcast against a value of ``rank``."""
        shape = self.shape(index)
        full = (1,) * (rank - len(shape)) + shape
        if not self.is_constant(index):
            return self.reshaped(self.real(index), shape, full)
        if math.prod(shape) == 1:
            return self.arranged(index, "scalar", lambda a: a.reshape(()))
        return self.arranged(index, f"rank{rank}", lambda a: held(a.reshape(full)))

    def arranged(
        self, index: int, how: str, arrange: Callable[[Array], Array], *, axis: int | None = None
    ) -> ir.Value:
        """Constant ``index`` in float32 and in another order, named ``how``. ``axis``: where the
        axis of its scales, if there are several, lies then; None: as ``arrange`` says."""
        key = (index, how)
        if key not in self._arranged:
            tensor = self.tensors[index]
            assert tensor.data is not None
            self._check_real(index)
            value = self._named(tensor, arrange(tensor.data))
            if tensor.quantization is not None and tensor.dtype.kind in "iu":
                if len(tensor.quantization.scale) > 1 and axis is None:
                    raise Refused(f'"{tensor.name}" has a scale per channel')
                scales = replace(tensor.quantization, axis=axis or 0)
                value = self._scaled("DequantizeLinear", value, scales, tensor.dtype)
            self._arranged[key] = value
        return self._arranged[key]

    def bias(self, index: int, steps: Quantization) -> ir.Value:
        """Constant ``index`` [rows] of int32, in float32; ``steps``: one scale, or one per row."""
        key = (index, f"bias.{steps.scale.tobytes().hex()}")
        if key not in self._arranged:
            tensor = self.tensors[index]
            value = self._named(tensor, self.constant(index).reshape(-1))
            self._arranged[key] = self._scaled("DequantizeLinear", value, steps, tensor.dtype)
        return self._arranged[key]

    def indices(self, index: int) -> list[int]:
        """A constant tensor of few integers. Raises Refused for anything else."""
        tensor = self.tensors[index]
        if tensor.data is None or tensor.dtype.kind not in "iu":
            raise Refused(f'"{tensor.name}" is not constant')
        if tensor.data.size > MOST_INDICES:
            raise Contradiction(f'"{tensor.name}" has {tensor.data.size} indices')
        return [int(i) for i in tensor.data.reshape(-1)]

    def constant(self, index: int) -> Array:
        """The stored numbers of a constant tensor. Raises Refused if it is none."""
        data = self.tensors[index].data
        if data is None:
            raise Refused(f'"{self.tensors[index].name}" is not constant')
        return data

    # --- shapes ---

    def turned(self, value: ir.Value, shape: tuple[int, ...], perm: Sequence[int]) -> ir.Value:
        """``value`` (of TFLite's ``shape``) between the two orders; lower ranks have one."""
        if len(shape) != 4:
            return value
        return self.node("Transpose", [value], perm=list(perm))

    def reshaped(
        self, value: ir.Value, before: tuple[int, ...], after: tuple[int, ...]
    ) -> ir.Value:
        """``value`` of TFLite's shape ``before`` as one of ``after``, both held."""
        if before == after:
            return value
        if not _same_order(before):
            value = self.turned(value, before, TO_LAST)
        if _same_order(after):
            return self.node("Reshape", [value, self.integers(held_shape(after))])
        value = self.node("Reshape", [value, self.integers(after)])
        return self.turned(value, after, TO_FIRST)

    def slice(self, value: ir.Value, axis: int, indices: range) -> ir.Value:
        """The rising ``indices`` of a held value's ``axis``."""
        bounds = (indices.start, indices.stop, axis, indices.step)
        return self.node("Slice", [value, *(self.integers([n]) for n in bounds)])

    # --- what operators make ---

    def set(self, index: int, value: ir.Value) -> None:
        """``value`` (float32, held) is the operator's result."""
        tensor = self.tensors[index]
        if tensor.quantization is not None and tensor.dtype in REAL:
            if len(tensor.quantization.scale) > 1:
                raise Refused(f'its result "{tensor.name}" has a scale per channel')
            value = self._scaled("QuantizeLinear", value, tensor.quantization, tensor.dtype)
        self.hold(index, value)

    def hold(self, index: int, value: ir.Value) -> None:
        """``value`` is tensor ``index`` as it is held."""
        tensor = self.tensors[index]
        if value.producer() is None or value.name in self.made:
            value = self.node("Identity", [value])
        turned = index in self._graph.outputs and len(tensor.shape) == 4
        value.name = self._values.free(f"{tensor.name}.nchw") if turned else tensor.name
        self.made[value.name] = index
        self._held[index] = value

    def model(self) -> ir.Model:
        """The whole graph."""
        outputs = [self._output(i) for i in self._graph.outputs]
        opsets = {"": OPSET}
        if any(node.domain == DOMAIN for node in self._nodes):
            opsets[DOMAIN] = 1
        graph = ir.Graph(
            self._inputs,
            outputs,
            nodes=self._nodes,
            initializers=list(self._constants.values()),
            opset_imports=opsets,
            name="main",
        )
        return ir.Model(graph, ir_version=IR_VERSION, producer_name=self._graph.producer)

    # --- parts ---

    def _base(self) -> str:
        """The operator's name: its result's, of several layers' that of the first."""
        name = self.tensors[self.operator.outputs[0]].name
        return name.partition(";")[0] or name

    def _named(self, tensor: Tensor, array: Array) -> ir.Value:
        """A constant under the tensor's own name, if that is free."""
        if tensor.name not in self._constants:
            self._values.release(tensor.name)
        return self._constant(tensor.name, array)

    def _shared(self, name: str, array: Array) -> ir.Value:
        if name not in self._numbers:
            self._numbers[name] = self._constant(name, array)
        return self._numbers[name]

    def _constant(self, name: str, array: Array) -> ir.Value:
        name = self._values.free(name)
        tensor = ir.tensor(np.asarray(array, array.dtype.newbyteorder("="), order="C"), name=name)
        self._constants[name] = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        return self._constants[name]

    def _input(self, index: int) -> ir.Value:
        tensor = self.tensors[index]
        dtype = ir.DataType.from_numpy(tensor.dtype)
        value = ir.Value(name=tensor.name, shape=ir.Shape(tensor.shape), type=ir.TensorType(dtype))
        self._held[index] = value
        if len(tensor.shape) == 4:
            name = f"{tensor.name}.nchw"
            perm = {"perm": list(TO_FIRST)}
            made = ir.node("Transpose", [value], perm, name=self._node_names.free(name))
            made.outputs[0].name = self._values.free(name)
            self._nodes.append(made)
            self._held[index] = made.outputs[0]
        return value

    def _output(self, index: int) -> ir.Value:
        tensor = self.tensors[index]
        self.operator = Operator(-1, "", (), (index,))
        if self.is_input(index):
            value = self.node("Identity", [self.input(index)])
        else:
            if tensor.data is not None:
                self.hold(index, self._constant(f"{tensor.name}.stored", held(tensor.data)))
            value = self.turned(self._held[index], tensor.shape, TO_LAST)
            value.name = tensor.name
        value.shape = ir.Shape(tensor.shape)
        value.type = ir.TensorType(ir.DataType.from_numpy(tensor.dtype))
        return value

    def _check_real(self, index: int) -> None:
        tensor = self.tensors[index]
        if tensor.dtype == np.float32:
            return
        quantised = tensor.quantization is not None
        if not quantised or tensor.dtype not in REAL:
            raise Refused(f'"{tensor.name}" is {tensor.dtype}' + (", quantised" * quantised))

    def _dequantized(self, index: int, value: ir.Value) -> ir.Value:
        tensor = self.tensors[index]
        assert tensor.quantization is not None
        if len(tensor.quantization.scale) > 1:
            raise Refused(f'"{tensor.name}" has a scale per channel')
        return self._scaled("DequantizeLinear", value, tensor.quantization, tensor.dtype)

    def _scaled(
        self, op_type: str, value: ir.Value, scales: Quantization, dtype: np.dtype[Any]
    ) -> ir.Value:
        """QuantizeLinear or DequantizeLinear; one scale is of rank 0."""
        single = len(scales.scale) == 1
        scale = scales.scale.reshape(()) if single else scales.scale
        inputs = [value, self._constant(f"{value.name}.scale", scale)]
        if dtype != np.int32:  # ONNX has int32 without a zero point
            points = scales.zero_point.astype(dtype)
            points = points.reshape(()) if single else points
            inputs.append(self._constant(f"{value.name}.zero_point", points))
        attributes: dict[str, Any] = {} if single else {"axis": scales.axis}
        return self.node(op_type, inputs, of=value.name, **attributes)


_KINDS: Mapping[type, ir.AttributeType] = {
    str: ir.AttributeType.STRING,
    int: ir.AttributeType.INT,
}


def held(array: Array) -> Array:
    """A constant in the order that values of its rank are held in."""
    return array.transpose(TO_FIRST) if array.ndim == 4 else array


def held_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a held value."""
    return tuple(shape[a] for a in TO_FIRST) if len(shape) == 4 else shape


def held_axis(axis: int, rank: int) -> int:
    """Where an axis of TFLite's lies in a held value. Raises Contradiction if there is none."""
    if not -rank <= axis < rank:
        raise Contradiction(f"axis {axis} of a tensor of rank {rank}")
    return HELD_AXIS[axis % rank] if rank == 4 else axis % rank


def _same_order(shape: tuple[int, ...]) -> bool:
    """Elements lie in one order, channels first or last."""
    return len(shape) != 4 or shape[3] == 1 or shape[1] * shape[2] == 1
