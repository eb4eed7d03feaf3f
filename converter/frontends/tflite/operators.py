"""How each TFLite operator is written in ONNX: one function per operator, found by its name.

A function asks the builder for what the operator reads and sets what it makes. It raises Refused
with the reason for a form that it cannot write, Contradiction for one that makes no sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
import tflite as schema

from filigree.converter.frontends.tflite.file import Operator, Quantization
from filigree.converter.frontends.tflite.graph import (
    REAL,
    TO_FIRST,
    Array,
    Builder,
    Contradiction,
    Refused,
    held_axis,
)
from filigree.converter.quantize.marks import AWAY, TIES
from filigree.native import enums as c

Lower = Callable[[Builder, Operator], None]
MOST_STEP = 0xFFFF  # of strides, dilations and windows
EPSILON = 1e-6  # of L2_NORMALIZATION, TFLite's


@dataclass(frozen=True)
class Supported:
    """``note``: which forms, for the documentation."""

    write: Lower
    note: str


OPERATORS: dict[str, Supported] = {}


def operator(*kinds: str, note: str = "all") -> Callable[[Lower], Lower]:
    def register(function: Lower) -> Lower:
        OPERATORS.update({kind: Supported(function, note) for kind in kinds})
        return function

    return register


# --- convolutions and fully connected layers ---


@operator("CONV_2D", note="constant weights, grouped too; biases in float32 or int32")
def conv(b: Builder, op: Operator) -> None:
    x, w = _inputs(op, 2, 3)[:2]
    o = _options(op, "Conv2DOptions")
    rows, *kernel, taken = _ranked(b, w)
    channels = _ranked(b, x)[3]
    if channels % taken or rows % (channels // taken):
        raise Contradiction(f"weights {list(b.shape(w))} for {channels} channels")
    weights = _weights(b, w, lambda a: a.transpose(0, 3, 1, 2), axis=0)
    _convolve(b, op, weights, groups=channels // taken, kernel=kernel, options=o)


@operator("DEPTHWISE_CONV_2D", note="constant weights; biases in float32 or int32")
def depthwise(b: Builder, op: Operator) -> None:
    x, w = _inputs(op, 2, 3)[:2]
    o = _options(op, "DepthwiseConv2DOptions")
    one, *kernel, rows = _ranked(b, w)
    channels = _ranked(b, x)[3]
    if one != 1 or rows % channels:
        raise Contradiction(f"weights {list(b.shape(w))} for {channels} channels")
    weights = _weights(b, w, lambda a: a.transpose(3, 0, 1, 2), axis=3)
    _convolve(b, op, weights, groups=channels, kernel=kernel, options=o)


@operator("FULLY_CONNECTED", note="constant weights; keep_num_dims or flattened")
def fully_connected(b: Builder, op: Operator) -> None:
    x, w = _inputs(op, 2, 3)[:2]
    o = _options(op, "FullyConnectedOptions")
    if o.WeightsFormat() != schema.FullyConnectedOptionsWeightsFormat.DEFAULT:
        raise Refused("its weights are shuffled")
    shape = b.shape(x)
    if len(b.shape(w)) != 2:
        raise Contradiction(f"weights {list(b.shape(w))}")
    rows, cols = b.shape(w)
    if math.prod(shape) % cols or (o.KeepNumDims() and shape[-1:] != (cols,)):
        raise Contradiction(f"weights {list(b.shape(w))} for inputs {list(shape)}")
    bias = _bias(b, op, rows)
    if o.KeepNumDims() and len(shape) != 2:
        weights = _weights(b, w, lambda a: a.T, axis=0, to=1)
        y = b.node("MatMul", [b.plain(x), weights], main=True)
        y = b.node("Add", [y, bias]) if bias is not None else y
        y = b.turned(y, shape, TO_FIRST)
    else:
        flat = b.reshaped(b.real(x), shape, (math.prod(shape) // cols, cols))
        weights = _weights(b, w, lambda a: a, axis=0)
        given = [flat, weights, *([bias] if bias is not None else [])]
        y = b.node("Gemm", given, main=True, transB=1)
    b.set(op.outputs[0], _activated(b, y, o.FusedActivationFunction()))


def _convolve(
    b: Builder,
    op: Operator,
    weights: ir.Value,
    *,
    groups: int,
    kernel: Sequence[int],
    options: Any,
) -> None:
    x = op.inputs[0]
    stride = (options.StrideH(), options.StrideW())
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    rows = b.shape(op.outputs[0])[-1:]
    bias = _bias(b, op, math.prod(rows))
    attributes: dict[str, Any] = {
        "kernel_shape": list(kernel),
        "strides": list(stride),
        "dilations": list(dilation),
        "group": groups,
        "pads": _pads(b.shape(x)[1:3], kernel, stride, dilation, options.Padding()),
    }
    given = [b.real(x), weights, *([bias] if bias is not None else [])]
    y = b.node("Conv", given, main=True, **attributes)
    b.set(op.outputs[0], _activated(b, y, options.FusedActivationFunction()))


def _weights(
    b: Builder, index: int, arrange: Callable[[Array], Array], *, axis: int, to: int = 0
) -> ir.Value:
    """Constant weights; scales, if there are several, are those of TFLite's ``axis``, which is
    ``to`` once they are arranged."""
    b.constant(index)
    scales = b.tensors[index].quantization
    if scales is not None and len(scales.scale) > 1 and scales.axis != axis:
        raise Refused(f"its weights have a scale for each index of axis {scales.axis}")
    return b.arranged(index, f"weights.{axis}.{to}", arrange, axis=to)


def _bias(b: Builder, op: Operator, rows: int) -> ir.Value | None:
    """The third input; an integer one counts in steps of the input's scale times the weights'."""
    index = op.inputs[2] if len(op.inputs) > 2 else -1
    if index < 0:
        return None
    array = b.constant(index)
    if array.size != rows:
        raise Contradiction(f"{array.size} biases for {rows} outputs")
    if array.dtype != np.int32:
        return b.arranged(index, "bias", lambda a: a.reshape(-1))
    x, w = (b.tensors[i].quantization for i in op.inputs[:2])
    if x is None or w is None or b.tensors[op.inputs[0]].dtype not in REAL:
        raise Refused("an int32 bias of an operator that is not of 8 bits")
    steps = (x.scale.astype(np.float64) * w.scale).astype(np.float32)
    return b.bias(index, Quantization(steps, np.zeros(len(steps), np.int64), 0))


# --- windows ---


@operator("AVERAGE_POOL_2D")
def average_pool(b: Builder, op: Operator) -> None:
    o, attributes = _window(b, op)
    y = b.node("AveragePool", [b.real(op.inputs[0])], main=True, **attributes)
    maker = y.producer()
    assert maker is not None
    maker.metadata_props[TIES] = AWAY
    b.set(op.outputs[0], _activated(b, y, o.FusedActivationFunction()))


@operator("MAX_POOL_2D")
def max_pool(b: Builder, op: Operator) -> None:
    o, attributes = _window(b, op)
    y = b.node("MaxPool", [b.real(op.inputs[0])], main=True, **attributes)
    b.set(op.outputs[0], _activated(b, y, o.FusedActivationFunction()))


@operator("L2_POOL_2D")
def l2_pool(b: Builder, op: Operator) -> None:
    o, attributes = _window(b, op)
    x = b.real(op.inputs[0])
    squares = b.node("AveragePool", [b.node("Mul", [x, x])], main=True, **attributes)
    y = b.node("Sqrt", [squares])
    b.set(op.outputs[0], _activated(b, y, o.FusedActivationFunction()))


def _window(b: Builder, op: Operator) -> tuple[Any, dict[str, Any]]:
    (x,) = _inputs(op, 1)
    o = _options(op, "Pool2DOptions")
    kernel, stride = (o.FilterHeight(), o.FilterWidth()), (o.StrideH(), o.StrideW())
    pads = _pads(_ranked(b, x)[1:3], kernel, stride, (1, 1), o.Padding())
    return o, {"kernel_shape": list(kernel), "strides": list(stride), "pads": pads}


def _pads(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: int,
) -> list[int]:
    """ONNX's pads, top, left, bottom, right, of TFLite's VALID or SAME."""
    steps = (*kernel, *stride, *dilation)
    if any(not 1 <= n <= MOST_STEP for n in steps):
        raise Contradiction(f"window, strides and dilations {list(steps)}: 1 to {MOST_STEP}")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if padding == schema.Padding.VALID:
        if any(r > n for r, n in zip(reach, size, strict=True)):
            raise Contradiction(f"a window of {reach} on an input of {list(size)}")
        return [0, 0, 0, 0]
    if padding != schema.Padding.SAME:
        raise Contradiction(f"the unknown padding {padding}")
    total = [
        max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(size, stride, reach, strict=True)
    ]
    return [*(t // 2 for t in total), *(t - t // 2 for t in total)]


# --- element by element ---

ACTIVATIONS = {
    "RELU": "Relu",
    "LOGISTIC": "Sigmoid",
    "TANH": "Tanh",
    "HARD_SWISH": "HardSwish",
    "EXP": "Exp",
    "ABS": "Abs",
    "NEG": "Neg",
    "SQRT": "Sqrt",
}
CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}
ARITHMETIC = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}
EXTREMES = {"MAXIMUM": "Max", "MINIMUM": "Min"}


@operator(*ACTIVATIONS)
def activation(b: Builder, op: Operator) -> None:
    (x,) = _inputs(op, 1)
    b.set(op.outputs[0], b.node(ACTIVATIONS[op.kind], [b.real(x)], main=True))


@operator(*CLIPS)
def clip(b: Builder, op: Operator) -> None:
    (x,) = _inputs(op, 1)
    low, high = CLIPS[op.kind]
    b.set(op.outputs[0], _clipped(b, b.real(x), low, high, main=True))


@operator("LEAKY_RELU")
def leaky_relu(b: Builder, op: Operator) -> None:
    (x,) = _inputs(op, 1)
    alpha = _number(_options(op, "LeakyReluOptions").Alpha(), "alpha")
    b.set(op.outputs[0], b.node("LeakyRelu", [b.real(x)], main=True, alpha=alpha))


@operator("PRELU", note="constant slopes")
def prelu(b: Builder, op: Operator) -> None:
    x, slope = _inputs(op, 2)
    b.constant(slope)
    given = [b.real(x), b.operand(slope, len(b.shape(x)))]
    b.set(op.outputs[0], b.node("PRelu", given, main=True))


@operator(*ARITHMETIC)
def arithmetic(b: Builder, op: Operator) -> None:
    o = _options(op, f"{ARITHMETIC[op.kind]}Options", needed=False)
    y = b.node(ARITHMETIC[op.kind], _operands(b, op), main=True)
    b.set(op.outputs[0], _activated(b, y, o.FusedActivationFunction() if o else 0))


@operator(*EXTREMES)
def extreme(b: Builder, op: Operator) -> None:
    b.set(op.outputs[0], b.node(EXTREMES[op.kind], _operands(b, op), main=True))


@operator("SQUARE")
def square(b: Builder, op: Operator) -> None:
    x = b.real(_inputs(op, 1)[0])
    b.set(op.outputs[0], b.node("Mul", [x, x], main=True))


def _operands(b: Builder, op: Operator) -> list[ir.Value]:
    """Two operands that broadcast by ONNX's rule."""
    pair = _inputs(op, 2)
    rank = max(len(b.shape(i)) for i in pair)
    if all(math.prod(b.shape(i)) == 1 and b.is_constant(i) for i in pair):
        raise Refused("both operands are constants")
    return [b.operand(i, rank) for i in pair]


