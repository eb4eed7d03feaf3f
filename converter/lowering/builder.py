"""The program under construction: tensors, operations, weights, and where each value lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.lowering.program import (
    F32,
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
from filigree.native import enums as c

MOST_OPS_PER_NODE = 256


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
    node: str = ""

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
            lanes=LANES,
        )

    # --- values ---

    def view(self, value: ir.Value | None) -> View:
        """Where ``value`` lies; a constant becomes a tensor on first use."""
        if value is None:
            raise Refused("an input is missing")
        name = value.name or ""
        if name not in self.values:
            array = constant(value)
            assert array is not None, name
            self.values[name] = self.constant(name, array)
        return self.values[name]

    def constant(self, name: str, array: NDArray[np.generic]) -> View:
        """A CONST tensor of the array's elements, float32, contiguous."""
        data = finite(name, array)
        shape = data.shape if data.ndim <= c.FIL_MAX_RANK else (data.size,)
        name = free_name(name, self.tensors)
        self.tensors[name] = Tensor(name, shape, 0, data.size, Place.CONST, data)
        return View(name, 0, data.shape, row_major(data.shape))

    def new(self, value: ir.Value, *, like: View | None = None) -> View:
        """An arena tensor for ``value``: laid out as ``like``, or plane by plane."""
        return self.allocate(value.name or self.node, dims(value), like=like)

    def allocate(self, name: str, shape: tuple[int, ...], *, like: View | None = None) -> View:
        """An arena tensor and the view of all of it."""
        if like is None:
            split = _planes_split(shape)
            return self.storage(name, shape, split=split, axes=range(len(shape)))
        axes = by_memory(like)
        pitch = self.tensors[like.tensor].pitch
        outer = [a for a in axes if like.shape[a] == 1 or like.strides[a] >= pitch]
        prefix = list(itertools.takewhile(lambda a: a in outer, axes))
        return self.storage(name, shape, split=len(prefix), axes=axes)

    def storage(
        self, name: str, shape: tuple[int, ...], *, split: int, axes: Sequence[int]
    ) -> View:
        """An arena tensor whose dims are those of ``shape`` in the order ``axes``; the first
        ``split`` of them count planes. The view has the axes of ``shape``."""
        stored = tuple(shape[a] for a in axes)
        pitch = padded_pitch(math.prod(stored[split:]))
        name = free_name(name, self.tensors)
        self.tensors[name] = _within_caps(Tensor(name, stored, split, pitch))
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
        """One operation; the views' offsets become the op's."""
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
        """``out = act(fn(inputs))`` element by element; inputs have, or broadcast to, its shape."""
        operands = [v.broadcast(out.shape) for v in inputs]
        axes = by_memory(out)
        walked = [v.transpose(axes) for v in (*operands, out)]
        nest = loops(walked[0].shape, *(v.strides for v in walked))
        for shift, inner in unrolled(nest, c.FIL_MAP_RANK, operands=len(walked)):
            params = _map_params(inner, len(operands))
            moved = [replace(v, offset=v.offset + s) for v, s in zip(walked, shift, strict=True)]
            self.emit(c.FIL_OP_MAP, moved[:-1], moved[-1], params, act=act, fn=fn)

    def copy(self, x: View, *, like: View | None = None) -> View:
        """The elements of ``x`` in a tensor of their own: laid out as ``like``, or by planes."""
        out = self.allocate(f"{x.tensor}.copy", x.shape, like=like)
        self.map(c.FIL_MAP_COPY, [x], out)
        return out

    def add_weights(self, layer: str, matrix: F32, bias: F32) -> str:
        """Register a layer's weights and return their key."""
        key = free_name(layer, self.weights)
        self.weights[key] = Weights(layer, np.ascontiguousarray(matrix), bias)
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
        out = self.storage(f"{x.tensor}.planes", x.shape, split=1, axes=range(3))
        self.map(c.FIL_MAP_COPY, [x], out)
        return out

    def is_planar(self, x: View) -> bool:
        channels, height, width = x.shape
        cs, ys, xs = x.strides
        if (width > 1 and xs != 1) or (height > 1 and ys != width):
            return False
        walked = -(-height * width // LANES) * LANES
        tensor = self.tensors[x.tensor]
        last = x.offset + (channels - 1) * cs + walked
        return last <= tensor.planes * tensor.pitch

    def row_major(self, x: View) -> View:
        """``x`` contiguous in the order of its axes."""
        if x.is_row_major():
            return x
        axes = range(len(x.shape))
        out = self.storage(f"{x.tensor}.flat", x.shape, split=0, axes=axes)
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
