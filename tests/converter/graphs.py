"""Random small ONNX graphs: one seed, one graph, whatever networks are made of and odd forms of it.

    python -m tests.converter.graphs 4711     # print the graph of a seed

Values stay near 1 in size, so that an error in a layer shows at the outputs.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

F32 = NDArray[np.float32]
Shape = tuple[int, ...]

MOST_ELEMENTS = 5000
DIMS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17)
UNARY = ("Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Abs", "Neg")
SIZES = ((1, 1), (2, 3), (4, 4), (5, 3))
ROWS = (2, 4, 5, 6, 8, 12)
PERMS_4 = ((0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (1, 0, 2, 3), (3, 2, 1, 0))


@dataclass(frozen=True)
class Graph:
    """A model and inputs in the model's own layout, by name."""

    seed: int
    model: onnx.ModelProto
    inputs: dict[str, F32]

    def nhwc_inputs(self) -> set[str]:
        """Images that the model itself takes as NHWC: all it does is transpose them to NCHW."""
        graph = self.model.graph
        found = set()
        for value in graph.input:
            readers = [n for n in graph.node if value.name in n.input]
            perms = [tuple(helper.get_node_attr_value(n, "perm")) for n in readers if _moves(n)]
            if readers and perms == [(0, 3, 1, 2)] * len(readers):
                found.add(value.name)
        return found


def random_graph(seed: int) -> Graph:
    """The graph of ``seed``: the same on every machine."""
    maker = _Maker(random.Random(seed), np.random.default_rng(seed))
    for _ in range(maker.draw.choice((1, 1, 1, 2))):
        maker.add_input(_input_shape(maker.draw))
    for _ in range(maker.draw.randint(1, 9)):
        maker.draw.choice(BLOCKS)(maker)
    return maker.finish(seed)


def random_network(seed: int) -> Graph:
    """The network of ``seed``: layers behind layers whose channels are tied in every known way."""
    maker = _Maker(random.Random(seed), np.random.default_rng(seed))
    draw = maker.draw
    maker.add_input((draw.choice((1, 1, 2)), draw.choice((1, 3, 4)), *draw.choice(SIZES)))
    _pointwise(maker)
    for _ in range(draw.randint(2, 8)):
        draw.choice(CHANNEL_BLOCKS)(maker)
    draw.choice(HEADS)(maker)
    return maker.finish(seed)