def _activated(b: Builder, x: ir.Value, kind: int) -> ir.Value:
    """``x`` behind a fused activation."""
    kinds = schema.ActivationFunctionType
    if kind == kinds.NONE:
        return x
    if kind == kinds.RELU:
        return b.node("Relu", [x])
    if kind == kinds.TANH:
        return b.node("Tanh", [x])
    if kind == kinds.RELU6:
        return _clipped(b, x, 0.0, 6.0)
    if kind == kinds.RELU_N1_TO_1:
        return _clipped(b, x, -1.0, 1.0)
    names = {v: k for k, v in vars(kinds).items() if isinstance(v, int)}
    raise Refused(f"the activation {names.get(kind, kind)}")


def _clipped(b: Builder, x: ir.Value, low: float, high: float, *, main: bool = False) -> ir.Value:
    return b.node("Clip", [x, b.number(low), b.number(high)], main=main)


# --- along axes ---


@operator("SOFTMAX")
def softmax(b: Builder, op: Operator) -> None:
    (x,) = _inputs(op, 1)
    o = _options(op, "SoftmaxOptions", needed=False)
    beta = _number(o.Beta(), "beta") if o else 1.0
    value = b.real(x)
    if beta != 1.0:
        value = b.node("Mul", [value, b.number(beta)])
    axis = held_axis(-1, len(b.shape(x)))
    b.set(op.outputs[0], b.node("Softmax", [value], main=True, axis=axis))


