"""Float64 execution of a program at any stage: what kernels and conversions are held against.

Every operation does what ``native/kernels/<name>/ref.c`` says, in numpy. Three things make a wrong
program show: weights come from their packing where there is one; every tensor has a buffer of its
own, NaN until written, the planes' padding for good; and not-a-number propagates, through maxima
too. An access outside a tensor is an error. What a float16 tensor holds is rounded to that. int8
is exact: the very integers that kernels give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from filigree.converter.activate import activated
from filigree.converter.lowering.bands import unbanded
from filigree.converter.lowering.program import (
    FLOAT_KINDS,
    ConvParams,
    MapParams,
    MatmulParams,
    Op,
    PoolParams,
    Port,
    Program,
    ReduceParams,
    SoftmaxParams,
    Tensor,
    Weights,
)
from filigree.converter.quantize.marks import HIGH, LOW, Quant
from filigree.converter.sparsity import pattern
from filigree.native import enums as c

F64 = NDArray[np.float64]
Window = tuple[slice, slice, slice]
Watch = Callable[[str, F64], None]


UNITS = 4  # in the last place, of a sum of 64 in float16: half the root of as many roundings


def run(
    program: Program,
    *inputs: NDArray[Any],
    moved: np.random.Generator | None = None,
    watch: Watch | None = None,
) -> list[F64]:
    """One array per output port, of the port's shape.

    ``inputs`` are numbers of any dtype in port order, each of its port's shape or size. An output
    port may name any tensor, not only an OUTPUT: it gets the tensor's final value, NaN where
    nothing was written. Only tensors that are still needed are kept. ``moved``: results in float16
    are off by up to UNITS at random, which is what arithmetic in it may do. ``watch`` is called
    with the weights and the input [cols, positions] of every product (SPMM, SPMV, those like them).
    Raises ValueError naming the port for a wrong count, size or dtype of the inputs, and naming op
    and tensor for an access outside a tensor.
    """
    program = unbanded(program)
    buffers = _loaded(program, inputs)
    last = _last_uses(program)
    with np.errstate(all="ignore"):
        for i, op in enumerate(program.ops):
            touched = {*op.inputs, op.output}
            for name in touched - buffers.keys():
                buffers[name] = _fresh(program.tensors[name])
            _KINDS[op.kind](_Step(program, op, buffers, moved, watch), op.params)
            for name in touched:
                if last[name] == i:
                    del buffers[name]
    return [_result(program, port, buffers) for port in program.outputs]


# --- tensors: flat arrays of planes * pitch elements ---


def _loaded(program: Program, inputs: tuple[NDArray[Any], ...]) -> dict[str, F64]:
    """The buffers of the input ports' tensors."""
    if len(inputs) != len(program.inputs):
        names = ", ".join(f'"{port.name}"' for port in program.inputs)
        raise ValueError(f"expected {len(program.inputs)} inputs ({names}), got {len(inputs)}")
    return {
        port.tensor: _filled(program.tensors[port.tensor], _numbers(given, port))
        for port, given in zip(program.inputs, inputs, strict=True)
    }


def _numbers(given: NDArray[Any], port: Port) -> NDArray[Any]:
    array = np.asarray(given)
    if array.dtype.kind not in "fiub":
        raise ValueError(f'input "{port.name}": expected numbers, got dtype {array.dtype}')
    if array.size != math.prod(port.shape):
        expected = f"expected shape {list(port.shape)}, got {list(array.shape)}"
        raise ValueError(f'input "{port.name}": {expected}')
    return array


def _fresh(tensor: Tensor) -> F64:
    """A buffer before any op has run."""
    return _filled(tensor, np.nan if tensor.data is None else tensor.data)


def _filled(tensor: Tensor, values: NDArray[Any] | float) -> F64:
    """``values`` (one, or one per element, in order) in their planes, NaN in the padding."""
    shape = (tensor.planes, tensor.positions)
    grid = np.full((tensor.planes, tensor.pitch), np.nan)
    grid[:, : tensor.positions] = np.reshape(values, shape) if np.ndim(values) else values
    return grid.reshape(-1)


def _result(program: Program, port: Port, buffers: dict[str, F64]) -> F64:
    tensor = program.tensors[port.tensor]
    buffer = buffers[port.tensor] if port.tensor in buffers else _fresh(tensor)
    grid = buffer.reshape(tensor.planes, tensor.pitch)
    return grid[:, : tensor.positions].reshape(port.shape).copy()


