"""The program under construction: tensors, operations, weights, and where each value lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.lowering.program import (
    F32,
    INT8_KINDS,
    LANES,
    Activation,
    ConvParams,
    MapParams,
    Op,
    Params,
    Place,
    Port,
    Program,
    Tensor,
    Weights,
    padded_pitch,
)
from filigree.converter.lowering.view import Loop, View, by_memory, loops, padded, row_major
from filigree.converter.passes.graph import constant, dims
from filigree.converter.quantize.marks import HIGH, LOW, ROW_SCALES, Quant, mark_of, rounded
from filigree.converter.quantize.weights import integer_layer
from filigree.native import enums as c

F64 = NDArray[np.float64]
MOST_OPS_PER_NODE = 256
FINITE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))
INT8_FUNCTIONS = {
    c.FIL_MAP_ADD: c.FIL_QMAP_ADD,
    c.FIL_MAP_SUB: c.FIL_QMAP_SUB,
    c.FIL_MAP_MUL: c.FIL_QMAP_MUL,
}


class Refused(Exception):
    """A form of an operator that cannot be lowered; the text is the reason."""


@dataclass
class Builder:
    """Collects what lowering makes; ``values`` says where each value of the graph lies."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    weights: dict[str, Weights] = field(default_factory=dict)
    values: dict[str, View] = field(default_factory=dict)
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    floats: dict[View, View] = field(default_factory=dict)
    node: str = ""
    lanes: int = LANES

    def program(self, name: str) -> Program:
        """What has been collected; tensors that nothing touches are left out."""
        ports = (*self.inputs, *self.outputs)
        used = {n for op in self.ops for n in (*op.inputs, op.output)} | {p.tensor for p in ports}
        return Program(
            name=name,
            tensors={n: t for n, t in self.tensors.items() if n in used},
            ops=tuple(self.ops),
            weights=self.weights,
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            lanes=self.lanes,
        )

    # --- values ---

    def view(self, value: ir.Value | None) -> View:
        """Where ``value`` lies as floats; a constant becomes a tensor on first use."""
        found = self.stored(value)
        if self.quant_of(found) is None:
            return found
        if found not in self.floats:
            self.floats[found] = self.allocate(f"{found.tensor}.float", found.shape, like=found)
            self.map(c.FIL_MAP_COPY, [found], self.floats[found])
        return self.floats[found]

    def stored(self, value: ir.Value | None) -> View:
        """Where ``value`` lies, as floats or int8."""
        if value is None:
            raise Refused("an input is missing")
        name = value.name or ""
        if name not in self.values:
            array = constant(value)
            assert array is not None, name
            self.values[name] = self.constant(name, array)
        return self.values[name]

    def quant_of(self, view: View) -> Quant | None:
        """What the integers of a view stand for; None: they are floats."""
        return self.tensors[view.tensor].quant

    def settle(self, value: ir.Value) -> None:
        """A marked value that a node has left as something else is made what its mark says."""
        name, quant = value.name or "", mark_of(value)
        found = self.values.get(name)
        if found is None or quant is None or self.quant_of(found) == quant:
            return
        self.values[name] = self.allocate(f"{name}.int8", found.shape, like=found, quant=quant)
        self.map(c.FIL_MAP_COPY, [found], self.values[name])

    def constant(self, name: str, array: NDArray[np.generic]) -> View:
        """A CONST tensor of the array's elements, float32, contiguous."""
        data = finite(name, array)
        shape = data.shape if data.ndim <= c.FIL_MAX_RANK else (data.size,)
        name = free_name(name, self.tensors)
        self.tensors[name] = Tensor(name, shape, 0, data.size, Place.CONST, data)
        return View(name, 0, data.shape, row_major(data.shape))

    def integers(self, name: str, array: NDArray[np.generic], quant: Quant) -> View:
        """A CONST tensor of int8, given as the floats that they stand for."""
        view = self.constant(name, array)
        tensor = self.tensors[view.tensor]
        assert tensor.data is not None  # just made of an array
        data = rounded(tensor.data, quant).astype(np.float32)
        self.tensors[view.tensor] = replace(tensor, data=data, dtype="int8", quant=quant)
        return view

    def new(self, value: ir.Value, *, like: View | None = None, quant: Quant | None = None) -> View:
        """An arena tensor for ``value``: laid out as ``like``, or plane by plane."""
        return self.allocate(value.name or self.node, dims(value), like=like, quant=quant)

    def allocate(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        like: View | None = None,
        quant: Quant | None = None,
    ) -> View:
        """An arena tensor and the view of all of it; int8 if ``quant`` is given."""
        if like is None:
            split = _planes_split(shape)
            return self.storage(name, shape, split=split, axes=range(len(shape)), quant=quant)
        axes = by_memory(like)
        pitch = self.tensors[like.tensor].pitch
        outer = [a for a in axes if like.shape[a] == 1 or like.strides[a] >= pitch]
        prefix = list(itertools.takewhile(lambda a: a in outer, axes))
        return self.storage(name, shape, split=len(prefix), axes=axes, quant=quant)

    def storage(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        split: int,
        axes: Sequence[int],
        quant: Quant | None = None,
    ) -> View:
        """An arena tensor whose dims are those of ``shape`` in the order ``axes``; the first
        ``split`` of them count planes; int8 if ``quant`` is given. The view has the axes of
        ``shape``."""
        stored = tuple(shape[a] for a in axes)
        pitch = padded_pitch(math.prod(stored[split:]), self.lanes)
        name = free_name(name, self.tensors)
        dtype = "float32" if quant is None else "int8"
        tensor = Tensor(name, stored, split, pitch, dtype=dtype, quant=quant)
        self.tensors[name] = _within_caps(tensor)
        steps = (*row_major(stored[:split], scale=pitch), *row_major(stored[split:]))
        strides = [0] * len(shape)
        for axis, step in zip(axes, steps, strict=True):
            strides[axis] = step
        return View(name, 0, shape, tuple(strides))

    # --- operations ---

    def emit(
        self,
        kind: int,
        inputs: Sequence[View],
        out: View,
        params: Params,
        *,
        act: Activation | None = None,
        fn: int = 0,
        weights: str | None = None,
    ) -> None:
        """One operation, on int8 if its result is; the views' offsets become the op's."""
        if self.quant_of(out) is not None and kind in INT8_KINDS:
            kind = INT8_KINDS[kind]
        offsets = [v.offset for v in inputs] + [0, 0]
        self.ops.append(
            Op(
                kind,
                self.node,
                tuple(v.tensor for v in inputs),
                out.tensor,
                params,
                act or Activation(),
                fn,
                weights,
                offsets[0],
                offsets[1],
                out.offset,
            )
        )

    def map(
        self,
        fn: int,
        inputs: Sequence[View],
        out: View,
        *,
        act: Activation | None = None,
    ) -> None:
        """``out = act(fn(inputs))`` element by element; inputs have, or broadcast to, its shape.

        A COPY without an activation converts between types, scales and zero points; any other
        function takes operands of the result's type."""
        kind, fn, act, more = self._map_kind(fn, inputs, out, act)
        operands = [v.broadcast(out.shape) for v in inputs]
        axes = by_memory(out)
        walked = [v.transpose(axes) for v in (*operands, out)]
        nest = loops(walked[0].shape, *(v.strides for v in walked))
        for shift, inner in unrolled(nest, c.FIL_MAP_RANK, operands=len(walked)):
            params = _map_params(inner, len(operands))
            moved = [replace(v, offset=v.offset + s) for v, s in zip(walked, shift, strict=True)]
            self.emit(kind, [*moved[:-1], *more], moved[-1], params, act=act, fn=fn)

    def _map_kind(
        self, fn: int, inputs: Sequence[View], out: View, act: Activation | None
    ) -> tuple[int, int, Activation | None, list[View]]:
        """Kind, function and activation of a MAP on what its operands are, and its table if it
        looks its results up in one."""
        to = self.tensors[out.tensor]
        given = self.tensors[inputs[0].tensor] if inputs else to
        if to.quant is None and given.quant is None:
            return c.FIL_OP_MAP, fn, act, []
        if fn == c.FIL_MAP_FILL:
            assert to.quant is not None and act is not None  # FILL writes, and writes this
            value = float(rounded(np.asarray(act.lo), to.quant))
            return c.FIL_OP_QMAP, c.FIL_QMAP_FILL, Activation(lo=value), []
        if fn != c.FIL_MAP_COPY:
            return c.FIL_OP_QMAP, INT8_FUNCTIONS[fn], act, []
        if given.quant is None:
            return c.FIL_OP_QMAP, c.FIL_QMAP_QUANTIZE, act, []
        if to.quant is None:
            return c.FIL_OP_QMAP, c.FIL_QMAP_DEQUANTIZE, None, []
        if given.dtype != to.dtype:
            return c.FIL_OP_QMAP, c.FIL_QMAP_FLIP, None, []
        if given.quant == to.quant:
            return c.FIL_OP_QMAP, c.FIL_QMAP_COPY, act, []
        table = self.table(out.tensor, given.quant, to.quant, lambda x: x)
        return c.FIL_OP_QMAP, c.FIL_QMAP_TABLE, None, [table]

    def table(
        self, name: str, given: Quant, to: Quant, function: Callable[[F64], NDArray[Any]]
    ) -> View:
        """The 256 results of a function of one int8, as a constant."""
        x = (np.arange(LOW, HIGH + 1) - given.zero) * np.float64(given.scale)
        with np.errstate(all="ignore"):
            values = np.nan_to_num(function(x), nan=0.0)
        return self.integers(f"{name}.table", np.clip(values, *FINITE), to)

    def apply(self, x: View, out: View, function: Callable[[F64], NDArray[Any]]) -> None:
        """``out = function(x)`` element by element, both int8, by a table."""
        given, to = self.quant_of(x), self.quant_of(out)
        assert given is not None and to is not None  # the caller has looked
        table = self.table(out.tensor, given, to, function)
        axes = by_memory(out)
        walked = [x.broadcast(out.shape).transpose(axes), out.transpose(axes)]
        nest = loops(walked[0].shape, *(v.strides for v in walked))
        for shift, inner in unrolled(nest, c.FIL_MAP_RANK, operands=2):
            a, b = (replace(v, offset=v.offset + s) for v, s in zip(walked, shift, strict=True))
            params = _map_params(inner, 1)
            self.emit(c.FIL_OP_QMAP, [a, table], b, params, fn=c.FIL_QMAP_TABLE)

    def copy(self, x: View, *, like: View | None = None) -> View:
        """The elements of ``x`` in a tensor of their own: laid out as ``like``, or by planes."""
        out = self.allocate(f"{x.tensor}.copy", x.shape, like=like, quant=self.quant_of(x))
        self.map(c.FIL_MAP_COPY, [x], out)
        return out

    def add_weights(
        self,
        node: ir.Node,
        matrix: F32,
        bias: F32,
        *,
        given: Quant | None = None,
        to: Quant | None = None,
    ) -> str:
        """Register the weights of a layer, int8 from ``given`` ``to``, and return their key."""
        layer = node.name or ""
        key = free_name(layer, self.weights)
        if given is None or to is None:
            self.weights[key] = Weights(layer, np.ascontiguousarray(matrix), bias)
            return key
        scales = constant(node.inputs[ROW_SCALES])
        assert scales is not None  # a layer without is not int8
        try:
            found = integer_layer(matrix, bias, scales, given=given, to=to)
        except ValueError as error:
            raise Refused(str(error)) from error
        self.weights[key] = Weights(layer, found.matrix, found.bias, None, found.multipliers)
        return key

    def pixels(self, x: View, out: View) -> None:
        """``out`` [C, H, W], plane by plane, is ``x``, in whatever order and type it lies."""
        channels, height, width = x.shape
        affine = np.repeat(np.array([1, 0], np.float32), channels)
        name = free_name(f"{x.tensor}.affine", self.tensors)
        self.tensors[name] = Tensor(name, affine.shape, 0, affine.size, Place.CONST, affine)
        size = {"in_h": height, "in_w": width, "out_h": height, "out_w": width}
        steps = dict(zip(("cs", "ys", "xs"), x.strides, strict=True))
        params = ConvParams(channels, **size, **steps)
        factors = View(name, 0, affine.shape, (1,))
        self.emit(c.FIL_OP_PIXELS, [x, factors], out, params)

    # --- layouts that kernels ask for ---

    def planar(self, x: View) -> View:
        """``x`` [C, H, W] with contiguous planes that may be read to a whole vector."""
        return x if self.is_planar(x) else self.planes(x)

    def planes(self, x: View) -> View:
        """A copy of ``x`` [C, H, W], plane by plane."""
        quant = self.quant_of(x)
        out = self.storage(f"{x.tensor}.planes", x.shape, split=1, axes=range(3), quant=quant)
        self.map(c.FIL_MAP_COPY, [x], out)
        return out

    def is_planar(self, x: View) -> bool:
        channels, height, width = x.shape
        cs, ys, xs = x.strides
        if (width > 1 and xs != 1) or (height > 1 and ys != width):
            return False
        walked = -(-height * width // self.lanes) * self.lanes
        tensor = self.tensors[x.tensor]
        last = x.offset + (channels - 1) * cs + walked
        return last <= tensor.planes * tensor.pitch

    def row_major(self, x: View) -> View:
        """``x`` contiguous in the order of its axes."""
        if x.is_row_major():
            return x
        axes = range(len(x.shape))
        quant = self.quant_of(x)
        out = self.storage(f"{x.tensor}.flat", x.shape, split=0, axes=axes, quant=quant)
        self.map(c.FIL_MAP_COPY, [x], out)
        return out

    def reshaped(self, x: View, shape: Sequence[int]) -> View:
        """``x`` under ``shape``, copied if its strides do not allow that."""
        found = x.reshape(shape)
        if found is None:
            found = self.row_major(x).reshape(shape)
        assert found is not None  # contiguous elements take any shape
        return found


def finite(name: str, array: NDArray[np.generic]) -> F32:
    """The array as float32. Raises Refused if it is not a number or not finite somewhere."""
    if array.dtype.kind not in "fiub" and not np.issubdtype(array.dtype, np.number):
        raise Refused(f'constant "{name}" is {array.dtype}, not numbers')
    with np.errstate(over="ignore"):
        data = np.asarray(array, np.float32, order="C")
    if not np.isfinite(data).all():
        raise Refused(f'constant "{name}" holds values that are not finite in float32')
    return data


def unrolled(
    nest: Sequence[Loop], most: int, *, operands: int
) -> Iterator[tuple[tuple[int, ...], list[Loop]]]:
    """The innermost ``most`` loops, once for every step of those outside: the offset of each
    operand, and the loops."""
    outer, inner = list(nest[:-most]), list(nest[-most:])
    times = math.prod(n for n, _ in outer)
    if times > MOST_OPS_PER_NODE:
        raise Refused(f"its strides need {times} operations, at most {MOST_OPS_PER_NODE} are made")
    for index in itertools.product(*(range(n) for n, _ in outer)):
        shift = [0] * operands
        for i, (_, steps) in zip(index, outer, strict=True):
            shift = [a + i * s for a, s in zip(shift, steps, strict=True)]
        yield tuple(shift), inner


def _map_params(inner: Sequence[Loop], operands: int) -> MapParams:
    rank = c.FIL_MAP_RANK
    nest = padded(inner, rank, operands=operands + 1)

    def steps(i: int) -> tuple[int, int, int, int]:
        a, b, d, e = (s[i] if i < len(s) else 0 for _, s in nest)
        return a, b, d, e

    none = (0, 0, 0, 0)
    a, b, d, e = (n for n, _ in nest)
    return MapParams(
        (a, b, d, e),
        steps(0) if operands > 0 else none,
        steps(1) if operands > 1 else none,
        steps(operands),
    )


def free_name(name: str, taken: Mapping[str, object]) -> str:
    """``name``, with a number if it is taken."""
    if name not in taken:
        return name
    return next(n for n in (f"{name}.{i}" for i in itertools.count()) if n not in taken)


def _planes_split(shape: tuple[int, ...]) -> int:
    """How many leading dims count planes: batch and channels, or the batch where each channel
    is one element."""
    if len(shape) < 2:
        return 0
    return 2 if math.prod(shape[2:]) > 1 else 1


def _within_caps(tensor: Tensor) -> Tensor:
    if tensor.planes * tensor.pitch > c.FIL_MAX_ELEMENTS or len(tensor.shape) > c.FIL_MAX_RANK:
        raise Refused(f"a tensor of {list(tensor.shape)} is over the packed model's cap")
    return tensor