@operator("L2_NORMALIZATION", note="along the last axis")
def l2_normalization(b: Builder, op: Operator) -> None:
    (x,) = _inputs(op, 1)
    value = b.real(x)
    axes = b.integers([held_axis(-1, len(b.shape(x)))])
    total = b.node("ReduceSum", [b.node("Mul", [value, value]), axes], keepdims=1)
    length = b.node("Max", [b.node("Sqrt", [total]), b.number(EPSILON)])
    y = b.node("Div", [value, length], main=True)
    o = _options(op, "L2NormOptions", needed=False)
    b.set(op.outputs[0], _activated(b, y, o.FusedActivationFunction() if o else 0))


@operator("MEAN", "SUM", "REDUCE_MAX", note="constant axes")
def reduce(b: Builder, op: Operator) -> None:
    x, second = _inputs(op, 2)
    o = _options(op, "ReducerOptions", needed=False)
    shape = b.shape(x)
    axes = sorted({held_axis(a, len(shape)) for a in b.indices(second)})
    rest = [a for a in range(len(shape)) if held_axis(a, len(shape)) not in axes]
    in_order = len(shape) != 4 or 3 not in rest or rest in ([3], [0, 3])
    if o is not None and o.KeepDims():
        value = _reduced(b, op.kind, b.real(x), axes, keep=True)
    elif in_order:
        value = _reduced(b, op.kind, b.real(x), axes, keep=False)
    else:
        value = _reduced(b, op.kind, b.real(x), axes, keep=True)
        kept = tuple(n if a in rest else 1 for a, n in enumerate(shape))
        value = b.reshaped(value, kept, tuple(shape[a] for a in rest))
    b.set(op.outputs[0], value)


