"""What several passes ask of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.quantize.marks import mark_of

NAMES = "filigree.names"


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The value's array, if it is known before the model runs."""
    if value is None or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def scalar(value: ir.Value | None) -> float | None:
    """The one number that a constant holds, if that is what it is."""
    array = constant(value)
    if array is None or array.size != 1 or array.dtype.kind not in "fiub":
        return None
    return float(array.reshape(()))


def sole_user(value: ir.Value) -> ir.Node | None:
    """The one node that reads ``value``, if there is just one reader, no output of the model, and
    no mark that rounds it."""
    uses = list(value.uses()) if mark_of(value) is None else []
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def cut_before(node: ir.Node) -> str:
    """A value that ``node`` reads and another node makes, to cut the model at; "" if none."""
    made = (v for v in node.inputs if v is not None and v.producer() is not None)
    return next((v.name or "" for v in made), "")


def dims(value: ir.Value) -> tuple[int, ...]:
    """The static shape of a value. Raises ValueError if a dim is open."""
    shape = value.shape
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        raise ValueError(f'value "{value.name}" has no static shape')
    return tuple(int(dim) for dim in shape if isinstance(dim, int))


def initializer(model: ir.Model, near: ir.Value, array: NDArray[Any]) -> ir.Value:
    """A new constant of the model; its name is made from that of ``near``."""
    taken = _names(model)
    stem = near.name or "constant"
    name = next(n for n in (f"{stem}.{i}" for i in range(len(taken) + 1)) if n not in taken)
    taken.add(name)
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    model.graph.register_initializer(value)
    return value


def forget_names(model: ir.Model) -> None:
    """To be called by a pass that names values by rules of its own."""
    model.meta.pop(NAMES, None)


def _names(model: ir.Model) -> set[str]:
    """Names of every value, looked up once and then kept."""
    if NAMES not in model.meta:
        graph = model.graph
        made = (value for node in graph for value in node.outputs)
        found = {value.name or "" for value in (*graph.inputs, *made)}
        model.meta[NAMES] = found | graph.initializers.keys()
    names: set[str] = model.meta[NAMES]
    return names


def bypass(node: ir.Node, by: ir.Value) -> None:
    """Let the readers of ``node``'s first output read ``by``, and remove ``node``.

    An output of the model keeps its name.
    """
    old = node.outputs[0]
    name, is_output = old.name, old.is_graph_output()
    if is_output:
        old.name = f"{name}.before"
        by.name = name
    old.replace_all_uses_with(by, replace_graph_outputs=True)
    graph = node.graph
    assert graph is not None
    graph.remove(node, safe=True)