@dataclass
class _Maker:
    """A graph under construction; ``shapes`` are those of its activations, newest last."""

    draw: random.Random
    numbers: np.random.Generator
    opset: int = 17
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    inputs: dict[str, Shape] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def add_input(self, shape: Shape) -> None:
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.shapes[name] = shape

    def constant(self, array: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def floats(self, shape: Shape, *, fan_in: int = 1) -> str:
        """Random weights, half the time pruned."""
        array = self.numbers.standard_normal(shape) / math.sqrt(fan_in)
        if self.draw.random() < 0.5:
            array = array * (self.numbers.random(shape) < 0.4)
        return self.constant(array.astype(np.float32))

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def pick(self, *ranks: int) -> str | None:
        """A value of one of these ranks (any, if none are given), the newer the likelier."""
        fit = [n for n, s in self.shapes.items() if not ranks or len(s) in ranks]
        if not fit:
            return None
        return fit[-1] if self.draw.random() < 0.6 else self.draw.choice(fit)

    def like(self, shape: Shape) -> str:
        """A value of just this shape, or else a constant."""
        fit = [n for n, s in self.shapes.items() if s == shape]
        return self.draw.choice(fit) if fit and self.draw.random() < 0.85 else self.floats(shape)

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node; its outputs, or nothing if ONNX or MOST_ELEMENTS forbids it."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        name = "" if self.draw.random() < 0.2 else f"{op.lower()}.{len(self.nodes)}"
        node = helper.make_node(op, inputs, names, name=name, **attributes)
        found = self._infer(node)
        if any(
            math.prod(s) > MOST_ELEMENTS or len(s) > 6 or min(s, default=1) < 1
            for s in found.values()
        ):
            return []
        if len(found) < outputs or not _window_is_inside(node, self.shapes | found, self.constants):
            return []
        self.nodes.append(node)
        self.shapes |= found
        return names

    def one(self, op: str, *inputs: str, **attributes: Any) -> str | None:
        """``node`` of one output."""
        found = self.node(op, *inputs, **attributes)
        return found[0] if found else None

    def _infer(self, node: onnx.NodeProto) -> dict[str, Shape]:
        schema = onnx.defs.get_schema(node.op_type, self.opset, "")
        types = {
            n: helper.make_tensor_type_proto(TensorProto.FLOAT, self.shapes[n])
            for n in node.input
            if n in self.shapes
        }
        data = {n: numpy_helper.from_array(a, n) for n, a in self.constants.items()}
        data = {n: t for n, t in data.items() if n in node.input}
        types |= {n: helper.make_tensor_type_proto(t.data_type, t.dims) for n, t in data.items()}
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=[helper.make_opsetid("", self.opset)]
            )
        except Exception:
            return {}
        return {
            n: tuple(d.dim_value for d in t.tensor_type.shape.dim)
            for n, t in found.items()
            if t.tensor_type.HasField("shape")
        }

    def finish(self, seed: int) -> Graph:
        """Prune what is dead and pick the outputs: the last value, at times some that are read."""
        made = [n for node in self.nodes for n in node.output]
        outputs = made[-1:] or self.node("Identity", "x0")
        if self.draw.random() < 0.4 and len(made) > 1:
            outputs += self.draw.sample(made[:-1], k=min(len(made) - 1, self.draw.randint(1, 2)))
        live, kept = set(outputs), []
        for node in reversed(self.nodes):
            if live & set(node.output):
                live |= set(node.input)
                kept.append(node)
        used = [n for n in self.inputs if n in live] or ["x0"]
        graph = helper.make_graph(
            kept[::-1],
            f"graph-{seed}",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, self.inputs[n]) for n in used],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, self.shapes[n]) for n in outputs],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items() if n in live],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )
        arrays = {n: self.numbers.standard_normal(self.inputs[n]) for n in used}
        return Graph(seed, model, {n: a.astype(np.float32) for n, a in arrays.items()})


def _window_is_inside(
    node: onnx.NodeProto, shapes: dict[str, Shape], constants: dict[str, NDArray[Any]]
) -> bool:
    """Window and padding make sense to ONNX Runtime, which asks for more than ONNX."""
    if node.op_type not in ("Conv", "MaxPool", "AveragePool"):
        return True
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    size, out = shapes[node.input[0]][2:], shapes[node.output[0]][2:]
    kernel = given.get("kernel_shape") or constants[node.input[1]].shape[2:]
    if given.get("auto_pad", b"").startswith(b"SAME"):
        strides = given.get("strides", [1] * len(size))
        return node.op_type == "Conv" or all(s <= k for s, k in zip(strides, kernel, strict=True))
    pads = given.get("pads", [0] * (2 * len(size)))
    dilations = given.get("dilations", [1] * len(size))
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    begin, end = pads[: len(size)], pads[len(size) :]
    if given.get("ceil_mode"):  # before opset 22 ONNX counts windows that start in the padding
        strides = given.get("strides", [1] * len(size))
        last = [(n - 1) * s for n, s in zip(out, strides, strict=True)]
        if any(at >= n + a for at, n, a in zip(last, size, begin, strict=True)):
            return False
    return all(r <= n + a + b for r, n, a, b in zip(reach, size, begin, end, strict=True))