def _reduced(b: Builder, kind: str, x: ir.Value, axes: list[int], *, keep: bool) -> ir.Value:
    if kind == "SUM":
        return b.node("ReduceSum", [x, b.integers(axes)], main=True, keepdims=int(keep))
    name = "ReduceMean" if kind == "MEAN" else "ReduceMax"
    return b.node(name, [x], main=True, axes=axes, keepdims=int(keep))


@operator("CONCATENATION")
def concatenation(b: Builder, op: Operator) -> None:
    o = _options(op, "ConcatenationOptions")
    parts = _inputs(op, 1, c.FIL_MAX_OPS)
    rank = len(b.shape(op.outputs[0]))
    if any(len(b.shape(i)) != rank for i in parts):
        raise Contradiction("its inputs differ in rank")
    axis = held_axis(o.Axis(), rank)
    y = b.node("Concat", [b.real(i) for i in parts], main=True, axis=axis)
    b.set(op.outputs[0], _activated(b, y, o.FusedActivationFunction()))


@operator("PAD", "PADV2", note="constant pads and value")
def pad(b: Builder, op: Operator) -> None:
    x, second = _inputs(op, 2 if op.kind == "PAD" else 3)[:2]
    rank = len(b.shape(x))
    given = b.indices(second)
    if len(given) != 2 * rank or any(not 0 <= n <= c.FIL_MAX_DIM for n in given):
        raise Contradiction(f"pads {given[:16]} for a tensor of rank {rank}")
    pads = [0] * (2 * rank)
    for axis in range(rank):
        at = held_axis(axis, rank)
        pads[at], pads[rank + at] = given[2 * axis : 2 * axis + 2]
    inputs = [b.real(x), b.integers(pads)]
    if op.kind == "PADV2":
        b.constant(op.inputs[2])
        inputs.append(b.operand(op.inputs[2], 0))
    b.set(op.outputs[0], b.node("Pad", inputs, main=True))


