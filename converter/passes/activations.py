"""Activations that exporters spell out become one node.

1. Clip(x + 3, 0, 6) / 6, or times 1/6                 -> HardSigmoid(x), alpha 1/6, beta 1/2
2. x * Clip(x + 3, 0, 6) / 6, divided first or last     -> HardSwish(x)
3. x * HardSigmoid(x) with alpha 1/6, beta 1/2          -> HardSwish(x)
4. x * Sigmoid(x)                                       -> Swish(x)
Every value in between has one reader, and no constant adds axes.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from filigree.converter.passes.graph import bypass, dims, scalar, sole_user

SIXTH = 1 / 6


def apply(model: ir.Model) -> bool:
    """Rewrite until nothing matches."""
    changed = False
    for rule in (_hard_sigmoid, _gated, _divided_last):
        for node in list(model.graph):
            if node.graph is not None and rule(node):
                changed = True
    return changed


def _hard_sigmoid(node: ir.Node) -> bool:
    clip = _over_six(node)
    x = _clipped_plus_three(clip)
    if x is None or dims(x) != dims(node.outputs[0]):
        return False
    _replace(node, "HardSigmoid", x, alpha=SIXTH, beta=0.5)
    return True


def _gated(node: ir.Node) -> bool:
    """x * gate(x)."""
    if node.op_type != "Mul":
        return False
    for x, gate in (node.inputs, reversed(node.inputs)):
        made = gate.producer() if gate is not None else None
        if x is None or made is None or sole_user(made.outputs[0]) is not node:
            continue
        if made.inputs[0] is not x:
            continue
        if made.op_type == "Sigmoid":
            _replace(node, "Swish", x, alpha=1.0)
            return True
        if made.op_type == "HardSigmoid" and _is_standard(made):
            _replace(node, "HardSwish", x)
            return True
    return False


def _divided_last(node: ir.Node) -> bool:
    """(x * Clip(x + 3, 0, 6)) / 6."""
    product = _over_six(node)
    if product is None or product.op_type != "Mul":
        return False
    for x, gate in (product.inputs, reversed(product.inputs)):
        clip = gate.producer() if gate is not None else None
        if clip is not None and sole_user(clip.outputs[0]) is product:
            found = _clipped_plus_three(clip)
            if found is not None and found is x and dims(x) == dims(node.outputs[0]):
                _replace(node, "HardSwish", found)
                return True
    return False


def _over_six(node: ir.Node) -> ir.Node | None:
    """The producer of y where ``node`` is y / 6 or y * (1/6), if nothing else reads y."""
    if node.op_type not in ("Div", "Mul"):
        return None
    sides = [node.inputs] if node.op_type == "Div" else [node.inputs, list(reversed(node.inputs))]
    wanted = 6.0 if node.op_type == "Div" else SIXTH
    for y, by in sides:
        found = scalar(by)
        if y is not None and found is not None and math.isclose(found, wanted, rel_tol=1e-5):
            made = y.producer()
            return made if made is not None and sole_user(made.outputs[0]) is node else None
    return None


def _clipped_plus_three(clip: ir.Node | None) -> ir.Value | None:
    """x where ``clip`` is Clip(x + 3, 0, 6) (or Relu6), if nothing else reads the sum."""
    if clip is None or clip.op_type != "Clip" or _bounds(clip) != (0.0, 6.0):
        return None
    add = clip.inputs[0].producer() if clip.inputs[0] is not None else None
    if add is None or add.op_type != "Add" or sole_user(add.outputs[0]) is not clip:
        return None
    for x, three in (add.inputs, reversed(add.inputs)):
        if scalar(three) == 3.0:
            return x
    return None


def _bounds(clip: ir.Node) -> tuple[float | None, float | None]:
    if "min" in clip.attributes or "max" in clip.attributes:
        return clip.attributes.get_float("min", None), clip.attributes.get_float("max", None)
    given = [*clip.inputs, None, None]
    return scalar(given[1]), scalar(given[2])


def _is_standard(node: ir.Node) -> bool:
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    return math.isclose(alpha, SIXTH, rel_tol=1e-5) and beta == 0.5


def _replace(node: ir.Node, op_type: str, x: ir.Value, **attributes: float) -> None:
    """Put ``op_type(x)`` in the place of ``node``; it takes the node's name."""
    new = ir.node(op_type, [x], attributes, name=node.name)
    old = node.outputs[0]
    new.outputs[0].name = old.name
    new.outputs[0].shape, new.outputs[0].type = old.shape, old.type
    new.outputs[0].meta.update(old.meta)
    assert node.graph is not None
    node.graph.insert_before(node, new)
    name = old.name
    bypass(node, new.outputs[0])
    new.outputs[0].name = name