def _moves(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose"


def _input_shape(draw: random.Random) -> Shape:
    """Mostly images, batch 1 to 3."""
    batch = draw.choice((1, 1, 1, 2, 3))
    rank = draw.choice((4, 4, 4, 4, 4, 3, 2, 2, 1, 5, 6))
    shape = [batch, *(draw.choice(DIMS) for _ in range(min(rank, 4) - 1))]
    shape += [draw.choice((1, 2)) for _ in range(rank - 4)]
    while math.prod(shape) > MOST_ELEMENTS // 2:
        shape[shape.index(max(shape))] = 2
    return tuple(shape[:rank])


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


# --- layers ---


def _conv(m: _Maker) -> None:
    x = m.pick(4, 4, 3)
    if x is None:
        return
    channels, *size = m.shapes[x][1:]
    kind = m.draw.choice(("1x1", "1x1", "kxk", "kxk", "depthwise", "grouped", "whole"))
    group = {"depthwise": channels, "grouped": m.draw.choice(_divisors(channels))}.get(kind, 1)
    rows = channels if kind == "depthwise" else group * m.draw.choice((1, 2, 3, 4, 8))
    kernel = {"1x1": [1] * len(size), "whole": size}.get(kind) or [
        m.draw.choice((1, 2, 3, 3, 5)) for _ in size
    ]
    attributes = _window(m, len(size)) if kind != "whole" else {}
    fan_in = channels // group * math.prod(kernel)
    inputs = [x, m.floats((rows, channels // group, *kernel), fan_in=fan_in)]
    if m.draw.random() < 0.6:
        inputs.append(m.floats((rows,)))
    y = m.one("Conv", *inputs, group=group, **attributes)
    if y is not None and m.draw.random() < 0.4:
        _batch_norm_of(m, y)
    if m.draw.random() < 0.5:
        _activation(m)


def _window(m: _Maker, spatial: int) -> dict[str, Any]:
    """Padding, stride and dilation of a convolution or pool."""
    found: dict[str, Any] = {}
    if m.draw.random() < 0.4:
        found["strides"] = [m.draw.choice((1, 2, 3)) for _ in range(spatial)]
    mode = m.draw.choice(("none", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if mode == "pads":
        found["pads"] = [m.draw.choice((0, 1, 1, 2)) for _ in range(2 * spatial)]
    elif mode != "none":
        found["auto_pad"] = mode
    if not mode.startswith("SAME") and m.draw.random() < 0.2:
        found["dilations"] = [m.draw.choice((1, 2)) for _ in range(spatial)]
    return found


def _batch_norm(m: _Maker) -> None:
    x = m.pick(2, 3, 4, 5)
    if x is not None:
        _batch_norm_of(m, x)


def _batch_norm_of(m: _Maker, x: str) -> None:
    channels = m.shapes[x][1]
    variance = m.constant((m.numbers.random(channels) + 0.5).astype(np.float32))
    m.one("BatchNormalization", x, *(m.floats((channels,)) for _ in range(3)), variance)


def _gemm(m: _Maker) -> None:
    x = m.pick(2)
    if x is None:
        return
    rows, trans_a, trans_b = m.draw.choice(DIMS), m.draw.random() < 0.2, m.draw.random() < 0.5
    height, cols = m.shapes[x][::-1] if trans_a else m.shapes[x]
    weight = m.floats((rows, cols) if trans_b else (cols, rows), fan_in=cols)
    bias = m.draw.choice(((rows,), (1, rows), (height, rows), (height, 1), (1,), (), None))
    inputs = [x, weight] if bias is None else [x, weight, m.floats(bias)]
    attributes: dict[str, Any] = {"transA": int(trans_a), "transB": int(trans_b)}
    if m.draw.random() < 0.3:
        attributes |= {"alpha": 0.5, "beta": -1.5}
    m.one("Gemm", *inputs, **attributes)
    if m.draw.random() < 0.4:
        _affine(m)


def _matmul(m: _Maker) -> None:
    """By a constant of rank 2, at times of rank 1 or 3."""
    x = m.pick()
    if x is None or not m.shapes[x]:
        return
    cols, rows = m.shapes[x][-1], m.draw.choice(DIMS)
    shape = m.draw.choice(((cols, rows), (cols, rows), (cols, rows), (cols,), (2, cols, rows)))
    m.one("MatMul", x, m.floats(shape, fan_in=cols))
    if m.draw.random() < 0.4:
        _affine(m)


def _matmul_of_activations(m: _Maker) -> None:
    x = m.pick(2, 3, 4)
    if x is None:
        return
    rank = len(m.shapes[x])
    swapped = m.one("Transpose", x, perm=[*range(rank - 2), rank - 1, rank - 2])
    if swapped is not None:
        m.one("MatMul", *m.draw.choice(((x, swapped), (swapped, x))))
        scale = m.constant(np.float32(1 / math.sqrt(math.prod(m.shapes[x][-2:]))))
        m.one("Mul", next(reversed(m.shapes)), scale)


# --- element-wise ---


def _activation(m: _Maker) -> None:
    x = m.pick()
    if x is None:
        return
    op = m.draw.choice((*UNARY, "Clip", "Clip", "PRelu", "SiLU", "Pow"))
    if op == "Clip":
        bounds = m.draw.choice(((0.0, 6.0), (-1.0, 1.0)))
        m.one("Clip", x, *(m.constant(np.float32(b)) for b in bounds))
    elif op == "PRelu":
        slopes = ((1,), m.shapes[x][-1:], m.shapes[x][1:2] + (1,) * (len(m.shapes[x]) - 2))
        slope = m.draw.choice(slopes)
        m.one("PRelu", x, m.floats(slope))
    elif op == "SiLU":
        gate = m.one("Sigmoid", x)
        m.one("Mul", *([x, gate or x] if m.draw.random() < 0.5 else [gate or x, x]))
    elif op == "Pow":
        m.one("Pow", x, m.constant(np.full(m.draw.choice(((), (1,), (1, 1))), 2, np.float32)))
    else:
        m.one(op, x)


def _affine(m: _Maker) -> None:
    """Arithmetic with a constant, broadcast somehow, on either side."""
    x = m.pick()
    if x is None:
        return
    shape = m.shapes[x]
    kept = m.draw.choice(("all", "channel", "last", "one", "some"))
    if kept == "channel":
        shape = tuple(n if a == 1 else 1 for a, n in enumerate(shape))[min(1, len(shape)) :]
    elif kept == "last":
        shape = shape[-1:]
    elif kept == "one":
        shape = m.draw.choice(((), (1,), (1,) * len(shape), (1,) * min(6, len(shape) + 1)))
    elif kept == "some":
        shape = tuple(m.draw.choice((1, n)) for n in shape)
    op = m.draw.choice(("Add", "Sub", "Mul", "Max", "Min", "Div"))
    if op == "Div":
        array = m.numbers.random(shape) + 0.5
        m.one("Div", x, m.constant(np.asarray(array, np.float32)))
        return
    sides = [x, m.floats(shape)]
    m.one(op, *(sides if m.draw.random() < 0.7 else sides[::-1]))


def _residual(m: _Maker) -> None:
    x = m.pick()
    if x is None:
        return
    op = m.draw.choice(("Add", "Add", "Add", "Add", "Sub", "Mul", "Max", "Sum"))
    others = [m.like(m.shapes[x]) for _ in range(2 if op == "Sum" else 1)]
    m.one(op, *m.draw.sample([x, *others], k=1 + len(others)))


def _bottleneck(m: _Maker) -> None:
    """Layers whose result is added to their input."""
    x = m.pick(4)
    if x is None:
        return
    channels = m.shapes[x][1]
    depthwise = m.draw.random() < 0.5
    y = x
    for _ in range(m.draw.choice((1, 2))):
        y = m.one("Relu", y) or y if m.draw.random() < 0.3 else y
        group, taken = (channels, 1) if depthwise else (1, channels)
        weight = m.floats((channels, taken, 3, 3), fan_in=9 * taken)
        y = m.one("Conv", y, weight, group=group, pads=[1] * 4) or y
    m.one("Add", *((x, y) if m.draw.random() < 0.5 else (y, x)))
    if m.draw.random() < 0.5:
        m.one(m.draw.choice(UNARY), next(reversed(m.shapes)))


def _squeeze_and_excitation(m: _Maker) -> None:
    x = m.pick(4)
    if x is None:
        return
    channels = m.shapes[x][1]
    gate = m.one("GlobalAveragePool", x)
    weight = m.floats((channels, channels, 1, 1), fan_in=channels)
    gate = m.one("Conv", gate or x, weight)
    gate = m.one(m.draw.choice(("Sigmoid", "HardSigmoid")), gate or x)
    m.one("Mul", *((x, gate or x) if m.draw.random() < 0.5 else (gate or x, x)))


# --- pools and reductions ---


def _pool(m: _Maker) -> None:
    x = m.pick(4, 4, 3)
    if x is None:
        return
    op = m.draw.choice(("MaxPool", "AveragePool"))
    spatial = len(m.shapes[x]) - 2
    attributes = _window(m, spatial)
    attributes.pop("dilations", None)
    kernel = [m.draw.choice((1, 2, 3)) for _ in range(spatial)]
    if "pads" in attributes:  # ONNX wants pads smaller than the kernel
        attributes["pads"] = [
            min(p, k - 1) for p, k in zip(attributes["pads"], kernel * 2, strict=True)
        ]
    if "auto_pad" not in attributes:
        attributes["ceil_mode"] = m.draw.choice((0, 1))
    if op == "AveragePool":
        attributes["count_include_pad"] = m.draw.choice((0, 1))
    m.one(op, x, kernel_shape=kernel, **attributes)


def _global_pool(m: _Maker) -> None:
    x = m.pick(3, 4, 5)
    if x is not None:
        m.one(m.draw.choice(("GlobalAveragePool", "GlobalMaxPool")), x)


def _reduce(m: _Maker) -> None:
    """Over any axes, next to each other or not."""
    x = m.pick()
    if x is None or not m.shapes[x]:
        return
    rank = len(m.shapes[x])
    axes = m.draw.sample(range(rank), k=m.draw.randint(1, rank))
    axes = [a - rank if m.draw.random() < 0.3 else a for a in axes]
    keep = m.draw.choice((0, 1))
    op = m.draw.choice(("ReduceMean", "ReduceMean", "ReduceMax", "ReduceSum"))
    if op == "ReduceSum":
        y = m.one(op, x, m.ints(*axes), keepdims=keep)
        if y is not None:
            count = math.prod(m.shapes[x][a] for a in axes)
            m.one("Mul", y, m.constant(np.float32(1 / math.sqrt(count))))
    else:
        m.one(op, x, axes=axes, keepdims=keep)


def _softmax(m: _Maker) -> None:
    x = m.pick()
    if x is not None and m.shapes[x]:
        m.one("Softmax", x, axis=m.draw.randrange(-len(m.shapes[x]), len(m.shapes[x])))


# --- shapes ---


def _concat(m: _Maker) -> None:
    """Of two or three values, the same twice at times; nested when picked again."""
    x = m.pick()
    if x is None or not m.shapes[x]:
        return
    axis = m.draw.randrange(len(m.shapes[x])) if m.draw.random() < 0.5 else 1
    axis = min(axis, len(m.shapes[x]) - 1)
    rest = _without(m.shapes[x], axis)
    fit = [n for n, s in m.shapes.items() if len(s) > axis and _without(s, axis) == rest]
    parts = [x, *(m.draw.choice(fit) for _ in range(m.draw.choice((1, 1, 2))))]
    if m.draw.random() < 0.2:
        parts.append(m.floats(m.shapes[x]))
    m.draw.shuffle(parts)
    m.one("Concat", *parts, axis=axis if m.draw.random() < 0.7 else axis - len(m.shapes[x]))


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _inception(m: _Maker) -> None:
    """Two layers on one value, concatenated along any axis but the batch."""
    x = m.pick(4)
    if x is None:
        return
    channels = m.shapes[x][1]
    parts = []
    for _ in range(2):
        rows = m.draw.choice((channels, 4, 8))
        y = m.one("Conv", x, m.floats((rows, channels, 1, 1), fan_in=channels))
        parts.append((m.one("Relu", y) or y if m.draw.random() < 0.4 else y) if y else x)
    m.one("Concat", *parts, axis=m.draw.choice((1, 1, 2, 3, 0)))


def _split(m: _Maker) -> None:
    x = m.pick()
    if x is None or not m.shapes[x]:
        return
    axis = m.draw.randrange(len(m.shapes[x]))
    size = m.shapes[x][axis]
    if size < 2:
        return
    first = m.draw.randint(1, size - 1)
    halves = m.node("Split", x, m.ints(first, size - first), outputs=2, axis=axis)
    if halves and 2 * first == size and m.draw.random() < 0.5:
        m.one(m.draw.choice(("Add", "Mul")), *halves)


def _slice(m: _Maker) -> None:
    x = m.pick()
    if x is None or not m.shapes[x]:
        return
    axis = m.draw.randrange(len(m.shapes[x]))
    size = m.shapes[x][axis]
    start = m.draw.randrange(size)
    end = m.draw.choice((size, 2**62, -1, m.draw.randint(start, size)))
    steps = m.ints(m.draw.choice((1, 1, 2, 3)))
    m.one("Slice", x, m.ints(start), m.ints(end), m.ints(axis), steps)


def _pad(m: _Maker) -> None:
    x = m.pick()
    if x is None or not m.shapes[x]:
        return
    rank = len(m.shapes[x])
    pads = [m.draw.choice((0, 0, 0, 1, 2)) for _ in range(2 * rank)]
    if m.draw.random() < 0.6:
        pads = [p if a % rank > 1 else 0 for a, p in enumerate(pads)]
    if m.draw.random() < 0.2:
        axis = m.draw.randrange(2 * rank)
        pads[axis] = -1 if m.shapes[x][axis % rank] > 1 else 0
    value = m.draw.choice(([], [], [m.constant(np.float32(0.5))]))
    y = m.one("Pad", x, m.ints(*pads), *value)
    if y is not None and rank == 4 and m.draw.random() < 0.5:
        _conv(m)


def _reshape(m: _Maker) -> None:
    """Flatten, or any factors of the size."""
    x = m.pick()
    if x is None:
        return
    if m.draw.random() < 0.4:
        m.one("Flatten", x, axis=m.draw.randint(0, len(m.shapes[x])))
        return
    left, shape = math.prod(m.shapes[x]), []
    for _ in range(m.draw.randint(0, 4)):
        shape.append(m.draw.choice(_divisors(left)))
        left //= shape[-1]
    shape.append(left if m.draw.random() < 0.5 else -1)
    if m.draw.random() < 0.3:
        m.draw.shuffle(shape)
    m.one("Reshape", x, m.ints(*shape))


def _squeeze(m: _Maker) -> None:
    x = m.pick()
    if x is None:
        return
    ones = [a for a, n in enumerate(m.shapes[x]) if n == 1]
    if ones and m.draw.random() < 0.6:
        m.one("Squeeze", x, m.ints(*m.draw.sample(ones, k=m.draw.randint(1, len(ones)))))
    else:
        m.one("Unsqueeze", x, m.ints(m.draw.randint(0, len(m.shapes[x]))))


def _expand(m: _Maker) -> None:
    x = m.pick()
    if x is None or not m.shapes[x]:
        return
    shape = [m.draw.choice((2, 3)) if n == 1 else n for n in m.shapes[x]]
    m.one("Expand", x, m.ints(*shape))


def _transpose(m: _Maker) -> None:
    x = m.pick()
    if x is None or not m.shapes[x]:
        return
    rank = len(m.shapes[x])
    perm = list(m.draw.choice(PERMS_4)) if rank == 4 else m.draw.sample(range(rank), k=rank)
    m.one("Transpose", x, perm=perm)


def _through_nhwc(m: _Maker) -> None:
    """To the other layout, something, and back."""
    x = m.pick(4)
    if x is None:
        return
    there, back = m.draw.choice((((0, 2, 3, 1), (0, 3, 1, 2)), ((0, 3, 1, 2), (0, 2, 3, 1))))
    m.one("Transpose", x, perm=list(there))
    m.draw.choice((_activation, _affine, _matmul, _conv, _pool, _residual))(m)
    y = m.pick(4)
    if y is not None:
        m.one("Transpose", y, perm=list(back))


def _identity(m: _Maker) -> None:
    x = m.pick()
    if x is not None and x not in m.inputs:
        m.one("Identity", x)


Block = Callable[[_Maker], None]
BLOCKS: tuple[Block, ...] = (
    *[_conv] * 6,
    *[_bottleneck, _residual, _activation, _inception, _concat] * 2,
    _batch_norm,
    _gemm,
    _gemm,
    _matmul,
    _matmul_of_activations,
    _affine,
    _squeeze_and_excitation,
    _pool,
    _global_pool,
    _reduce,
    _softmax,
    _split,
    _slice,
    _pad,
    _reshape,
    _squeeze,
    _expand,
    _transpose,
    _through_nhwc,
    _identity,
)

# --- networks: every value of rank 4 has channels that layers made ---


def _channels(m: _Maker, x: str) -> int:
    return m.shapes[x][1]


def _pointwise(m: _Maker, *, of: str | None = None, rows: int | None = None) -> str | None:
    """A convolution of all channels, batch-normalised and activated at times."""
    x = of or m.pick(4)
    if x is None:
        return None
    rows, side = rows or m.draw.choice(ROWS), m.draw.choice((1, 1, 3))
    weight = m.floats((rows, _channels(m, x), side, side), fan_in=_channels(m, x) * side**2)
    inputs = [x, weight, m.floats((rows,))] if m.draw.random() < 0.6 else [x, weight]
    y = m.one("Conv", *inputs, pads=[side // 2] * 4)
    if y is not None and m.draw.random() < 0.4:
        _batch_norm_of(m, y)
    if m.draw.random() < 0.4:
        m.one(m.draw.choice(UNARY), next(reversed(m.shapes)))
    return next(reversed(m.shapes))


def _grouped(m: _Maker) -> None:
    """Depthwise, with or without a multiplier, or in groups; the weights shared by two at times."""
    x = m.pick(4)
    if x is None:
        return
    group = m.draw.choice(_divisors(_channels(m, x)))
    rows = group * m.draw.choice((1, 2, 4))
    weight = m.floats((rows, _channels(m, x) // group, 3, 3), fan_in=9 * _channels(m, x) // group)
    m.one("Conv", x, weight, group=group, pads=[1] * 4)
    if m.draw.random() < 0.3:
        same = [n for n, s in m.shapes.items() if s == m.shapes[x]]
        m.one("Conv", m.draw.choice(same), weight, group=group, pads=[1] * 4)


def _channel_shuffle(m: _Maker) -> None:
    x = m.pick(4)
    if x is None:
        return
    n, channels, *size = m.shapes[x]
    group = m.draw.choice(_divisors(channels))
    split = m.one("Reshape", x, m.ints(n, group, channels // group, *size))
    if split is not None:
        turned = m.one("Transpose", split, perm=[0, 2, 1, 3, 4])
        m.one("Reshape", turned or x, m.ints(n, channels, *size))


def _residual_of_layers(m: _Maker) -> None:
    x = m.pick(4)
    if x is None:
        return
    y = _pointwise(m, of=x)
    if y is not None and m.draw.random() < 0.5:
        y = _pointwise(m, of=y, rows=_channels(m, x))
    if y is not None and m.shapes[y] == m.shapes[x]:
        m.one(m.draw.choice(("Add", "Add", "Mul", "Sub")), x, y)


def _concat_channels(m: _Maker) -> None:
    x = m.pick(4)
    if x is None:
        return
    rest = _without(m.shapes[x], 1)
    fit = [n for n, s in m.shapes.items() if len(s) == 4 and _without(s, 1) == rest]
    parts = [x, *(m.draw.choice(fit) for _ in range(m.draw.choice((1, 1, 2))))]
    m.draw.shuffle(parts)
    m.one("Concat", *parts, axis=1)


def _cut_channels(m: _Maker) -> None:
    """Split, slice or pad the channel axis."""
    x = m.pick(4)
    if x is None or _channels(m, x) < 2:
        return
    size = _channels(m, x)
    first = m.draw.randint(1, size - 1)
    how = m.draw.choice(("split", "split", "slice", "step", "pad", "roll"))
    if how == "split":
        halves = m.node("Split", x, m.ints(first, size - first), outputs=2, axis=1)
        if halves and m.draw.random() < 0.5:
            changed = m.one(m.draw.choice(UNARY), halves[0]) or halves[0]
            m.one("Concat", *m.draw.sample([changed, halves[1]], k=2), axis=1)
    elif how == "slice":
        m.one("Slice", x, m.ints(first - 1), m.ints(size), m.ints(1))
    elif how == "step":
        m.one("Slice", x, m.ints(first % 2), m.ints(2**62), m.ints(-3), m.ints(2))
    else:
        pads = [0, 1, 0, 0, 0, m.draw.choice((0, 1)) if how == "pad" else -1, 0, 0]
        m.one("Pad", x, m.ints(*pads))


def _per_channel(m: _Maker) -> None:
    """Arithmetic with one number a channel, or a slope."""
    x = m.pick(4)
    if x is not None:
        op = m.draw.choice(("Mul", "Add", "PRelu", "Max"))
        m.one(op, x, m.floats((_channels(m, x), 1, 1)))


def _shrink(m: _Maker) -> None:
    x = m.pick(4)
    if x is not None:
        m.one(m.draw.choice(("MaxPool", "AveragePool")), x, kernel_shape=[2, 2], strides=[2, 2])


def _flat_head(m: _Maker) -> None:
    """Flattened as it lies or channels last, into one or two Gemms."""
    x = next(reversed([n for n, s in m.shapes.items() if len(s) == 4]))
    if m.draw.random() < 0.4:
        x = m.one("Transpose", x, perm=[0, 2, 3, 1]) or x
    x = m.one("Flatten", x) or x
    for _ in range(m.draw.choice((1, 2))):
        cols, rows, turned = m.shapes[x][1], m.draw.choice(ROWS), m.draw.random() < 0.5
        weight = m.floats((rows, cols) if turned else (cols, rows), fan_in=cols)
        x = m.one("Gemm", x, weight, m.floats((rows,)), transB=int(turned)) or x


def _pooled_head(m: _Maker) -> None:
    x = next(reversed([n for n, s in m.shapes.items() if len(s) == 4]))
    x = m.one("GlobalAveragePool", x) or x
    x = m.one("Reshape", x, m.ints(m.shapes[x][0], -1)) or x
    y = m.one("MatMul", x, m.floats((m.shapes[x][1], 5), fan_in=m.shapes[x][1]))
    if m.draw.random() < 0.5:
        m.one("Softmax", y or x, axis=-1)


def _tokens_head(m: _Maker) -> None:
    """Positions as tokens: [N, P, C] by MatMul, the product of two of them, a mean over tokens."""
    x = next(reversed([n for n, s in m.shapes.items() if len(s) == 4]))
    n, channels, *size = m.shapes[x]
    x = m.one("Reshape", x, m.ints(n, channels, math.prod(size))) or x
    x = m.one("Transpose", x, perm=[0, 2, 1]) or x
    queries = m.one("MatMul", x, m.floats((channels, 6), fan_in=channels)) or x
    keys = m.one("MatMul", x, m.floats((channels, 6), fan_in=channels)) or x
    keys = m.one("Transpose", keys, perm=[0, 2, 1]) or keys
    weights = m.one("MatMul", queries, keys) or x
    x = m.one("MatMul", m.one("Softmax", weights, axis=-1) or x, x) or x
    x = m.one("Add", x, m.floats((channels,))) or x
    x = m.one("MatMul", x, m.floats((channels, 4), fan_in=channels)) or x
    m.one("ReduceMean", x, axes=[1], keepdims=0)


def _plain_head(m: _Maker) -> None:
    _pointwise(m, rows=3)


CHANNEL_BLOCKS: tuple[Block, ...] = (
    *[_pointwise, _grouped, _residual_of_layers, _concat_channels] * 2,
    _bottleneck,
    _inception,
    _squeeze_and_excitation,
    _channel_shuffle,
    _cut_channels,
    _per_channel,
    _shrink,
    _through_nhwc,
    _affine,
)
HEADS: tuple[Block, ...] = (_flat_head, _flat_head, _pooled_head, _tokens_head, _plain_head)

if __name__ == "__main__":
    print(onnx.printer.to_text(random_graph(int(sys.argv[1])).model))