@operator("TRANSPOSE", note="constant order")
def transpose(b: Builder, op: Operator) -> None:
    x, second = _inputs(op, 2)
    perm, rank = b.indices(second), len(b.shape(x))
    if sorted(perm) != list(range(rank)):
        raise Contradiction(f"the order {perm[:16]} for a tensor of rank {rank}")
    if rank == 4:  # from channels first to channels first
        perm = [held_axis(perm[a], 4) for a in TO_FIRST]
    b.set(op.outputs[0], b.node("Transpose", [b.real(x)], main=True, perm=perm))


@operator("SLICE", note="constant bounds")
def slice_(b: Builder, op: Operator) -> None:
    x, begin, size = _inputs(op, 3)
    shape = b.shape(x)
    starts, counts = b.indices(begin), b.indices(size)
    if len(starts) != len(shape) or len(counts) != len(shape):
        raise Contradiction(f"bounds {starts} and sizes {counts} for {list(shape)}")
    ends = [n if k == -1 else s + k for n, s, k in zip(shape, starts, counts, strict=True)]
    _cut(b, op, [range(s, e) for s, e in zip(starts, ends, strict=True)])


@operator("STRIDED_SLICE", note="constant bounds, positive steps; no ellipsis and no new axis")
def strided_slice(b: Builder, op: Operator) -> None:
    x, *bounds = _inputs(op, 4)
    o = _options(op, "StridedSliceOptions")
    if o.EllipsisMask() or o.NewAxisMask() or o.Offset():
        raise Refused("with an ellipsis, a new axis or offsets")
    shape = b.shape(x)
    starts, ends, steps = (b.indices(i) for i in bounds)
    if not len(starts) == len(ends) == len(steps) <= len(shape):
        raise Contradiction(f"bounds {starts}, {ends} and steps {steps} for {list(shape)}")
    if any(step < 1 for step in steps):
        raise Refused(f"steps {steps}")
    taken = [range(n) for n in shape]
    for axis, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True)):
        if o.ShrinkAxisMask() >> axis & 1:
            index = start % shape[axis] if -shape[axis] <= start < shape[axis] else shape[axis]
            taken[axis] = range(index, index + 1)
            continue
        first = None if o.BeginMask() >> axis & 1 else start
        last = None if o.EndMask() >> axis & 1 else end
        taken[axis] = range(shape[axis])[first:last:step]
    _cut(b, op, taken, gone=o.ShrinkAxisMask())


def _cut(b: Builder, op: Operator, taken: Sequence[range], *, gone: int = 0) -> None:
    """The indices ``taken`` of every axis; axes whose bits are in ``gone`` go away."""
    x, y = op.inputs[0], op.outputs[0]
    shape = b.shape(x)
    if any(not r or r[0] < 0 or r[-1] >= n for r, n in zip(taken, shape, strict=True)):
        raise Contradiction(f"nothing, or more than there is, of {list(shape)}")
    found = tuple(len(r) for r in taken)
    value = b.real(x)
    for axis, (indices, n) in enumerate(zip(taken, shape, strict=True)):
        if indices != range(n):
            value = b.slice(value, held_axis(axis, len(shape)), indices)
    kept = tuple(n for axis, n in enumerate(found) if not gone >> axis & 1)
    b.set(y, b.reshaped(value, found, kept))


@operator("SPLIT", note="constant axis")
def split(b: Builder, op: Operator) -> None:
    first, x = _inputs(op, 2)
    shape, (axis, *_) = b.shape(x), b.indices(first)
    at, value = held_axis(axis, len(shape)), b.real(x)
    size, left = divmod(shape[axis], len(op.outputs))
    if left or not size:
        raise Contradiction(f"{shape[axis]} in {len(op.outputs)} parts")
    for i, y in enumerate(op.outputs):
        b.set(y, b.slice(value, at, range(i * size, (i + 1) * size)))


@operator("RESHAPE", "SQUEEZE", "EXPAND_DIMS", note="static shapes")
def reshape(b: Builder, op: Operator) -> None:
    x = _inputs(op, 1, 2)[0]
    y = op.outputs[0]
    before, after = b.shape(x), b.shape(y)
    if math.prod(before) != math.prod(after) or not _fits(_asked(b, op), after):
        raise Contradiction(f"{list(before)} as {list(after)}")
    b.set(y, b.reshaped(b.real(x), before, after))


