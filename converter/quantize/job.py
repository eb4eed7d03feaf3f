"""Post-training quantisation: a float model and some data become a quantised model.

    simplify -> see ranges -> round -> correct biases -> judge (-> keep layers float -> ...)

The result is ONNX with QuantizeLinear and DequantizeLinear, which any runtime can check, and is a
function of the model, the options and the data alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from filigree.converter import passes
from filigree.converter.calibration import Data, Progress
from filigree.converter.errors import UsageError
from filigree.converter.passes.graph import initializer
from filigree.converter.quantize import correct, judge, qdq
from filigree.converter.quantize.observe import histograms
from filigree.converter.quantize.options import QuantizeOptions
from filigree.converter.quantize.ranges import METHODS, Histogram, Params, choose

MOST_BATCH = 16
JUDGED = 64  # samples that tell how sensitive a layer is
CORRECTED = 128  # samples that tell what rounding does to means
WEIGHTS = ("minmax", "mse")


@dataclass(frozen=True)
class QuantizedLayer:
    """``signal_to_noise``: decibel of the layer's result, rounded, in the quantised network;
    ``alone``: of the network's outputs if this layer alone is quantised, where that was asked."""

    name: str
    kept_float: bool
    signal_to_noise: float
    alone: float | None = None


@dataclass(frozen=True)
class Quantized:
    """``model``: ONNX, of the batch asked for. Accuracies are None without labels."""

    model: ir.Model
    layers: tuple[QuantizedLayer, ...]
    output_signal_to_noise: float
    accuracy_before: float | None
    accuracy_after: float | None


Load = Callable[[], ir.Model]


def quantize(
    load: Load,
    options: QuantizeOptions,
    data: Data,
    *,
    batch: int = 1,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    outputs: Sequence[str] = (),
    progress: Progress | None = None,
) -> Quantized:
    """Quantise the model that ``load()`` gives anew each time; ``batch``, ``shapes`` and
    ``outputs`` are those of ``passes.run``.

    Raises UsageError for options that do not fit the model or the data, all problems at once, and
    what ``passes.run`` raises.
    """
    form = _Form(load, batch, shapes or {}, tuple(outputs))
    return _Job(form, options, data, progress or (lambda stage, fraction: None)).run()


@dataclass(frozen=True)
class _Form:
    """The model, and in which shapes and up to which values it is wanted."""

    load: Load
    batch: int
    shapes: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    def graph(self, batch: int) -> ir.Model:
        return passes.run(
            self.load(), batch=batch, shapes=self.shapes, outputs=self.outputs, portable=True
        )


