"""What each operator says about the channels of its inputs and outputs.

1. Layers: output channels are weight rows, input channels weight columns (within groups; a
   grouped convolution whose weights something else reads in another way is not understood).
2. Element-wise: all axes of operands and result are the same, where they are not broadcast.
3. Pools: batch and channels pass; reductions: what is not reduced passes, what is reduced is free.
4. Concat, Split, Slice, Transpose, channel shuffle: an index map.
5. Reshape: axes that are neither merged nor split pass; of merged (split) axes one keeps its
   freedom, the others are pinned.
6. Softmax: passes, its axis pinned. Any other operator: everything is pinned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from filigree.converter.passes.graph import constant, sole_user
from filigree.converter.sparsity.axes.atoms import Atoms, Ints, shape_of

ELEMENT_WISE = frozenset(
    {
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "Tanh",
        "Exp",
        "Sqrt",
        "Abs",
        "Neg",
        "HardSigmoid",
        "HardSwish",
        "Swish",
        "Reciprocal",
        "Pow",
        "Add",
        "Sum",
        "Sub",
        "Mul",
        "Div",
        "Min",
        "Max",
        "Identity",
        "Dropout",
        "Cast",
        "Erf",
        "Gelu",
        "Elu",
        "Softplus",
    }
)
POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
REDUCTIONS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"})
RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


@dataclass
class Rules:
    """Applies the rules node by node; ``skipped`` nodes are parts of a channel shuffle."""

    atoms: Atoms
    skipped: set[ir.Node] = field(default_factory=set)

    def apply(self, node: ir.Node) -> None:
        """Tie and pin what ``node`` says."""
        if node in self.skipped:
            return
        rule = _RULES.get(node.op_type)
        if node.op_type in ELEMENT_WISE:
            rule = _element_wise
        elif node.op_type in POOLS:
            rule = _pool
        elif node.op_type in REDUCTIONS:
            rule = _reduce
        elif node.op_type in RESHAPES:
            rule = _reshape
        (rule or _unknown)(self, node)


def given(node: ir.Node) -> list[ir.Value]:
    """The inputs that are there."""
    return [value for value in node.inputs if value is not None]


def _pin_all(rules: Rules, value: ir.Value, reason: str, *, but: tuple[int, ...] = ()) -> None:
    for axis in range(len(shape_of(value))):
        if axis not in but:
            rules.atoms.pin(rules.atoms.of(value, axis), reason)


def _unknown(rules: Rules, node: ir.Node) -> None:
    for value in (*given(node), *node.outputs):
        if value.shape is not None or value.const_value is not None:
            _pin_all(rules, value, f"{node.op_type} is not understood")


def _element_wise(rules: Rules, node: ir.Node) -> None:
    out = node.outputs[0]
    rank = len(shape_of(out))
    for value in given(node):
        shape = shape_of(value)
        for axis, size in enumerate(shape):
            target = rank - len(shape) + axis
            if size > 1 and target >= 0:
                rules.atoms.tie(rules.atoms.of(value, axis), rules.atoms.of(out, target))


def _conv(rules: Rules, node: ir.Node) -> None:
    x, weight, out = given(node)[0], given(node)[1], node.outputs[0]
    atoms, groups = rules.atoms, node.attributes.get_int("group", 1)
    if groups > 1 and not _groups_alone(weight, groups):
        _unknown(rules, node)
        return
    atoms.tie(atoms.of(x, 0), atoms.of(out, 0))
    _pin_all(rules, x, "a spatial axis", but=(0, 1))
    _pin_all(rules, out, "a spatial axis", but=(0, 1))
    atoms.tie(atoms.of(weight, 0), atoms.of(out, 1))
    for value in _by_row(node):
        atoms.tie(atoms.of(value, 0), atoms.of(out, 1))
    rows, taken = shape_of(weight)[:2]
    if groups == 1:
        atoms.tie(atoms.of(weight, 1), atoms.of(x, 1))
    elif taken == 1 and rows == groups:
        atoms.tie(atoms.of(x, 1), atoms.of(out, 1))
    else:
        for side, value, size in (("in", x, taken), ("out", out, rows // groups)):
            for g, part in enumerate(atoms.of(value, 1).reshape(groups, size)):
                atoms.tie(part, atoms.axis(group_name(node, side, g), 0, size))


def _by_row(node: ir.Node) -> list[ir.Value]:
    """A layer's constants with one value a row: bias, scales of an int8 layer's weights."""
    return [value for value in node.inputs[2:] if value is not None]


def group_name(node: ir.Node, side: str, g: int) -> str:
    """The name of the axis that one group's channels form; layers that share weights share it."""
    return f"{given(node)[1].name} {side} group {g}"