def _asked(b: Builder, op: Operator) -> list[int]:
    """The shape that a RESHAPE asks for, if it says so itself: one that is computed is on file."""
    if op.kind != "RESHAPE":
        return []
    if len(op.inputs) > 1 and op.inputs[1] >= 0 and b.is_constant(op.inputs[1]):
        return b.indices(op.inputs[1])
    o = _options(op, "ReshapeOptions", needed=False)
    shape = o.NewShapeAsNumpy() if o and len(op.inputs) == 1 else 0
    return [int(n) for n in shape[:16]] if isinstance(shape, np.ndarray) else []


def _fits(asked: Sequence[int], shape: Sequence[int]) -> bool:
    if not asked:
        return True
    return len(asked) == len(shape) and all(a in (-1, n) for a, n in zip(asked, shape, strict=True))


# --- numbers of other kinds ---


@operator("QUANTIZE", note="to int8 and uint8")
def quantize(b: Builder, op: Operator) -> None:
    x, y = _inputs(op, 1)[0], op.outputs[0]
    if b.tensors[y].quantization is None or b.tensors[y].dtype not in REAL:
        raise Refused(f"to {b.tensors[y].dtype}")
    b.set(y, b.real(x))


@operator("DEQUANTIZE", note="int8 and uint8; float16, int8 and uint8 constants")
def dequantize(b: Builder, op: Operator) -> None:
    x, y = _inputs(op, 1)[0], op.outputs[0]
    given, made = b.tensors[x], b.tensors[y]
    if made.dtype != np.float32 or given.shape != made.shape:
        raise Contradiction(f"{given.dtype} {list(given.shape)} to {made.dtype} {list(made.shape)}")
    if given.data is None:
        b.set(y, b.real(x))
    elif given.dtype == np.float16:
        b.tensors[y] = replace(made, data=given.data.astype(np.float32), quantization=None)
    elif given.dtype in REAL and given.quantization is not None:
        b.tensors[y] = replace(given, name=made.name)
    else:
        raise Refused(f"of {given.dtype}")


@operator("CAST", note="float32, or an input of uint8, to float32")
def cast(b: Builder, op: Operator) -> None:
    """Of an image as cameras give it, before anything turns it: one operation does both."""
    x, y = _inputs(op, 1)[0], op.outputs[0]
    given, made = b.tensors[x], b.tensors[y]
    if made.dtype != np.float32 or given.dtype not in (np.float32, np.uint8):
        raise Refused(f"of {given.dtype} to {made.dtype}")
    if given.dtype == np.float32:
        b.set(y, b.real(x))
        return
    if given.quantization is not None or not b.is_input(x):
        raise Refused("of uint8 that is quantised or no input")
    value = b.node("Cast", [b.input(x)], main=True, to=ir.DataType.FLOAT.value)
    b.set(y, b.turned(value, given.shape, TO_FIRST))


@operator("DENSIFY", note="constants")
def densify(b: Builder, op: Operator) -> None:
    x, y = _inputs(op, 1)[0], op.outputs[0]
    given, made = b.tensors[x], b.tensors[y]
    if (given.dtype, given.shape) != (made.dtype, made.shape):
        raise Contradiction(f"{given.dtype} {list(given.shape)} to {made.dtype} {list(made.shape)}")
    scales = made.quantization or given.quantization
    b.tensors[y] = replace(given, name=made.name, data=b.constant(x), quantization=scales)


# --- what all of them ask ---


def _inputs(op: Operator, least: int, most: int | None = None) -> tuple[int, ...]:
    """The operator's inputs; the first ``least`` are there."""
    most = least if most is None else most
    if not least <= len(op.inputs) <= most:
        raise Contradiction(f"{len(op.inputs)} inputs")
    if any(i < 0 for i in op.inputs[:least]):
        raise Contradiction("an input is left out")
    return op.inputs


def _options(op: Operator, kind: str, *, needed: bool = True) -> Any:
    if op.options is None and not needed:
        return None
    if type(op.options).__name__ != kind:
        raise Contradiction(f"its options are not {kind}")
    return op.options


def _ranked(b: Builder, index: int) -> tuple[int, ...]:
    shape = b.shape(index)
    if len(shape) != 4:
        raise Contradiction(f'"{b.tensors[index].name}" has rank {len(shape)}, not 4')
    return shape


def _number(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise Contradiction(f"{what} is {value}")
    return float(value)