class _Job:
    def __init__(self, form: _Form, options: QuantizeOptions, data: Data, tell: Progress) -> None:
        self._form, self.options, self.data, self._tell = form, options, data, tell
        batch = max(1, min(MOST_BATCH, len(data)))
        self._batch = batch
        self.exact = self._graph(batch)
        self.layers = [n.name or "" for n in qdq.layers_of(self.exact)]
        self.keep = self._checked()
        self.alone: dict[str, float] = {}

    def run(self) -> Quantized:
        everywhere = qdq.sites(self.exact)
        names = list(dict.fromkeys(everywhere.values))
        self.seen = histograms(self.exact, names, self.data, progress=self._tell)
        before = judge.accuracy(self.exact, self.data)
        made, after = self._made(self.keep)
        if self.options.accuracy_budget is not None:
            made, after = self._within_budget(before, made, after)
        return self._result(made, before, after)

    # --- parts ---

    def _graph(self, batch: int) -> ir.Model:
        model = self._form.graph(batch)
        for node in qdq.layers_of(model):
            _with_bias(model, node)
        return model

    def _checked(self) -> set[str]:
        options, problems = self.options, []
        if options.ranges not in METHODS:
            problems.append(f'no ranges by "{options.ranges}"; known: {", ".join(METHODS)}')
        if options.weights not in WEIGHTS:
            problems.append(f'no weights by "{options.weights}"; known: {", ".join(WEIGHTS)}')
        if options.accuracy_budget is not None and self.data.y is None:
            problems.append("an accuracy budget needs data with labels")
        nodes = [n for n in self.exact.graph if (n.name or "") in set(self.layers)]
        keep, unknown = qdq.named(nodes, options.keep_float)
        problems += [f'no layer is called "{name}"' for name in unknown]
        if not self.layers:
            problems.append("it has no layer with constant weights")
        if problems:
            raise UsageError("the model cannot be quantised like that", problems)
        return keep

    def _params(self, where: qdq.Sites) -> dict[str, Params]:
        """Scales of every class of values: of the histogram of all of them together."""
        makers = {v.name or "": v.producer() for v in qdq.values_of(self.exact)}
        found: dict[str, Params] = {}
        for source in dict.fromkeys(where.values.values()):
            members = [n for n, root in where.values.items() if root == source]
            made_by = {maker.op_type for n in members if (maker := makers[n]) is not None}
            known = [qdq.FIXED[kind] for kind in sorted(made_by & set(qdq.FIXED))]
            merged = _merged([self.seen[n] for n in members])
            found[source] = known[0] if known else choose(merged, self.options.ranges)
        return found

    def _made(self, keep: Set[str]) -> tuple[ir.Model, float | None]:
        """The network with ``keep`` float, of the batch that the data is judged in."""
        model = self._rounded(self._batch, keep)
        if self.options.bias_correction:
            quantised = [n for n in self.layers if n not in keep]
            some = self._some(CORRECTED)
            correct.biases(self.exact, model, quantised, some, progress=self._tell)
        return model, judge.accuracy(model, self.data)

    def _rounded(self, batch: int, keep: Set[str]) -> ir.Model:
        model = self._graph(batch)
        where = qdq.sites(model, keep)
        qdq.insert(model, where, self._params(where), self.options.weights)
        return model

    def _some(self, samples: int) -> Data:
        most = max(self._batch, samples // self._batch * self._batch)
        labels = None if self.data.y is None else self.data.y[:most]
        return Data(self.data.x[:most], labels)

    def _within_budget(
        self, before: float | None, made: ir.Model, after: float | None
    ) -> tuple[ir.Model, float | None]:
        budget = self.options.accuracy_budget
        assert budget is not None and before is not None and after is not None
        outputs = [v.name or "" for v in self.exact.graph.outputs]
        if 100 * (before - after) <= budget:
            return made, after
        self.alone = judge.sensitivity(
            self.exact,
            [n for n in self.layers if n not in self.keep],
            lambda layer: self._rounded(self._batch, self._all_but(layer)),
            outputs,
            self._some(JUDGED),
            progress=self._tell,
        )
        for layer in sorted(self.alone, key=lambda n: self.alone[n]):
            self.keep = self.keep | {layer}
            made, after = self._made(self.keep)
            if after is not None and 100 * (before - after) <= budget:
                break
        return made, after

    def _all_but(self, layer: str) -> set[str]:
        return {n.name or "" for n in self.exact.graph} - {layer}

    def _result(self, made: ir.Model, before: float | None, after: float | None) -> Quantized:
        results = {n.name or "": n.outputs[0].name or "" for n in qdq.layers_of(self.exact)}
        there = {v.name or "" for v in qdq.values_of(made)}
        pairs = {}
        for name, value in results.items():
            pairs[name] = (value, f"{value}.rounded" if f"{value}.rounded" in there else value)
        some = self._some(JUDGED)
        outputs = {v.name or "": v.name or "" for v in self.exact.graph.outputs}
        levels = judge.signal_to_noise(self.exact, made, dict(pairs.values()) | outputs, some)
        layers = tuple(
            QuantizedLayer(name, name in self.keep, levels[pairs[name][0]], self.alone.get(name))
            for name in self.layers
        )
        final = self._rounded(self._form.batch, self.keep)
        if self.options.bias_correction:
            correct.copy(made, final, [n for n in self.layers if n not in self.keep])
        return Quantized(final, layers, min(levels[n] for n in outputs), before, after)


def _merged(parts: list[Histogram]) -> Histogram:
    """One histogram of all values, on the widest edges."""
    if len(parts) == 1:
        return parts[0]
    low, high = min(p.ends[0] for p in parts), max(p.ends[1] for p in parts)
    edges = np.linspace(low, high, len(parts[0].edges))
    count = np.zeros(len(edges) - 1)
    for part in parts:
        found, _ = np.histogram(part.centres, edges, weights=part.count)
        count += found
    return Histogram(edges, count)


def _with_bias(model: ir.Model, node: ir.Node) -> None:
    """Give a convolution or Gemm without bias one of zeros, which correction may fill."""
    if node.op_type == "MatMul" or (len(node.inputs) > 2 and node.inputs[2] is not None):
        return
    weight = node.inputs[1]
    assert weight is not None and weight.const_value is not None
    array = weight.const_value.numpy()
    zeros = np.zeros(array.shape[qdq.row_axis(node, array)], np.float32)
    node.resize_inputs(3)
    node.replace_input_with(2, initializer(model, weight, zeros))
