"""A graph as a PyTorch module: same nodes, same names, trainable weights, any batch.

1. The graph went through ``passes.run(portable=True)``: static shapes, constants are initializers.
2. Trained are weights and biases of layers, scale and shift of normalisations, slopes of PRelu,
   and what is added to or multiplied with channels; not: single numbers, statistics, bounds.
3. The first axis of every value is the batch. A graph that mixes samples is refused, which is
   found out by running two samples instead of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from filigree.converter.errors import Unsupported, UnsupportedModel
from filigree.converter.finetune.operators import OPERATORS, Apply
from filigree.converter.frontends.onnx import source_of
from filigree.converter.passes.graph import constant, dims

TRAINED = {
    "Conv": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "PRelu": (1,),
    "Add": (0, 1),
    "Mul": (0, 1),
}


@dataclass(frozen=True)
class _Step:
    """One node: what it reads (None: left out), writes, and what nobody reads afterwards."""

    node: ir.Node
    apply: Apply
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    last: tuple[str, ...]


class Network(nn.Module):
    """``weights``: the trained parameters by the initializer's name; ``constants``: the rest.

    Raises UnsupportedModel, with all problems, for a graph that cannot be trained like this.
    """

    def __init__(self, model: ir.Model) -> None:
        super().__init__()
        self._source = source_of(model)
        self.input, self.output = _ends(model)
        self.weights, self.constants = _tensors(model)
        self._parameters_in_order = nn.ParameterList(self.weights.values())
        self._steps = _steps(model, keep={self.output})
        self.logits = _logits(model, self.output)
        self._check_batch(model)

    def forward(self, x: Tensor) -> Tensor:
        """The first output for ``x`` [N, ...]."""
        return self.values(x, [self.output])[0]

    def values(
        self, x: Tensor, names: Sequence[str], weights: Mapping[str, Tensor] | None = None
    ) -> list[Tensor]:
        """The values called ``names``; ``weights`` take the place of those of their names."""
        wanted = set(names)
        known: dict[str, Tensor] = {**self.constants, **self.weights, **(weights or {})}
        known[self.input] = x
        kept = {}
        for step in self._steps:
            result = step.apply(*(None if n is None else known[n] for n in step.inputs))
            results = (result,) if len(step.outputs) == 1 else result
            known.update(zip(step.outputs, results, strict=True))
            kept.update({n: known[n] for n in step.outputs if n in wanted})
            for name in step.last:
                del known[name]
            if len(kept) == len(wanted):
                break
        return [kept[name] for name in names]

    def store(self, model: ir.Model) -> None:
        """Write the weights into the graph this came from, under their own names."""
        for name, weight in self.weights.items():
            array = weight.detach().numpy().copy()
            model.graph.initializers[name].const_value = ir.tensor(array, name=name)

    def _check_batch(self, model: ir.Model) -> None:
        shape = dims(model.graph.inputs[0])
        known = {**self.constants, **self.weights, self.input: torch.zeros(2, *shape[1:])}
        problems = []
        with torch.no_grad():
            for step in self._steps:
                try:
                    result = step.apply(*(None if n is None else known[n] for n in step.inputs))
                    results = (result,) if len(step.outputs) == 1 else result
                    known.update(zip(step.outputs, results, strict=True))
                    wrong = any(
                        tuple(known[name].shape) != (2, *dims(value)[1:])
                        for name, value in zip(step.outputs, step.node.outputs, strict=True)
                    )
                except (RuntimeError, IndexError, ValueError):
                    wrong = True
                if wrong:
                    what = "mixes samples, or keeps no batch axis in front"
                    problems.append(Unsupported(step.node.op_type, step.node.name or "", what))
                    break  # all that follows would be wrong too
        if problems:
            raise UnsupportedModel.of(self._source, problems)


def _ends(model: ir.Model) -> tuple[str, str]:
    inputs = [value.name or "" for value in model.graph.inputs]
    if len(inputs) != 1:
        what = "only a network of one input can be trained"
        raise UnsupportedModel.of(
            source_of(model), [Unsupported("input", name, what) for name in inputs]
        )
    return inputs[0], model.graph.outputs[0].name or ""


def _tensors(model: ir.Model) -> tuple[dict[str, nn.Parameter], dict[str, Tensor]]:
    trained = set(_trained(model))
    weights, constants = {}, {}
    for name, value in model.graph.initializers.items():
        array = constant(value)
        assert array is not None
        if name in trained:
            weights[name] = nn.Parameter(torch.from_numpy(np.array(array, np.float32)))
        else:
            constants[name] = torch.from_numpy(np.array(array))
    return weights, constants


def _trained(model: ir.Model) -> Iterator[str]:
    for node in model.graph:
        for index in TRAINED.get(node.op_type, ()):
            value = node.inputs[index] if index < len(node.inputs) else None
            array = constant(value)
            if value is None or array is None or array.dtype != np.float32:
                continue
            if array.size > 1 or node.op_type not in ("Add", "Mul"):
                yield value.name or ""


def _steps(model: ir.Model, *, keep: set[str]) -> list[_Step]:
    opset = model.graph.opset_imports.get("", 17)
    problems, found = [], []
    last = _last_readers(model, keep)
    for i, node in enumerate(model.graph):
        try:
            if node.op_type not in OPERATORS:
                raise ValueError("cannot be trained")
            apply = OPERATORS[node.op_type](node, opset)
        except ValueError as error:
            problems.append(Unsupported(node.op_type, node.name or "", str(error)))
            continue
        inputs = tuple(None if v is None else v.name or "" for v in node.inputs)
        outputs = tuple(v.name or "" for v in node.outputs if v.name)
        found.append(_Step(node, apply, inputs, outputs, tuple(last.get(i, ()))))
    if problems:
        raise UnsupportedModel.of(source_of(model), problems)
    return found


def _last_readers(model: ir.Model, keep: set[str]) -> dict[int, list[str]]:
    """By a node's number: values made by nodes that it reads last."""
    made = {v.name or "" for node in model.graph for v in node.outputs}
    number = {v.name: i for i, node in enumerate(model.graph) for v in node.inputs if v is not None}
    found: dict[int, list[str]] = {}
    for name, i in number.items():
        if name in made and name not in keep:
            found.setdefault(i, []).append(name or "")
    return found


def _logits(model: ir.Model, output: str) -> str | None:
    """What a Softmax that makes the output reads; None if the output is something else."""
    node = model.graph.outputs[0].producer()
    if node is None or node.op_type != "Softmax" or node.inputs[0] is None:
        return None
    return node.inputs[0].name