def _last_uses(program: Program) -> dict[str, int]:
    """The last op that touches each tensor; past the end for results."""
    last = {name: i for i, op in enumerate(program.ops) for name in (*op.inputs, op.output)}
    return last | {port.tensor: len(program.ops) for port in program.outputs}


@dataclass(frozen=True)
class _Step:
    """One op and the buffers that it reads and writes."""

    program: Program
    op: Op
    buffers: dict[str, F64]
    moved: np.random.Generator | None = None
    watch: Watch | None = None

    def read(self, slot: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> F64:
        """in[slot] from its offset on; ``strides`` in elements."""
        offset = (self.op.x_offset, self.op.y_offset)[slot]
        return self._view(self.op.inputs[slot], offset, shape=shape, strides=strides)

    def write(self, values: F64, strides: tuple[int, ...]) -> None:
        """act(``values``) to out, from its offset on."""
        at = self.op.out_offset
        view = self._view(self.op.output, at, shape=values.shape, strides=strides)
        out = self.program.tensors[self.op.output]
        if self.op.kind not in FLOAT_KINDS:
            values = _rounded(activated(values, self.op.act), out, moved=self.moved)
        view[...] = values

    def write_planes(self, values: F64) -> None:
        """act(residual + ``values``) to out, ``values`` [planes, positions]; for int8, the sums."""
        if self.op.kind in FLOAT_KINDS:
            values = self._requantized(values)
            self.write(values, (self.pitch(self.op.output), 1))
            return
        if len(self.op.inputs) > 1:
            values = values + self.read(1, values.shape, (self.pitch(self.op.inputs[1]), 1))
        self.write(values, (self.pitch(self.op.output), 1))

    def show(self, x: F64) -> None:
        """What a product multiplies."""
        if self.watch is not None:
            self.watch(self.op.weights or "", x)

    def quant(self, slot: int | None = None) -> Quant:
        """What the integers of in[slot], or of out, stand for."""
        name = self.op.output if slot is None else self.op.inputs[slot]
        found = self.program.tensors[name].quant
        assert found is not None  # lowering.check: kinds on int8 have int8
        return found

    def rescaled(self, x: NDArray[np.float32]) -> F64:
        """float32 to the nearest integers of out, ties to even, between the op's bounds."""
        zero, lo, hi = self.quant().zero, *self.bounds()
        steps = np.rint(np.minimum(np.maximum(x, lo - zero), hi - zero))
        return steps.astype(np.float64) + zero

    def bounds(self) -> tuple[float, float]:
        """What the op's activation leaves of int8."""
        act = self.op.act
        return (act.lo, act.hi) if act.kind == c.FIL_ACT_CLAMP else (LOW, HIGH)

    def kept(self, x: F64) -> F64:
        """Integers that stand for the same in out."""
        return np.clip(x, *self.bounds())

    def _requantized(self, sums: F64) -> F64:
        """``sums`` [planes, positions], whole numbers, as ``kernels/q8.h`` rounds them."""
        factors = self.program.weights[self.op.weights or ""].multipliers
        assert factors is not None  # lowering.check
        per_row = factors[None, :] if self.op.kind == c.FIL_OP_QSPMV else factors[:, None]
        x = sums.astype(np.float32) * per_row
        if len(self.op.inputs) > 1:
            y = self.read(1, sums.shape, (self.pitch(self.op.inputs[1]), 1))
            y = (y - self.quant(1).zero).astype(np.float32)
            x = x + y * (np.float32(self.quant(1).scale) / np.float32(self.quant().scale))
        return self.rescaled(x)

    def weights(self) -> tuple[F64, F64]:
        """Matrix [rows, cols] and bias [rows], as stored."""
        return _stored(self.program.weights[self.op.weights or ""])

    def pitch(self, name: str) -> int:
        return self.program.tensors[name].pitch

    def _view(
        self, name: str, offset: int, *, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> F64:
        buffer = self.buffers[name]
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if min(offset, *strides) < 0 or last >= buffer.size:
            raise ValueError(
                f'op "{self.op.node}" reaches outside tensor "{name}": elements {offset} to {last} '
                f"of {buffer.size}, shape {shape}, strides {strides}"
            )
        return as_strided(buffer[offset:], shape, [s * buffer.itemsize for s in strides])


def _stored(weights: Weights) -> tuple[F64, F64]:
    matrix, bias, packing = weights.matrix, weights.bias, weights.packing
    if packing is not None:
        matrix = pattern.decode(packing, rows=weights.rows, cols=weights.cols)
        bias = packing.bias[: weights.rows]
    return matrix.astype(np.float64), bias.astype(np.float64)


# --- activations and element-wise functions: act.def and map.def ---

_MAPS: dict[int, Callable[[F64, F64], F64]] = {
    c.FIL_MAP_ADD: np.add,
    c.FIL_MAP_SUB: np.subtract,
    c.FIL_MAP_MUL: np.multiply,
    c.FIL_MAP_DIV: np.divide,
    c.FIL_MAP_MIN: np.minimum,
    c.FIL_MAP_MAX: np.maximum,
    c.FIL_MAP_PRELU: lambda x, y: np.where(x < 0, x * y, x),
}

_REDUCES: dict[int, Callable[..., F64]] = {
    c.FIL_REDUCE_MEAN: np.mean,
    c.FIL_REDUCE_SUM: np.sum,
    c.FIL_REDUCE_MAX: np.max,
}


def _rounded(x: F64, tensor: Tensor, *, moved: np.random.Generator | None) -> F64:
    """As ``tensor`` holds it: float16 is rounded to, float32 is not, being what is measured."""
    if tensor.dtype != "float16":
        return x
    if moved is not None:
        unit = np.abs(np.spacing(x.astype(np.float16))).astype(np.float64)
        x = x + moved.uniform(-UNITS, UNITS, x.shape) * unit
    return x.astype(np.float16).astype(np.float64)


# --- windows ---


def _taps(g: ConvParams | PoolParams) -> Iterator[tuple[int, Window, Window]]:
    """For each tap ky * kw + kx: the outputs [channel, y, x] where it lies inside the input, and
    the elements that it reads there."""
    for tap in range(g.kh * g.kw):
        ky, kx = divmod(tap, g.kw)
        out_y, in_y = _inside(g.out_h, g.in_h, stride=g.sh, start=ky * g.dh - g.pad_top)
        out_x, in_x = _inside(g.out_w, g.in_w, stride=g.sw, start=kx * g.dw - g.pad_left)
        yield tap, (slice(None), out_y, out_x), (slice(None), in_y, in_x)


def _inside(out: int, size: int, *, stride: int, start: int) -> tuple[slice, slice]:
    """The o < ``out`` with 0 <= o * stride + start < size, and those positions."""
    first = max(0, -(start // stride))
    stop = max(first, min(out, (size - 1 - start) // stride + 1))
    at = first * stride + start
    return slice(first, stop), slice(at, at + (stop - first) * stride, stride)


def _counts(g: PoolParams) -> F64:
    """How many taps of each window lie inside the input: [out_h, out_w]."""
    counts = np.zeros((g.out_h, g.out_w))
    for _, (_, y, x), _ in _taps(g):
        counts[y, x] += 1
    return counts


def _padded(g: PoolParams) -> PoolParams:
    """The same windows over an input that the padding is part of."""
    in_h, in_w = g.pad_top + g.in_h + g.pad_bottom, g.pad_left + g.in_w + g.pad_right
    return replace(g, in_h=in_h, in_w=in_w, pad_top=0, pad_left=0)


# --- one function per op kind ---


def _spmm(s: _Step, g: ConvParams) -> None:
    matrix, bias = s.weights()
    x = s.read(0, (matrix.shape[1], g.out_h * g.out_w), (g.cs, 1))
    s.show(x)
    s.write_planes(matrix @ x + bias[:, None])


def _spmv(s: _Step, g: ConvParams) -> None:
    matrix, bias = s.weights()
    x = s.read(0, (matrix.shape[1],), (1,))
    s.show(x[:, None])
    s.write_planes((matrix @ x + bias)[None, :])  # rows are contiguous, as one plane's positions


def _outside(s: _Step) -> float:
    """What a convolution reads outside its input."""
    return s.quant(0).zero if s.op.kind in FLOAT_KINDS else 0.0


def _conv(s: _Step, g: ConvParams) -> None:
    matrix, bias = s.weights()
    x = s.read(0, (g.channels, g.in_h, g.in_w), (g.cs, g.ys, g.xs))
    columns = np.full((g.channels, g.kh * g.kw, g.out_h, g.out_w), float(_outside(s)))
    for tap, at_out, at_in in _taps(g):
        columns[:, tap][at_out] = x[at_in]
    s.write_planes(matrix @ columns.reshape(matrix.shape[1], -1) + bias[:, None])


def _dwconv(s: _Step, g: ConvParams) -> None:
    matrix, bias = s.weights()
    x = s.read(0, (g.channels, g.in_h, g.in_w), (g.cs, g.ys, g.xs))
    outside = _outside(s)
    sums = np.zeros((g.channels, g.out_h, g.out_w)) + bias[:, None, None]
    sums += outside * matrix.sum(axis=1)[:, None, None]
    for tap, at_out, at_in in _taps(g):
        sums[at_out] += matrix[:, tap, None, None] * (x[at_in] - outside)
    s.write_planes(sums.reshape(g.channels, -1))


def _pool(s: _Step, g: PoolParams) -> None:
    x = s.read(0, (g.channels, g.in_h, g.in_w), (s.pitch(s.op.inputs[0]), g.in_w, 1))
    is_max = g.mode == c.FIL_POOL_MAX
    found = np.full((g.channels, g.out_h, g.out_w), -np.inf if is_max else 0.0)
    gather = np.maximum if is_max else np.add
    for _, at_out, at_in in _taps(g):
        found[at_out] = gather(found[at_out], x[at_in])
    if not is_max:
        found /= _counts(_padded(g) if g.mode == c.FIL_POOL_AVG_PAD else g)
    found = np.where(_counts(g) > 0, found, 0.0)  # windows without a tap
    s.write_planes(found.reshape(g.channels, -1))


def _map(s: _Step, g: MapParams) -> None:
    if s.op.fn == c.FIL_MAP_FILL:
        values = np.full(g.dim, np.float32(s.op.act.lo), np.float64)
    elif s.op.fn == c.FIL_MAP_COPY:
        values = s.read(0, g.dim, g.sa)
    else:
        values = _MAPS[s.op.fn](s.read(0, g.dim, g.sa), s.read(1, g.dim, g.sb))
    s.write(values, g.so)


def _reduce(s: _Step, g: ReduceParams) -> None:
    x = s.read(0, (g.outer, g.reduce, g.inner), (g.outer_s, g.reduce_s, g.inner_s))
    s.write(_REDUCES[g.fn](x, axis=1), (g.outer_so, g.inner_so))


def _softmax(s: _Step, g: SoftmaxParams) -> None:
    strides = (g.outer_s, g.axis_s, g.inner_s)
    x = s.read(0, (g.outer, g.axis, g.inner), strides)
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    s.write(powers / powers.sum(axis=1, keepdims=True), strides)


def _matmul(s: _Step, g: MatmulParams) -> None:
    a = s.read(0, (g.batch, g.m, g.k), (g.ab, g.am, g.ak))
    b = s.read(1, (g.batch, g.k, g.n), (g.bb, g.bk, 1))
    s.write(a @ b, (g.cb, g.cm, 1))


def _pixels(s: _Step, g: ConvParams) -> None:
    x = s.read(0, (g.channels, g.in_h, g.in_w), (g.cs, g.ys, g.xs))
    scale, shift = s.read(1, (2, g.channels), (g.channels, 1))
    planes = x * scale[:, None, None] + shift[:, None, None]
    s.write(planes.reshape(g.channels, -1), (s.pitch(s.op.output), 1))


# --- int8: sums are exact in float64, and what is float32 in kernels/q8.h is float32 here ---


def _ratio(a: float, b: float) -> np.float32:
    return np.float32(np.float32(a) / np.float32(b))


def _qpool(s: _Step, g: PoolParams) -> None:
    x = s.read(0, (g.channels, g.in_h, g.in_w), (s.pitch(s.op.inputs[0]), g.in_w, 1))
    is_max, zero = g.mode == c.FIL_POOL_MAX, s.quant(0).zero
    found = np.full((g.channels, g.out_h, g.out_w), -np.inf if is_max else 0.0)
    for _, at_out, at_in in _taps(g):
        if is_max:
            found[at_out] = np.maximum(found[at_out], x[at_in])
        else:
            found[at_out] += x[at_in] - zero
    taps = _counts(g)
    count = np.maximum(_counts(_padded(g)) if g.mode == c.FIL_POOL_AVG_PAD else taps, 1)
    if g.mode == c.FIL_POOL_AVG_AWAY:
        whole = found + taps * zero
        made = s.kept(np.sign(whole) * np.floor(np.abs(whole) / count + 0.5))
    elif is_max:
        made = s.kept(found)
    else:
        ratio = _ratio(s.quant(0).scale, s.quant().scale) / count.astype(np.float32)
        made = s.rescaled(found.astype(np.float32) * ratio)
    nothing = 0 if g.mode == c.FIL_POOL_AVG_AWAY else s.quant().zero
    made = np.where(taps > 0, made, s.kept(np.asarray(nothing, np.float64)))
    s.write(made.reshape(g.channels, -1), (s.pitch(s.op.output), 1))


def _qmap(s: _Step, g: MapParams) -> None:
    fn = s.op.fn
    if fn == c.FIL_QMAP_FILL:
        s.write(np.full(g.dim, s.op.act.lo), g.so)
        return
    x = s.read(0, g.dim, g.sa)
    if fn == c.FIL_QMAP_TABLE:
        table = s.buffers[s.op.inputs[1]][s.op.y_offset :]
        s.write(np.where(np.isnan(x), np.nan, table[np.nan_to_num(x).astype(int) - LOW]), g.so)
    elif fn == c.FIL_QMAP_COPY:
        s.write(s.kept(x), g.so)
    elif fn == c.FIL_QMAP_FLIP:
        s.write(x - 128 if s.program.tensors[s.op.output].dtype == "int8" else x + 128, g.so)
    elif fn == c.FIL_QMAP_QUANTIZE:
        steps = x.astype(np.float32) / np.float32(s.quant().scale)
        s.write(s.rescaled(np.where(np.isnan(steps), np.float32(-np.inf), steps)), g.so)
    elif fn == c.FIL_QMAP_DEQUANTIZE:
        steps = (x - s.quant(0).zero).astype(np.float32)
        s.write((steps * np.float32(s.quant(0).scale)).astype(np.float64), g.so)
    else:
        s.write(s.rescaled(_of_two(s, x, s.read(1, g.dim, g.sb))), g.so)


def _of_two(s: _Step, x: F64, y: F64) -> NDArray[np.float32]:
    a, b, out = s.quant(0), s.quant(1), s.quant()
    left, right = (x - a.zero).astype(np.float32), (y - b.zero).astype(np.float32)
    if s.op.fn == c.FIL_QMAP_MUL:
        factor = np.float32(a.scale) * np.float32(b.scale) / np.float32(out.scale)
        return np.asarray(left * right * factor, np.float32)
    left, right = left * _ratio(a.scale, out.scale), right * _ratio(b.scale, out.scale)
    return np.asarray(left + right if s.op.fn == c.FIL_QMAP_ADD else left - right, np.float32)


def _qreduce(s: _Step, g: ReduceParams) -> None:
    x = s.read(0, (g.outer, g.reduce, g.inner), (g.outer_s, g.reduce_s, g.inner_s))
    if g.fn == c.FIL_REDUCE_MAX:
        s.write(s.kept(x.max(axis=1)), (g.outer_so, g.inner_so))
        return
    factor = _ratio(s.quant(0).scale, s.quant().scale)
    if g.fn == c.FIL_REDUCE_MEAN:
        factor = np.float32(factor / np.float32(g.reduce))
    sums = (x - s.quant(0).zero).sum(axis=1).astype(np.float32)
    s.write(s.rescaled(sums * factor), (g.outer_so, g.inner_so))


def _qsoftmax(s: _Step, g: SoftmaxParams) -> None:
    strides = (g.outer_s, g.axis_s, g.inner_s)
    x = s.read(0, (g.outer, g.axis, g.inner), strides)
    table = s.buffers[s.op.inputs[1]][s.op.y_offset :].astype(np.float32)
    powers = table[np.nan_to_num(x.max(axis=1, keepdims=True) - x).astype(int)]
    total = np.zeros_like(powers[:, :1])
    for i in range(g.axis):
        total = total + powers[:, i : i + 1]
    factor = np.float32(1) / (total * np.float32(s.quant().scale))
    s.write(s.rescaled(powers * factor), strides)


_KINDS: dict[int, Callable[[_Step, Any], None]] = {
    c.FIL_OP_SPMM: _spmm,
    c.FIL_OP_CONV: _conv,
    c.FIL_OP_DWCONV: _dwconv,
    c.FIL_OP_SPMV: _spmv,
    c.FIL_OP_POOL: _pool,
    c.FIL_OP_MAP: _map,
    c.FIL_OP_REDUCE: _reduce,
    c.FIL_OP_SOFTMAX: _softmax,
    c.FIL_OP_MATMUL: _matmul,
    c.FIL_OP_PIXELS: _pixels,
    c.FIL_OP_SPMM4: _spmm,
    c.FIL_OP_SPMV4: _spmv,
    c.FIL_OP_QSPMM: _spmm,
    c.FIL_OP_QCONV: _conv,
    c.FIL_OP_QDWCONV: _dwconv,
    c.FIL_OP_QSPMV: _spmv,
    c.FIL_OP_QPOOL: _qpool,
    c.FIL_OP_QMAP: _qmap,
    c.FIL_OP_QREDUCE: _qreduce,
    c.FIL_OP_QSOFTMAX: _qsoftmax,
}
