"""Find the channel-axis variables of a graph."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from filigree.converter.passes.graph import constant
from filigree.converter.sparsity.axes.atoms import Atoms, Ints, shape_of
from filigree.converter.sparsity.axes.rules import Rules, given, group_name


class Role(enum.Enum):
    """How a layer's weights know a variable: as what they make, or as what they take."""

    ROWS = "rows"
    COLS = "cols"


@dataclass(frozen=True)
class Use:
    """One layer's rows or columns. ``slots`` [times, size]: where each channel of the variable is,
    in the variable's order, each time it appears."""

    node: str
    role: Role
    slots: Ints


@dataclass(frozen=True)
class Variable:
    """Channels that can be exchanged for each other.

    ``classes``: their class numbers, in today's order; ``producers`` make them, ``consumers`` read
    them; ``through``: values on whose axes they lie; ``pinned``: why they must stay, if so.
    """

    name: str
    classes: Ints
    producers: tuple[Use, ...]
    consumers: tuple[Use, ...]
    through: tuple[str, ...]
    pinned: str | None

    @property
    def size(self) -> int:
        return int(self.classes.size)


@dataclass(frozen=True)
class Axes:
    """All variables, pinned ones included, and the class of each index of each axis:
    ``labels[value name, axis]`` [dim]."""

    variables: tuple[Variable, ...]
    labels: dict[tuple[str, int], Ints]

    @property
    def free(self) -> tuple[Variable, ...]:
        """Variables that may be reordered and that some layer makes."""
        return tuple(v for v in self.variables if v.pinned is None and v.producers)


def find(model: ir.Model) -> Axes:
    """The variables of a graph that went through ``passes``."""
    atoms = Atoms()
    for value in (*model.graph.inputs, *model.graph.outputs):
        for axis in range(len(shape_of(value))):
            kind = "an input of the model" if value.is_graph_input() else "an output of the model"
            atoms.pin(atoms.of(value, axis), kind)
    rules = Rules(atoms)
    for node in model.graph:
        rules.apply(node)
    classes = atoms.classes()
    pinned = atoms.pinned(classes)
    labels = {key: classes[start : start + size] for key, (start, size) in atoms.axes.items()}
    groups = atoms.exchangeable(classes)
    uses = [(*use, set(use[2].tolist())) for use in _uses(model, labels)]
    inside = {key: set(axis.tolist()) for key, axis in labels.items()}
    found = [
        _variable(i, members, labels=labels, inside=inside, uses=uses, pinned=pinned)
        for i, members in enumerate(_split_pinned(groups, pinned))
    ]
    return Axes(tuple(found), labels)


def _split_pinned(groups: list[Ints], pinned: dict[int, str]) -> Iterator[Ints]:
    """Pinned classes of a group apart from the free ones."""
    for members in groups:
        held = np.isin(members, list(pinned))
        for part in (members[~held], members[held]):
            if part.size > 1:
                yield part


def _variable(
    i: int,
    members: Ints,
    *,
    labels: dict[tuple[str, int], Ints],
    inside: dict[tuple[str, int], set[int]],
    uses: list[tuple[str, Role, Ints, set[int]]],
    pinned: dict[int, str],
) -> Variable:
    one = int(members[0])
    on = {key: axis for key, axis in labels.items() if one in inside[key]}
    order = _in_order(members, next(iter(on.values())))
    found = [
        Use(node, role, slots_of(order, axis))
        for node, role, axis, numbers in uses
        if one in numbers
    ]
    return Variable(
        name=f"v{i}",
        classes=order,
        producers=tuple(u for u in found if u.role is Role.ROWS),
        consumers=tuple(u for u in found if u.role is Role.COLS),
        through=tuple(dict.fromkeys(name for name, _ in on)),
        pinned=pinned.get(int(order[0])),
    )


def _in_order(members: Ints, axis: Ints) -> Ints:
    """Members by their first place on an axis."""
    first = {int(number): i for i, number in reversed(list(enumerate(axis.tolist())))}
    return np.array(sorted(members.tolist(), key=lambda m: first[m]), np.int64)


def slots_of(classes: Ints, axis: Ints) -> Ints:
    """[times, size]: where each class is on an axis, its appearances in order."""
    where: dict[int, list[int]] = {int(number): [] for number in classes}
    for i, number in enumerate(axis.tolist()):
        if number in where:
            where[number].append(i)
    return np.array(list(where.values()), np.int64).T


def _uses(model: ir.Model, labels: dict[tuple[str, int], Ints]) -> Iterator[tuple[str, Role, Ints]]:
    """Rows and columns of every layer with a constant weight matrix; depthwise ones have none."""
    for node in model.graph:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or constant(given(node)[1]) is None:
            continue
        weight, name = given(node)[1], node.name or ""
        if len(shape_of(weight)) < 2:
            continue
        rows, cols = weight_axes(node, len(shape_of(weight)))
        groups = node.attributes.get_int("group", 1)
        key = weight.name or ""
        if groups > 1 and shape_of(weight)[1] == 1:
            continue
        yield name, Role.ROWS, labels[key, rows]
        if groups == 1:
            yield name, Role.COLS, labels[key, cols]
        else:
            for g in range(groups):
                if (group_name(node, "in", g), 0) in labels:
                    yield name, Role.COLS, labels[group_name(node, "in", g), 0]


def weight_axes(node: ir.Node, rank: int) -> tuple[int, int]:
    """(axis of output channels, axis of input channels) of a layer's weights."""
    if node.op_type == "Conv" or node.attributes.get_int("transB", 0) == 1:
        return 0, 1
    return rank - 1, rank - 2
