"""Small TFLite networks, one per form of an operator, and their quantised twins."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite as schema
from numpy.typing import NDArray

from tests.models.flat import File, Scales

Array = NDArray[Any]
SAME, VALID = 0, 1
NONE, RELU, RELU_N1_TO_1, RELU6, TANH = range(5)
LAYERS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}  # axis of output channels
KEEPS_SCALE = {
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "RESHAPE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "PAD",
    "TRANSPOSE",
    "SLICE",
    "STRIDED_SLICE",
    "SPLIT",
    "MAXIMUM",
    "MINIMUM",
    "CONCATENATION",
}
FIXED_SCALE = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
FIXED_SCALE["L2_NORMALIZATION"] = (1 / 128, 0)


class Net:
    """A file that grows by one operator at a time; constants are seeded noise near 1."""

    def __init__(self, name: str) -> None:
        self.file = File()
        self.kinds: list[str] = []
        self._draw = np.random.default_rng(zlib.crc32(name.encode()))

    def input(self, *shape: int) -> int:
        self.file.inputs.append(self.file.tensor(f"x{len(self.file.inputs)}", shape))
        return self.file.inputs[-1]

    def floats(self, *shape: int, fan_in: int = 1) -> int:
        array = self._draw.standard_normal(shape) / np.sqrt(fan_in)
        return self.file.constant(f"c{len(self.file.tensors)}", array.astype(np.float32))

    def ints(self, values: Any, dtype: str = "int32") -> int:
        return self.file.constant(f"i{len(self.file.tensors)}", np.array(values, dtype))

    def op(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: str | None = None,
        **fields: Any,
    ) -> int:
        """The operator's result, of ``shape``."""
        made = self.file.tensor(f"t{len(self.file.tensors)}", shape)
        self.file.operator(kind, inputs, [made], options, **fields)
        self.kinds.append(kind)
        return made

    def conv(
        self,
        x: int,
        rows: int,
        out: tuple[int, int],
        *,
        kernel: tuple[int, int] = (3, 3),
        padding: int = SAME,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        act: int = NONE,
        depthwise: int = 0,
        groups: int = 1,
        bias: bool = True,
    ) -> int:
        """A convolution of ``rows`` channels; ``depthwise``: the multiplier, then rows is not
        read."""
        n, _, _, channels = self.file.tensors[x].shape
        taps = kernel[0] * kernel[1]
        rows = channels * depthwise if depthwise else rows
        shape = (1, *kernel, rows) if depthwise else (rows, *kernel, channels // groups)
        w = self.floats(*shape, fan_in=taps if depthwise else taps * channels // groups)
        fields = {
            "Padding": padding,
            "StrideH": stride[0],
            "StrideW": stride[1],
            "DilationHFactor": dilation[0],
            "DilationWFactor": dilation[1],
            "FusedActivationFunction": act,
        }
        if depthwise:
            fields["DepthMultiplier"] = depthwise
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        options = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        given = [x, w, *([self.floats(rows)] if bias else [])]
        return self.op(kind, given, (n, *out, rows), options, **fields)

    def dense(self, x: int, rows: int, shape: Sequence[int], *, cols: int, **fields: Any) -> int:
        bias = fields.pop("bias", True)
        given = [x, self.floats(rows, cols, fan_in=cols)]
        given += [self.floats(rows)] if bias else []
        return self.op("FULLY_CONNECTED", given, shape, "FullyConnectedOptions", **fields)

    def pool(
        self, kind: str, x: int, out: tuple[int, int], *, kernel: int, stride: int, padding: int
    ) -> int:
        n, _, _, channels = self.file.tensors[x].shape
        fields = {"Padding": padding, "StrideH": stride, "StrideW": stride}
        fields |= {"FilterHeight": kernel, "FilterWidth": kernel}
        return self.op(kind, [x], (n, *out, channels), "Pool2DOptions", **fields)


@dataclass(frozen=True)
class Case:
    """``eight_bits``: TFLite has it for int8 too. ``litert``: its kernels do all of it; those of
    convolutions want a bias and leave out TANH, that of FULLY_CONNECTED refuses TANH."""

    name: str
    build: Callable[[Net], int | Sequence[int]]
    eight_bits: bool = True
    litert: bool = True

    def net(self) -> Net:
        net = Net(self.name)
        made = self.build(net)
        net.file.outputs = [made] if isinstance(made, int) else list(made)
        return net


def _image(net: Net, channels: int = 4, height: int = 9, width: int = 8) -> int:
    """An input behind a convolution: a value that is held channels first."""
    x = net.input(1, height, width, 3)
    return net.conv(x, channels, (height, width), kernel=(1, 1), act=RELU_N1_TO_1)


def _conv(out: tuple[int, int], **options: Any) -> Callable[[Net], int]:
    return lambda net: net.conv(net.input(1, 9, 8, 4), 6, out, **options)


def _unary(kind: str, **options: Any) -> Callable[[Net], int]:
    def build(net: Net) -> int:
        x = _image(net)
        if kind == "SQRT":
            x = net.op("ABS", [x], (1, 9, 8, 4))
        return net.op(kind, [x], (1, 9, 8, 4), **options)

    return build


def _binary(kind: str, *shapes: Sequence[int], act: int = NONE, second: bool = False) -> Any:
    """With a constant of each shape in turn; ``second``: as the left operand."""

    def build(net: Net) -> int:
        x = _image(net)
        for shape in shapes:
            pair = [net.floats(*shape), x] if second else [x, net.floats(*shape)]
            name = f"{kind.title()}Options"
            x = net.op(kind, pair, (1, 9, 8, 4), name, FusedActivationFunction=act)
        return x

    return build


def _two_inputs(net: Net) -> int:
    x, gate = _image(net), net.input(1, 1, 1, 4)
    y = net.op("MUL", [gate, x], (1, 9, 8, 4), "MulOptions")
    return net.op("ADD", [y, x], (1, 9, 8, 4), "AddOptions", FusedActivationFunction=RELU)


def _lower_rank(net: Net) -> int:
    """A value of rank 2 that broadcasts along channels and width."""
    x, y = _image(net), net.input(8, 4)
    return net.op("ADD", [x, y], (1, 9, 8, 4), "AddOptions")


def _mean(axes: Sequence[int], shape: Sequence[int], *, keep: bool, kind: str = "MEAN") -> Any:
    def build(net: Net) -> int:
        x = _image(net)
        return net.op(kind, [x, net.ints(axes)], shape, "ReducerOptions", KeepDims=keep)

    return build


def _concat(axis: int, shape: Sequence[int]) -> Callable[[Net], int]:
    def build(net: Net) -> int:
        x = _image(net)
        y = net.op("RELU", [x], (1, 9, 8, 4))
        return net.op("CONCATENATION", [x, y, x], shape, "ConcatenationOptions", Axis=axis)

    return build


def _pad(net: Net) -> int:
    x = _image(net)
    return net.op("PAD", [x, net.ints([[0, 0], [1, 2], [0, 3], [1, 0]])], (1, 12, 11, 5))


def _padv2(net: Net) -> int:
    x = _image(net)
    value = net.file.constant("value", np.array(0.75, np.float32))
    pads = net.ints([[0, 0], [1, 0], [2, 1], [0, 1]], "int64")
    return net.op("PADV2", [x, pads, value], (1, 10, 11, 5))


def _pad_conv(net: Net) -> int:
    x = net.input(1, 9, 8, 3)
    padded = net.op("PAD", [x, net.ints([[0, 0], [0, 1], [0, 1], [0, 0]])], (1, 10, 9, 3))
    return net.conv(padded, 4, (4, 4), stride=(2, 2), padding=VALID)


def _flattened(net: Net) -> int:
    """Channel order: every element of a feature map has weights of its own."""
    x = net.conv(net.input(1, 6, 5, 2), 3, (3, 3), stride=(2, 2), act=RELU)
    flat = net.op("RESHAPE", [x, net.ints([-1, 27])], (1, 27), "ReshapeOptions", NewShape=[-1, 27])
    return net.dense(flat, 5, (1, 5), cols=27, FusedActivationFunction=RELU6)


def _flattened_by_dense(net: Net) -> int:
    return net.dense(net.conv(net.input(1, 4, 4, 2), 3, (4, 4)), 5, (1, 5), cols=48)


def _kept_dims(net: Net) -> int:
    y = net.dense(_image(net), 6, (1, 9, 8, 6), cols=4, KeepNumDims=True)
    return net.conv(y, 2, (9, 8), kernel=(1, 1))


def _rows(net: Net) -> int:
    """Rank 3 and a batch of rows, with dims kept and not."""
    x = net.input(1, 7, 6)
    y = net.dense(x, 5, (1, 7, 5), cols=6, KeepNumDims=True, bias=False)
    return net.dense(y, 4, (7, 4), cols=5, FusedActivationFunction=RELU)


def _reshapes(net: Net) -> int:
    """To rank 4 and back, where the order of elements shows."""
    x = net.input(1, 72)
    y = net.op("RESHAPE", [x], (1, 3, 6, 4), "ReshapeOptions", NewShape=[1, 3, 6, 4])
    y = net.op("RELU", [y], (1, 3, 6, 4))
    y = net.op("RESHAPE", [y, net.ints([1, 6, 3, 4])], (1, 6, 3, 4), "ReshapeOptions")
    y = net.conv(y, 4, (6, 3))
    y = net.op("RESHAPE", [y, net.ints([4, 18])], (4, 18), "ReshapeOptions")
    return net.op("RESHAPE", [y, net.ints([4, 3, 2, 3, 1])], (4, 3, 2, 3, 1), "ReshapeOptions")


def _squeezed(net: Net) -> int:
    x = net.pool("AVERAGE_POOL_2D", _image(net), (1, 1), kernel=8, stride=8, padding=VALID)
    y = net.op("SQUEEZE", [x], (1, 4), "SqueezeOptions", SqueezeDims=[1, 2])
    y = net.op("EXPAND_DIMS", [y, net.ints(1)], (1, 1, 4), "ExpandDimsOptions")
    y = net.op("SQUEEZE", [y], (4,), "SqueezeOptions")
    return net.op("SOFTMAX", [y], (4,), "SoftmaxOptions", Beta=1.0)


def _softmax(net: Net) -> int:
    return net.op("SOFTMAX", [_image(net)], (1, 9, 8, 4), "SoftmaxOptions", Beta=1.0)


def _sharp_softmax(net: Net) -> int:
    return net.op("SOFTMAX", [net.input(3, 7)], (3, 7), "SoftmaxOptions", Beta=2.5)


def _transposed(perm: Sequence[int], shape: Sequence[int]) -> Callable[[Net], int]:
    def build(net: Net) -> int:
        y = net.op("TRANSPOSE", [_image(net), net.ints(perm)], shape, "TransposeOptions")
        return net.op("RELU", [y], shape)

    return build


def _transposed_rows(net: Net) -> int:
    x = net.op("RELU", [net.input(2, 5, 3)], (2, 5, 3))
    return net.op("TRANSPOSE", [x, net.ints([2, 0, 1])], (3, 2, 5), "TransposeOptions")


def _slice(net: Net) -> int:
    bounds = [net.ints([0, 2, 1, 1]), net.ints([1, 5, -1, 2])]
    return net.op("SLICE", [_image(net), *bounds], (1, 5, 7, 2), "SliceOptions")


def _strided(
    bounds: Sequence[Sequence[int]], shape: Sequence[int], **masks: int
) -> Callable[[Net], int]:
    def build(net: Net) -> int:
        given = [_image(net), *(net.ints(values) for values in bounds)]
        return net.op("STRIDED_SLICE", given, shape, "StridedSliceOptions", **masks)

    return build


def _split(axis: int, *shape: int) -> Callable[[Net], list[int]]:
    """Both halves, and their sum."""

    def build(net: Net) -> list[int]:
        x = _image(net, height=8)
        given = [net.ints(axis), x]
        halves = [net.file.tensor(f"half{i}", shape) for i in range(2)]
        net.file.operator("SPLIT", given, halves, "SplitOptions", NumSplits=2)
        net.kinds.append("SPLIT")
        return [net.op("ADD", halves, shape, "AddOptions"), *halves]

    return build


def _prelu(*slopes: int) -> Callable[[Net], int]:
    return lambda net: net.op("PRELU", [net.input(1, 9, 8, 4), net.floats(*slopes)], (1, 9, 8, 4))


def _several_outputs(net: Net) -> list[int]:
    """One that is read on, one of rank 2, and one that others are made from."""
    x = _image(net)
    y = net.conv(x, 2, (9, 8))
    z = net.op("MEAN", [y, net.ints([1, 2])], (1, 2), "ReducerOptions")
    return [z, x, y]


def _residual(net: Net) -> int:
    x = _image(net)
    y = net.conv(x, 0, (9, 8), depthwise=1, act=RELU6)
    y = net.conv(y, 4, (9, 8), kernel=(1, 1))
    return net.op("ADD", [y, x], (1, 9, 8, 4), "AddOptions")


def _one_by_one(net: Net) -> int:
    """A map of one position, and of one channel: their orders are the same."""
    x = net.conv(net.input(1, 6, 6, 1), 4, (1, 1), kernel=(6, 6), padding=VALID)
    x = net.op("RESHAPE", [x, net.ints([1, 2, 2, 1])], (1, 2, 2, 1), "ReshapeOptions")
    x = net.conv(x, 3, (2, 2), kernel=(2, 2))
    return net.op("RESHAPE", [x, net.ints([12])], (12,), "ReshapeOptions")


CASES = [
    *(Case(f"conv-{k}", _conv((9, 8), act=v)) for k, v in (("none", NONE), ("relu", RELU))),
    Case("conv-relu6", _conv((9, 8), act=RELU6)),
    Case("conv-relu-n1-to-1", _conv((9, 8), act=RELU_N1_TO_1)),
    Case("conv-tanh", _conv((9, 8), act=TANH), False, False),
    Case("conv-valid", _conv((7, 6), padding=VALID)),
    Case("conv-no-bias", _conv((9, 8), bias=False), False, False),
    Case("depthwise-no-bias", _conv((9, 8), depthwise=1, bias=False), False, False),
    Case("conv-stride-2-same", _conv((5, 4), stride=(2, 2))),
    Case("conv-stride-2-valid", _conv((4, 3), stride=(2, 2), padding=VALID)),
    Case("conv-strides-differ", _conv((3, 8), stride=(3, 1), kernel=(2, 4))),
    Case("conv-dilated", _conv((9, 8), dilation=(2, 2))),
    Case("conv-dilated-valid", _conv((3, 4), dilation=(3, 2), padding=VALID)),
    Case("conv-even-kernel", _conv((9, 8), kernel=(4, 2))),
    Case("conv-1x1", _conv((9, 8), kernel=(1, 1))),
    Case("conv-whole-input", _conv((1, 1), kernel=(9, 8), padding=VALID)),
    Case("conv-grouped", _conv((9, 8), groups=2)),
    Case("depthwise", _conv((9, 8), depthwise=1)),
    Case("depthwise-stride-2", _conv((5, 4), depthwise=1, stride=(2, 2), act=RELU6)),
    Case("depthwise-multiplier", _conv((9, 8), depthwise=3)),
    Case("depthwise-dilated", _conv((9, 8), depthwise=1, dilation=(2, 2), act=RELU)),
    Case("depthwise-valid", _conv((7, 6), depthwise=2, padding=VALID)),
    Case("pad-conv", _pad_conv),
    Case("residual", _residual),
    Case("dense", lambda n: n.dense(n.input(1, 10), 4, (1, 4), cols=10)),
    Case("dense-no-bias", lambda n: n.dense(n.input(3, 10), 4, (3, 4), cols=10, bias=False)),
    Case("dense-flattened", _flattened),
    Case("dense-of-an-image", _flattened_by_dense),
    Case("dense-keeps-dims", _kept_dims),
    Case("dense-rows", _rows),
    Case(
        "dense-tanh",
        lambda n: n.dense(n.input(1, 9), 4, (1, 4), cols=9, FusedActivationFunction=TANH),
        False,
        False,
    ),
    *(
        Case(
            f"{kind[:-8].lower()}-pool-{'same' if pad == SAME else 'valid'}",
            lambda n, kind=kind, pad=pad, out=out: n.pool(
                kind, _image(n), out, kernel=3, stride=2, padding=pad
            ),
            kind != "L2_POOL_2D",
        )
        for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")
        for pad, out in ((SAME, (5, 4)), (VALID, (4, 3)))
    ),
    *(Case(k.lower(), _unary(k)) for k in ("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH")),
    *(Case(k.lower(), _unary(k), False) for k in ("RELU_0_TO_1", "EXP", "ABS", "NEG", "SQRT")),
    Case("square", _unary("SQUARE"), False),
    Case("hard-swish", _unary("HARD_SWISH")),
    Case("leaky-relu", _unary("LEAKY_RELU", options="LeakyReluOptions", Alpha=0.2)),
    Case("slice", _slice),
    Case("strided-slice", _strided(([0, 1, 0, 0], [1, 9, -1, 4], [1, 3, 2, 1]), (1, 3, 4, 4))),
    Case(
        "strided-slice-masks",
        _strided(([0, 1, 3, 2], [1, 2, 6, 3], [1, 2, 1, 1]), (1, 4, 8, 2), BeginMask=4, EndMask=14),
    ),
    Case(
        "strided-slice-shrinks",
        _strided(([0, -2, 0, 1], [1, 0, 8, 9], [1, 1, 1, 1]), (1, 8, 3), ShrinkAxisMask=2),
    ),
    Case("split-channels", _split(3, 1, 8, 8, 2)),
    Case("split-height", _split(-3, 1, 4, 8, 4)),
    Case("prelu", _prelu(1, 1, 4)),
    Case("prelu-positions", _prelu(9, 8, 4)),
    Case("add", _binary("ADD", (4,), (1, 9, 8, 4), (), (1, 1, 8, 1), act=RELU_N1_TO_1), False),
    Case("add-channels", _binary("ADD", (4,))),
    Case("sub", _binary("SUB", (1, 1, 1, 4), (9, 8, 4))),
    Case("sub-from-constant", _binary("SUB", (4,), second=True)),
    Case("mul", _binary("MUL", (4,), (8, 1), (1,), act=RELU6), False),
    Case("mul-channels", _binary("MUL", (4,))),
    Case("div", _binary("DIV", (4,)), False),
    *(
        Case(
            kind.lower(),
            lambda n, kind=kind: n.op(kind, [_image(n), n.input(1, 9, 8, 4)], (1, 9, 8, 4)),
        )
        for kind in ("MAXIMUM", "MINIMUM")
    ),
    Case("two-inputs", _two_inputs),
    Case("lower-rank", _lower_rank),
    Case("mean", _mean([1, 2], (1, 4), keep=False)),
    Case("mean-keeps", _mean([2, 1], (1, 1, 1, 4), keep=True)),
    Case("mean-of-height", _mean([1], (1, 8, 4), keep=False)),
    Case("mean-of-channels", _mean([-1], (1, 9, 8), keep=False)),
    Case("mean-of-channels-keeps", _mean([3], (1, 9, 8, 1), keep=True)),
    Case("mean-of-all", _mean([0, 1, 2, 3], (), keep=False), False),
    Case("sum", _mean([1, 2], (1, 4), keep=False, kind="SUM"), False),
    Case("reduce-max", _mean([2], (1, 9, 4), keep=False, kind="REDUCE_MAX"), False),
    *(
        Case(f"concat-{axis}", _concat(axis, shape))
        for axis, shape in ((3, (1, 9, 8, 12)), (-2, (1, 9, 24, 4)), (1, (1, 27, 8, 4)))
    ),
    Case("pad", _pad),
    Case("padv2", _padv2, False),
    Case("reshapes", _reshapes),
    Case("squeeze", _squeezed),
    Case("one-by-one", _one_by_one),
    Case("softmax", _softmax),
    Case("softmax-beta", _sharp_softmax),
    Case(
        "l2-normalization",
        lambda n: n.op("L2_NORMALIZATION", [_image(n)], (1, 9, 8, 4), "L2NormOptions"),
        False,
    ),
    Case("transpose", _transposed((0, 3, 1, 2), (1, 4, 9, 8))),
    Case("transpose-sides", _transposed((0, 2, 1, 3), (1, 8, 9, 4))),
    Case("transpose-rows", _transposed_rows),
    Case("several-outputs", _several_outputs),
]


def quantised(net: Net, ranges: Mapping[str, tuple[float, float]], dtype: str) -> File:
    """``net`` with 8-bit values: ``ranges`` of every one that is no constant; weights per channel
    for int8, all with one scale and zero point for uint8; biases in int32."""
    old, new = net.file, File()
    scales: dict[int, Scales] = {}
    for i, t in enumerate(old.tensors):
        if not t.buffer and t.kind == 0:
            low, high = ranges[t.name]
            scales[i] = _covering(low, high, dtype)
    for _ in range(2):
        for kind, op in zip(net.kinds, old.operators, strict=True):
            for i in (*op.inputs, *op.outputs) if kind in KEEPS_SCALE else ():
                if i in scales:
                    scales[i] = scales[op.inputs[kind == "SPLIT"]]
            if kind in FIXED_SCALE:
                scale, zero = FIXED_SCALE[kind]
                scales[op.outputs[0]] = Scales([scale], [zero + 128 * (dtype == "uint8")])
    layers = {
        i: (op, LAYERS[kind])
        for kind, op in zip(net.kinds, old.operators, strict=True)
        for i in op.inputs[1:]
        if kind in LAYERS
    }
    for i, t in enumerate(old.tensors):
        if i in scales:
            new.tensor(t.name, t.shape, dtype=dtype, scales=scales[i])
        elif t.kind != 0:
            integers = "int64" if t.kind == schema.TensorType.INT64 else "int32"
            new.tensor(t.name, t.shape, dtype=integers, data=_raw(old, i))
        elif i in layers and layers[i][0].inputs[1] == i:
            _add_weights(new, old, i, dtype, layers[i][1])
        elif i in layers:
            x, w = (new.tensors[k].scales for k in layers[i][0].inputs[:2])
            assert x is not None and w is not None
            steps = np.array(w.scale) * x.scale[0]
            q = np.round(_floats(old, i) / steps).astype(np.int32)
            new.constant(t.name, q, scales=Scales(steps, [0] * len(steps)))
        else:
            array = _floats(old, i)
            found = _covering(float(array.min()), float(array.max()), dtype)
            new.constant(t.name, _rounded(array, found, dtype), scales=found)
    for kind, op in zip(net.kinds, old.operators, strict=True):
        name, fields = op.options or (None, {})
        new.operator(kind, op.inputs, op.outputs, name, **fields)
    new.inputs, new.outputs = old.inputs, old.outputs
    return new


def _add_weights(new: File, old: File, i: int, dtype: str, axis: int) -> None:
    array, name = _floats(old, i), old.tensors[i].name
    if dtype == "uint8":
        found = _covering(float(array.min()), float(array.max()), dtype)
        new.constant(name, _rounded(array, found, dtype), scales=found)
        return
    rest = tuple(a for a in range(array.ndim) if a != axis)
    most = np.abs(array).max(axis=rest) if array.ndim > 2 else np.abs(array).max(keepdims=True)
    scale = most.reshape(-1) / 127
    shape = [-1 if a == axis else 1 for a in range(array.ndim)]
    q = np.round(array / scale.reshape(shape)).astype(np.int8)
    new.constant(name, q, scales=Scales(scale, [0] * len(scale), axis if len(scale) > 1 else 0))


def _covering(low: float, high: float, dtype: str) -> Scales:
    low, high = min(low, 0.0), max(high, 0.0)
    limits = np.iinfo(dtype)
    scale = float(np.float32((high - low) / 255)) or 1.0
    return Scales([scale], [int(np.clip(round(limits.min - low / scale), limits.min, limits.max))])


def _rounded(array: Array, s: Scales, dtype: str) -> Array:
    limits = np.iinfo(dtype)
    return np.clip(np.round(array / s.scale[0]) + s.zero[0], limits.min, limits.max).astype(dtype)


def _raw(file: File, i: int) -> bytes:
    return file.buffers[file.tensors[i].buffer]


def _floats(file: File, i: int) -> Array:
    return np.frombuffer(_raw(file, i), np.float32).reshape(file.tensors[i].shape)