def _groups_alone(weight: ir.Value, groups: int) -> bool:
    """Constant weights that are read only by convolutions of so many groups."""
    return weight.const_value is not None and all(
        use.node.op_type == "Conv"
        and use.idx == 1
        and use.node.attributes.get_int("group", 1) == groups
        for use in weight.uses()
    )


def _gemm(rules: Rules, node: ir.Node) -> None:
    x, weight, out, atoms = given(node)[0], given(node)[1], node.outputs[0], rules.atoms
    row, col = (1, 0) if node.attributes.get_int("transA", 0) else (0, 1)
    out_axis, in_axis = (0, 1) if node.attributes.get_int("transB", 0) else (1, 0)
    atoms.tie(atoms.of(x, row), atoms.of(out, 0))
    atoms.tie(atoms.of(x, col), atoms.of(weight, in_axis))
    atoms.tie(atoms.of(weight, out_axis), atoms.of(out, 1))
    for value in _by_row(node):
        _tie_aligned(rules, value, out)


def _matmul(rules: Rules, node: ir.Node) -> None:
    x, y, out, atoms = given(node)[0], given(node)[1], node.outputs[0], rules.atoms
    if len(shape_of(x)) < 2 or len(shape_of(y)) < 2:
        _unknown(rules, node)
        return
    atoms.tie(atoms.of(x, -1), atoms.of(y, -2))
    atoms.tie(atoms.of(y, -1), atoms.of(out, -1))
    atoms.tie(atoms.of(x, -2), atoms.of(out, -2))
    for value in (x, y):
        _tie_aligned(rules, value, out, skip=2)
    for value in _by_row(node):
        _tie_aligned(rules, value, out)


def _tie_aligned(rules: Rules, value: ir.Value, out: ir.Value, *, skip: int = 0) -> None:
    """Axes of ``value``, counted from the last, are those of ``out`` unless broadcast."""
    for axis in range(skip + 1, len(shape_of(value)) + 1):
        if shape_of(value)[-axis] > 1 or shape_of(out)[-axis] == 1:
            rules.atoms.tie(rules.atoms.of(value, -axis), rules.atoms.of(out, -axis))


def _batch_norm(rules: Rules, node: ir.Node) -> None:
    x, out, atoms = given(node)[0], node.outputs[0], rules.atoms
    _same_axes(rules, x, out)
    for value in given(node)[1:]:
        atoms.tie(atoms.of(value, 0), atoms.of(out, 1))


def _same_axes(rules: Rules, x: ir.Value, out: ir.Value, *, but: tuple[int, ...] = ()) -> None:
    for axis in range(len(shape_of(out))):
        if axis not in but:
            rules.atoms.tie(rules.atoms.of(x, axis), rules.atoms.of(out, axis))


def _pool(rules: Rules, node: ir.Node) -> None:
    x, out = given(node)[0], node.outputs[0]
    for value in (x, out):
        _pin_all(rules, value, "a spatial axis", but=(0, 1))
    for axis in (0, 1):
        rules.atoms.tie(rules.atoms.of(x, axis), rules.atoms.of(out, axis))


