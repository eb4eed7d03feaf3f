"""The one list of supported operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from filigree.converter.lowering.builder import Builder, Refused
from filigree.converter.lowering.view import View
from filigree.converter.quantize.marks import Quant, mark_of

Lower = Callable[[Builder, ir.Node], None]


@dataclass(frozen=True)
class Operator:
    """``note`` says which forms are taken, for the docs."""

    lower: Lower
    note: str


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, note: str = "all") -> Callable[[Lower], Lower]:
    """Register a function for the operators ``names``."""

    def register(function: Lower) -> Lower:
        OPERATORS.update({name: Operator(function, note) for name in names})
        return function

    return register


def int8_result(b: Builder, node: ir.Node, inputs: Sequence[ir.Value | None]) -> Quant | None:
    """What the node's result is rounded to, if it is and ``inputs`` are int8 too."""
    quant = mark_of(node.outputs[0])
    if quant is None or any(b.quant_of(b.stored(value)) is None for value in inputs):
        return None
    return quant


def operand(b: Builder, value: ir.Value | None, quant: Quant | None) -> View:
    """Where an input lies: as int8 for an int8 result, as floats for any other (None)."""
    return b.view(value) if quant is None else b.stored(value)


def only_first_output(node: ir.Node) -> ir.Value:
    """The node's first output. Raises Refused if anything reads another one."""
    for value in node.outputs[1:]:
        if value.uses() or value.is_graph_output():
            raise Refused(f'its output "{value.name}" is used')
    return node.outputs[0]


def optional(node: ir.Node, index: int) -> ir.Value | None:
    """Input ``index`` of the node, if it is there."""
    return node.inputs[index] if index < len(node.inputs) else None