def _reduce(rules: Rules, node: ir.Node) -> None:
    x, out = given(node)[0], node.outputs[0]
    rank = len(shape_of(x))
    array = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = [int(a) for a in array.reshape(-1)] if array is not None else None
    if axes is None:
        axes = list(node.attributes.get_ints("axes", []))
    nothing = node.attributes.get_int("noop_with_empty_axes", 0)
    reduced = {a % rank for a in axes} if axes or nothing else set(range(rank))
    kept = [a for a in range(rank) if a not in reduced]
    targets = kept if node.attributes.get_int("keepdims", 1) else list(range(len(kept)))
    for axis, target in zip(kept, targets, strict=True):
        rules.atoms.tie(rules.atoms.of(x, axis), rules.atoms.of(out, target))


def _softmax(rules: Rules, node: ir.Node) -> None:
    x, out = given(node)[0], node.outputs[0]
    _same_axes(rules, x, out)
    rules.atoms.pin(
        rules.atoms.of(out, node.attributes.get_int("axis", -1)), "softmax runs over it"
    )


def _concat(rules: Rules, node: ir.Node) -> None:
    out, atoms = node.outputs[0], rules.atoms
    axis = node.attributes.get_int("axis", 0) % len(shape_of(out))
    start = 0
    for value in given(node):
        _same_axes(rules, value, out, but=(axis,))
        size = shape_of(value)[axis]
        atoms.tie(atoms.of(value, axis), atoms.of(out, axis)[start : start + size])
        start += size


def _split(rules: Rules, node: ir.Node) -> None:
    x, atoms = given(node)[0], rules.atoms
    axis = node.attributes.get_int("axis", 0) % len(shape_of(x))
    start = 0
    for out in node.outputs:
        _same_axes(rules, x, out, but=(axis,))
        size = shape_of(out)[axis]
        atoms.tie(atoms.of(out, axis), atoms.of(x, axis)[start : start + size])
        start += size


def _slice(rules: Rules, node: ir.Node) -> None:
    x, out, atoms = given(node)[0], node.outputs[0], rules.atoms
    bounds = [constant(value) for value in node.inputs[1:]]
    if len(bounds) < 2 or any(b is None for b in bounds):
        _unknown(rules, node)
        return
    starts, ends = ([int(i) for i in np.asarray(b).reshape(-1)] for b in bounds[:2])
    rank = len(shape_of(x))
    axes = list(range(len(starts)))
    steps = [1] * len(starts)
    if len(bounds) > 2 and bounds[2] is not None:
        axes = [int(a) % rank for a in bounds[2].reshape(-1)]
    if len(bounds) > 3 and bounds[3] is not None:
        steps = [int(s) for s in bounds[3].reshape(-1)]
    taken = {a: slice(s, e, p) for a, s, e, p in zip(axes, starts, ends, steps, strict=True)}
    for axis in range(rank):
        part = atoms.of(x, axis)[taken.get(axis, slice(None))]
        atoms.tie(part, atoms.of(out, axis))


def _transpose(rules: Rules, node: ir.Node) -> None:
    x, out, atoms = given(node)[0], node.outputs[0], rules.atoms
    rank = len(shape_of(x))
    perm = node.attributes.get_ints("perm", list(range(rank))[::-1])
    for axis, source in enumerate(perm):
        atoms.tie(atoms.of(x, source), atoms.of(out, axis))


def _pad(rules: Rules, node: ir.Node) -> None:
    x, out = given(node)[0], node.outputs[0]
    pads = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    amounts = list(node.attributes.get_ints("pads", []))
    if pads is not None:
        amounts = [int(p) for p in pads.reshape(-1)]
    if len(amounts) != 2 * len(shape_of(x)):  # some axes only, or not constant
        _unknown(rules, node)
        return
    for axis, (before, after) in enumerate(zip(*np.reshape(amounts, (2, -1)), strict=True)):
        if before == after == 0:
            rules.atoms.tie(rules.atoms.of(x, axis), rules.atoms.of(out, axis))
        else:
            rules.atoms.pin(rules.atoms.of(x, axis), "padded")
            rules.atoms.pin(rules.atoms.of(out, axis), "padded")


def _expand(rules: Rules, node: ir.Node) -> None:
    _tie_aligned(rules, given(node)[0], node.outputs[0])


def _reshape(rules: Rules, node: ir.Node) -> None:
    x, out = given(node)[0], node.outputs[0]
    if _shuffle(rules, node):
        return
    for left, right in _blocks(shape_of(x), shape_of(out)):
        if len(left) == len(right) == 1:
            rules.atoms.tie(rules.atoms.of(x, left[0]), rules.atoms.of(out, right[0]))
        elif len(right) == 1:
            _merge(rules, x, left, rules.atoms.of(out, right[0]))
        elif len(left) == 1:
            _merge(rules, out, right, rules.atoms.of(x, left[0]))
        else:
            for value, axes in ((x, left), (out, right)):
                for axis in axes:
                    rules.atoms.pin(rules.atoms.of(value, axis), "reshaped")


def _merge(rules: Rules, value: ir.Value, axes: list[int], flat: Ints) -> None:
    """``axes`` of ``value``, merged, are ``flat``; one of them keeps its freedom."""
    atoms = rules.atoms
    merged = {axis: atoms.of(value, axis) for axis in axes}
    classes = atoms.classes()
    pinned = atoms.pinned(classes)
    free = [axis for axis in axes if not {*classes[merged[axis]].tolist()} & pinned.keys()]
    if not free:
        for axis in axes:
            atoms.pin(merged[axis], "reshaped")
        atoms.pin(flat, "reshaped")
        return
    chosen = 1 if 1 in free else free[-1]
    sizes = [shape_of(value)[a] for a in axes]
    index = np.unravel_index(np.arange(math.prod(sizes)), sizes)[axes.index(chosen)]
    atoms.tie(flat, merged[chosen][index])
    for axis in axes:
        if axis != chosen:
            atoms.pin(merged[axis], "merged with another axis")


def _blocks(left: tuple[int, ...], right: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """Shortest runs of axes, those of one element left out, that hold equally many elements."""
    a = [i for i, n in enumerate(left) if n > 1]
    b = [i for i, n in enumerate(right) if n > 1]
    while a or b:
        x, y = [a.pop(0)], [b.pop(0)]
        while (p := math.prod(left[i] for i in x)) != (q := math.prod(right[i] for i in y)):
            if p < q:
                x.append(a.pop(0))
            else:
                y.append(b.pop(0))
        yield x, y


def _shuffle(rules: Rules, node: ir.Node) -> bool:
    """Reshape, Transpose, Reshape that only reorder channels: a channel shuffle."""
    turn = sole_user(node.outputs[0])
    back = sole_user(turn.outputs[0]) if turn is not None and turn.op_type == "Transpose" else None
    if turn is None or back is None or back.op_type != "Reshape":
        return False
    x, out = given(node)[0], back.outputs[0]
    shape = shape_of(x)
    if len(shape) < 2 or shape_of(out) != shape:
        return False
    index = np.arange(math.prod(shape)).reshape(shape_of(node.outputs[0]))
    perm = turn.attributes.get_ints("perm", list(range(index.ndim))[::-1])
    moved = index.transpose(perm).reshape(shape)
    step = math.prod(shape[2:])
    order = moved.reshape(shape[0], shape[1], -1)[0, :, 0] // step % shape[1]
    if not np.array_equal(moved, np.arange(math.prod(shape)).reshape(shape)[:, order]):
        return False
    _same_axes(rules, x, out, but=(1,))
    rules.atoms.tie(rules.atoms.of(x, 1)[order], rules.atoms.of(out, 1))
    rules.skipped |= {turn, back}
    return True


_RULES: dict[str, Callable[[Rules, ir.Node], None]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "Softmax": _softmax,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Transpose": _transpose,
    "Pad": _pad,
    "Expand": _expand,
}
