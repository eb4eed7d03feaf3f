"""Prune a model to a pattern: what is cut, in which order of channels, and what makes up for it.

    read -> simplify (kept valid ONNX) -> see what layers see -> share out the budget
         -> rearrange -> prune layer by layer, each on what the pruned layers before it hand on

1. Convolutions (not depthwise) and fully connected layers with constant weights are pruned; the
   first layer, which reads the input, and the last, which makes the scores, only if named.
2. With ``reconstruct`` each layer aims at what it made before anything was pruned, from what it is
   given now: W' = argmin E|W x - W' x'|^2 + lambda |W' - W|^2, x' being its input behind the layers
   pruned before it (He et al. 2017); the method then prunes W', and the bias makes up for the mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from filigree.converter import calibration, frontends, passes
from filigree.converter.calibration import Data, Moments
from filigree.converter.errors import UsageError
from filigree.converter.frontends.onnx import source_of
from filigree.converter.lowering.program import F32
from filigree.converter.passes.graph import constant, dims, initializer
from filigree.converter.sparsity import budget as budgets
from filigree.converter.sparsity import rearrange
from filigree.converter.sparsity.axes import matrix_of, set_matrix
from filigree.converter.sparsity.budget import Size
from filigree.converter.sparsity.cost import CostTable
from filigree.converter.sparsity.layer import F64, Goal, Layer, block_sums
from filigree.converter.sparsity.methods import METHODS, REFINEMENTS
from filigree.converter.sparsity.soup import soup
from filigree.converter.sparsity.timing import HEIGHTS, Timer, shape_of

Progress = Callable[[str, float], None]
RIDGE = 1e-2
MOST_BATCH = 32
PATTERN = re.compile(r"(?:(\d+)x1)?(?:(?:^|(?<=x1)\+)(\d+):(\d+))?")
SENSITIVE_AT = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Pattern:
    """``4x1``, ``1x1`` (unstructured), ``2:4`` or ``4x1+2:4``."""

    block_rows: int = 4
    n_of_m: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises ValueError for anything else."""
        match = PATTERN.fullmatch(text)
        if not text or match is None or not (match[1] or match[2]):
            raise ValueError(f'"{text}" is not a pattern such as 4x1, 1x1, 2:4 or 4x1+2:4')
        rows = int(match[1] or 1)
        if rows not in (1, 2, 4, 8, 16):
            raise ValueError(f'"{text}": blocks have 1, 2, 4, 8 or 16 rows')
        if match[2] and not 0 < int(match[2]) <= int(match[3]):
            raise ValueError(f'"{text}": {match[2]} of {match[3]} is not possible')
        return cls(rows, (int(match[2]), int(match[3])) if match[2] else None)

    def __str__(self) -> str:
        some = "" if self.n_of_m is None else "+{}:{}".format(*self.n_of_m)
        return f"{self.block_rows}x1{some}"


@dataclass(frozen=True)
class Override:
    """What one layer gets instead: a sparsity in [0, 1), a pattern, or both."""

    sparsity: float | None = None
    pattern: Pattern | None = None


@dataclass(frozen=True)
class PruneOptions:
    """``sparsity``: share cut of the prunable layers' ``unit`` ("weights", "work", or "time" as
    predicted for ``target``); ``pattern`` None: the best height for each layer's time;
    ``budget``: how it is shared out; ``refine``: names of refinements, in order."""

    sparsity: float = 0.8
    pattern: Pattern | None = field(default_factory=Pattern)
    method: str = "magnitude"
    refine: tuple[str, ...] = ()
    reconstruct: bool = False
    budget: str = "uniform"
    unit: str = "weights"
    target: str = "host"
    rearrange: bool = True
    overrides: Mapping[str, Override] = field(default_factory=dict)
    seed: int = 0
    effort: float = 1.0


@dataclass(frozen=True)
class PrunedLayer:
    """One layer: ``blocks`` of ``pattern`` kept of ``of``; ``error``: of its output on calibration
    data, relative to the output's power (None without data)."""

    name: str
    rows: int
    cols: int
    positions: int
    pattern: str
    sparsity: float
    blocks: int
    of: int
    error: float | None


@dataclass(frozen=True)
class Pruned:
    """The pruned model as ONNX, and what was done to it."""

    proto: onnx.ModelProto
    graph: ir.Model
    layers: tuple[PrunedLayer, ...]
    sparsity: float
    rearranged: rearrange.Rearranged | None


@dataclass(frozen=True)
class Prepared:
    """A graph ready to be pruned by other means: ``patterns`` and ``goals`` by layer name; channels
    are in their final order. ``given``: the inputs' shapes in the file, for ``as_onnx``."""

    graph: ir.Model
    given: tuple[tuple[str | int, ...], ...]
    patterns: Mapping[str, Pattern]
    goals: Mapping[str, Goal]
    rearranged: rearrange.Rearranged | None


UNITS = {"weights": budgets.weights_cost, "work": budgets.work_cost}
TIME = "time"


def prune(
    source: Path, options: PruneOptions, *, data: Data | None, progress: Progress | None = None
) -> Pruned:
    """Prune the model at ``source``.

    ``data``: calibration samples; methods and refinements that need it say so. The result is a
    function of the model, the options and the data alone.
    Raises errors of ``filigree.converter.errors``, all problems of a kind at once.
    """
    job = _Job(source, options, data, progress or (lambda stage, fraction: None))
    return job.run()


def prepare(
    source: Path, options: PruneOptions, *, data: Data | None, progress: Progress | None = None
) -> Prepared:
    """All that ``prune`` does before it cuts: simplify, share out the budget, rearrange.

    Raises what ``prune`` raises.
    """
    job = _Job(source, options, data, progress or (lambda stage, fraction: None))
    return job.prepared()


def sample_shape(source: Path) -> tuple[int, ...]:
    """The shape of one sample: the model's first input without its batch axis."""
    model = frontends.load(source)
    return dims(passes.run(model, portable=True).graph.inputs[0])[1:]


def average(sources: Sequence[Path]) -> onnx.ModelProto:
    """The first model with the mean of all the models' weights (``soup``).

    Raises UsageError if their zeros or shapes differ, and what ``frontends.load`` raises.
    """
    models = [frontends.load(path) for path in sources]
    weights = [_floats(model) for model in models]
    try:
        mean = soup(weights)
    except ValueError as error:
        raise UsageError("these models cannot be averaged", [str(error)]) from error
    proto = frontends.as_onnx(sources[0])
    for tensor in proto.graph.initializer:
        if tensor.name in mean:
            tensor.CopyFrom(onnx.numpy_helper.from_array(mean[tensor.name], tensor.name))
    return proto


def _floats(model: ir.Model) -> dict[str, F32]:
    found = {}
    for name, value in model.graph.initializers.items():
        array = constant(value)
        if array is not None and array.dtype == np.float32:
            found[name] = array
    return found


def as_onnx(model: ir.Model, given: Sequence[tuple[str | int, ...]]) -> onnx.ModelProto:
    """The graph as a file, with the inputs' batch axes as open as they were."""
    symbols = [axes[0] if axes else 1 for axes in given]
    symbol = next((s for s in symbols if isinstance(s, str)), None)
    batch = dims(model.graph.inputs[symbols.index(symbol)])[0] if symbol is not None else 0
    if batch:
        _free_reshapes(model, batch)
    proto = ir.serde.serialize_model(model)
    for value, axis in zip(proto.graph.input, symbols, strict=True):
        if isinstance(axis, str):
            _open_batch(value, axis)
    for value in proto.graph.output:
        dim = value.type.tensor_type.shape.dim
        if batch and len(dim) and dim[0].dim_value == batch:
            _open_batch(value, symbol or "")
    del proto.graph.value_info[:]
    return proto


def _free_reshapes(model: ir.Model, batch: int) -> None:
    """Let Reshapes whose constant has the batch in front take it from their input."""
    for node in model.graph:
        shape = constant(node.inputs[1]) if node.op_type == "Reshape" else None
        x = node.inputs[0] if node.inputs else None
        if shape is None or x is None or not shape.size:
            continue
        if node.attributes.get_int("allowzero", 0) == 1:
            continue
        before, after = dims(x), dims(node.outputs[0])
        if before[:1] == after[:1] == (batch,) and shape[0] == batch:
            free = np.concatenate([[0], shape[1:]]).astype(np.int64)
            node.replace_input_with(1, initializer(model, node.outputs[0], free))


def _open_batch(value: onnx.ValueInfoProto, symbol: str) -> None:
    value.type.tensor_type.shape.dim[0].dim_param = symbol or "N"


class _Job:
    """One run of ``prune``: the graph under change beside the graph as it was."""

    def __init__(
        self, source: Path, options: PruneOptions, data: Data | None, progress: Progress
    ) -> None:
        self.options, self.data, self.progress = options, data, progress
        self._source = source
        progress("reading", 0.0)
        loaded = frontends.load(source)
        self._given = [
            tuple(d if isinstance(d, int) else (d.value or "") for d in v.shape or ())
            for v in loaded.graph.inputs
            if v.name not in loaded.graph.initializers
        ]
        self.model = self._simplified()
        self.nodes = {n.name or "": n for n in calibration.layers_of(self.model)}
        _check(self.model, self.nodes, options, data)
        self.goals = self._prunable()

    def run(self) -> Pruned:
        densities, arranged = self._arranged()
        layers = self._prune_all(densities)
        kept = sum(layer.rows * layer.cols * (1 - layer.sparsity) for layer in layers)
        total = sum(layer.rows * layer.cols for layer in layers)
        proto = as_onnx(self.model, self._given)
        sparsity = 1 - kept / total if total else 0.0
        return Pruned(proto, self.model, layers, sparsity, arranged)

    def prepared(self) -> Prepared:
        densities, arranged = self._arranged()
        goals = {name: self._goal(name, densities[name]) for name in self.goals}
        return Prepared(self.model, tuple(self._given), self.goals, goals, arranged)

    # --- parts ---

    def _arranged(self) -> tuple[dict[str, float], rearrange.Rearranged | None]:
        """The budget, and the graph with its channels in their final order."""
        self.seen = {} if self.data is None else self._moments(self.model)
        densities = self._densities()
        return densities, self._rearranged(densities) if self.options.rearrange else None

    def _simplified(self) -> ir.Model:
        batch = 1 if self.data is None else max(1, min(MOST_BATCH, len(self.data)))
        return passes.run(frontends.load(self._source), batch=batch, portable=True)

    def _prunable(self) -> dict[str, Pattern]:
        """Layers to prune and the pattern of each."""
        chosen = [name for name in self.nodes if name in self.options.overrides]
        inner = list(self.nodes)[1:-1] if len(self.nodes) > 2 else list(self.nodes)
        names = [name for name in self.nodes if name in {*inner, *chosen}]
        found = {}
        for name in names:
            override = self.options.overrides.get(name, Override())
            if override.sparsity == 0.0:
                continue
            found[name] = override.pattern or self.options.pattern or Pattern()
        return found

    def _moments(self, model: ir.Model) -> dict[str, Moments]:
        assert self.data is not None
        return calibration.moments(model, list(self.goals), self.data, progress=self.progress)

    def _layer(self, name: str) -> Layer:
        seen = self.seen.get(name)
        matrix = matrix_of(self.nodes[name])
        if seen is None:
            return Layer(name, matrix)
        return Layer(name, matrix, seen.gram, seen.mean)

    def _sizes(self) -> list[Size]:
        return [_size(self.nodes[name]) for name in self.goals]

    def _scores(self) -> dict[str, F64]:
        """Importance of each weight by the method, or by magnitude where it has none."""
        score = METHODS[self.options.method].score or METHODS["magnitude"].score
        assert score is not None
        return {name: np.asarray(score(self._layer(name)), np.float64) for name in self.goals}

    def _densities(self) -> dict[str, float]:
        o = self.options
        fixed = {
            name: 1 - override.sparsity
            for name, override in o.overrides.items()
            if override.sparsity is not None and name in self.goals
        }
        free = [size for size in self._sizes() if size.name not in fixed]
        if not free:
            return fixed
        if o.pattern is None:
            return {**self._heights_and_densities(free), **fixed}
        target, cost = 1 - o.sparsity, self._cost()
        if o.budget == "uniform":
            shared = budgets.uniform(free, target=target, cost=cost)
        elif o.budget == "erk":
            shared = budgets.erk(free, target=target, cost=cost)
        elif o.budget == "global":
            scores = self._scores()
            blocks = {
                s.name: block_sums(scores[s.name], self.goals[s.name].block_rows) for s in free
            }
            shared = budgets.global_(free, blocks, target=target, cost=cost)
        else:
            shared = budgets.sensitivity(free, self._errors(free), target=target, cost=cost)
        return {**shared, **fixed}

    def _cost(self) -> budgets.Cost:
        if self.options.unit in UNITS:
            return UNITS[self.options.unit]
        timer = self._timer()

        def time(size: Size, density: float) -> float:
            return timer.at(size.name, density, block_rows=self.goals[size.name].block_rows)

        return time

    def _timer(self) -> Timer:
        table = CostTable.for_target(self.options.target)
        return Timer(table, {name: shape_of(self.nodes[name]) for name in self.goals})

    def _heights_and_densities(self, sizes: Sequence[Size]) -> dict[str, float]:
        """Block rows and density of every layer: least error within the time; sets the patterns."""
        timer = self._timer()
        errors: dict[str, dict[tuple[int, float], float]] = {}
        for i, size in enumerate(sizes):
            self.progress("measuring sensitivity", i / len(sizes))
            layer = self._layer(size.name)
            errors[size.name] = {
                (rows, density): _quick_error(layer, rows, density)
                for rows in HEIGHTS
                for density in SENSITIVE_AT
            }
        found = budgets.cheapest(
            sizes,
            errors,
            cost=lambda size, o: timer.at(size.name, o[1], block_rows=o[0]),
            target=1 - self.options.sparsity,
            dense=sum(timer.dense(size.name) for size in sizes),
        )
        for name, (rows, _) in found.items():
            self.goals[name] = Pattern(rows)
        return {name: density for name, (_, density) in found.items()}

    def _errors(self, sizes: Sequence[Size]) -> dict[str, dict[float, float]]:
        """Relative output error of each layer at a few densities, by the method itself."""
        found: dict[str, dict[float, float]] = {}
        for i, size in enumerate(sizes):
            self.progress("measuring sensitivity", i / len(sizes))
            layer = self._layer(size.name)
            found[size.name] = {}
            for density in SENSITIVE_AT:
                goal = self._goal(size.name, density)
                cut = METHODS[self.options.method].prune(layer, goal, seed=self.options.seed)
                found[size.name][density] = output_error(layer, cut)
        return found

    def _goal(self, name: str, density: float) -> Goal:
        rows, cols = matrix_of(self.nodes[name]).shape
        pattern = self.goals[name]
        keep = most_blocks(rows, cols, pattern.block_rows, density=density)
        return Goal(pattern.block_rows, keep, pattern.n_of_m)

    def _rearranged(self, densities: Mapping[str, float]) -> rearrange.Rearranged | None:
        rows = max((p.block_rows for p in self.goals.values()), default=1)
        if rows == 1:
            return None
        scores = {name: s / max(float(s.mean()), 1e-30) for name, s in self._scores().items()}
        keep = {name: self._goal(name, densities[name]).keep for name in self.goals}
        found = rearrange.lossy(
            self.model,
            scores,
            keep,
            block_rows=rows,
            effort=self.options.effort,
            progress=self.progress,
        )
        if self.seen:
            self.seen = self._moments(self.model)
        return found

    def _prune_all(self, densities: Mapping[str, float]) -> tuple[PrunedLayer, ...]:
        dense = self._copy() if self.options.reconstruct else None
        done = []
        for i, name in enumerate(self.goals):
            self.progress("pruning", i / len(self.goals))
            now = self._handed_on(name, dense) if i else None
            done.append(self._prune_one(name, densities[name], now))
        return tuple(done)

    def _copy(self) -> ir.Model:
        return ir.serde.deserialize_model(ir.serde.serialize_model(self.model))

    def _handed_on(self, name: str, dense: ir.Model | None) -> Moments | None:
        """What a layer sees now, beside what it saw before anything was pruned. Layer by layer:
        moments that are a layer or two old cost more than they help."""
        if dense is None or self.data is None:
            return None
        return calibration.moments(self.model, [name], self.data, other=dense)[name]

    def _prune_one(self, name: str, density: float, now: Moments | None) -> PrunedLayer:
        o, layer = self.options, self._layer(name)
        target = layer if now is None else corrected(layer, now)
        goal = self._goal(name, density)
        matrix = METHODS[o.method].prune(target, goal, seed=o.seed)
        for refinement in o.refine:
            mask = matrix != 0
            matrix = REFINEMENTS[refinement].refine(target, goal, mask=mask, matrix=matrix)
        set_matrix(self.model, self.nodes[name], matrix)
        if o.reconstruct and layer.mean is not None:
            self._shift_bias(name, layer, matrix, now)
        return describe(self.nodes[name], self.goals[name], layer, matrix)

    def _shift_bias(self, name: str, layer: Layer, matrix: F32, now: Moments | None) -> None:
        """Make the mean of the layer's output what it was."""
        node = self.nodes[name]
        scaled = any(node.attributes.get_float(a, 1.0) != 1.0 for a in ("alpha", "beta"))
        old = _bias(node, layer.rows)
        if node.op_type == "MatMul" or scaled or old is None:
            return
        assert layer.mean is not None
        after = layer.mean if now is None else now.mean
        before = layer.mean if now is None or now.other_mean is None else now.other_mean
        if matrix.shape[1] != before.size or node.attributes.get_int("group", 1) > 1:
            return
        shift = layer.matrix.astype(np.float64) @ before - matrix.astype(np.float64) @ after
        value = initializer(self.model, node.outputs[0], (old + shift).astype(np.float32))
        if len(node.inputs) < 3:
            node.resize_inputs(3)
        node.replace_input_with(2, value)


def most_blocks(rows: int, cols: int, block_rows: int, *, density: float) -> int:
    """The most blocks that hold at most ``density`` of the weights, whichever they are; at least 1.

    The last group of rows may be short: its blocks count as what they hold once no others are left.
    """
    room, whole = density * rows * cols + 1e-6, rows // block_rows * cols
    if room < whole * block_rows or not rows % block_rows:
        return max(1, min(whole, math.floor(room / block_rows)))
    return max(1, whole + math.floor((room - whole * block_rows) / (rows % block_rows)))


def _bias(node: ir.Node, rows: int) -> F64 | None:
    """A layer's bias, one number a row; None if it is not like that."""
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        return np.zeros(rows)
    array = constant(given)
    if array is None or array.size not in (1, rows) or array.size != math.prod(array.shape[-1:]):
        return None
    return np.broadcast_to(array.reshape(-1), rows).astype(np.float64)


def corrected(layer: Layer, now: Moments) -> Layer:
    """The weights that come nearest to the layer's old output from its new input."""
    assert now.cross is not None and now.other_mean is not None
    gram = now.gram - np.outer(now.mean, now.mean)
    cross = now.cross - np.outer(now.other_mean, now.mean)
    ridge = RIDGE * max(float(np.mean(np.diag(gram))), 1e-12)
    weights = layer.matrix.astype(np.float64)
    right = weights @ cross + ridge * weights
    solved = np.linalg.solve(gram + ridge * np.eye(gram.shape[0]), right.T).T
    return Layer(layer.name, solved.astype(np.float32), gram, now.mean)


def _quick_error(layer: Layer, block_rows: int, density: float) -> float:
    """The output error of keeping the best blocks by the method that costs least to ask."""
    method = METHODS["magnitude" if layer.gram is None else "wanda"]
    goal = Goal(block_rows, most_blocks(layer.rows, layer.cols, block_rows, density=density))
    return output_error(layer, method.prune(layer, goal, seed=0))


def output_error(layer: Layer, matrix: F32) -> float:
    """E|(W - V) x|^2 / E|W x|^2 on calibration data; |W - V|^2 / |W|^2 without."""
    gap = layer.matrix.astype(np.float64) - matrix
    whole = layer.matrix.astype(np.float64)
    if layer.gram is None:
        return float((gap**2).sum() / max((whole**2).sum(), 1e-30))
    power = float(np.einsum("ij,ij->", whole @ layer.gram, whole))
    return float(np.einsum("ij,ij->", gap @ layer.gram, gap)) / max(power, 1e-30)


def _size(node: ir.Node) -> Size:
    rows, cols = matrix_of(node).shape
    array = constant(node.inputs[1])
    assert array is not None
    taps = array.shape[2:] if node.op_type == "Conv" else ()
    out = dims(node.outputs[0])
    positions = math.prod(out[2:]) if node.op_type == "Conv" else math.prod(out[1:-1])
    kernel = (taps[0], taps[1]) if len(taps) == 2 else (1, taps[0] if taps else 1)
    return Size(node.name or "", rows, cols, kernel, positions)


def describe(node: ir.Node, pattern: Pattern, layer: Layer, matrix: F32) -> PrunedLayer:
    """What ``node`` became: ``layer`` as it was, its weights ``matrix`` now."""
    blocks = np.logical_or.reduceat(
        matrix != 0, np.arange(0, matrix.shape[0], pattern.block_rows), axis=0
    )
    error = output_error(layer, matrix) if layer.gram is not None else None
    return PrunedLayer(
        name=layer.name,
        rows=layer.rows,
        cols=layer.cols,
        positions=_size(node).positions,
        pattern=str(pattern),
        sparsity=float(np.mean(matrix == 0)),
        blocks=int(blocks.sum()),
        of=int(blocks.size),
        error=error,
    )


def _check(
    model: ir.Model, nodes: Mapping[str, ir.Node], options: PruneOptions, data: Data | None
) -> None:
    """Everything that is wrong with what was asked, at once."""
    problems = []
    if not 0 <= options.sparsity < 1:
        problems.append(f"sparsity {options.sparsity} is not in [0, 1)")
    if options.method not in METHODS:
        problems.append(f'no method "{options.method}": {", ".join(METHODS)}')
    unknown = [name for name in options.refine if name not in REFINEMENTS]
    problems += [f'no refinement "{name}": {", ".join(REFINEMENTS)}' for name in unknown]
    if options.budget not in budgets.BUDGETS:
        problems.append(f'no budget "{options.budget}": {", ".join(budgets.BUDGETS)}')
    if options.unit not in (*UNITS, TIME):
        problems.append(f'no unit "{options.unit}": {", ".join((*UNITS, TIME))}')
    if options.pattern is None and options.unit != TIME:
        problems.append("an automatic pattern needs the unit time: anything else favours 1x1")
    for name, override in options.overrides.items():
        if name not in nodes:
            problems.append(f'no layer "{name}"')
        if override.sparsity is not None and not 0 <= override.sparsity < 1:
            problems.append(f'layer "{name}": sparsity {override.sparsity} is not in [0, 1)')
    problems += [f"{p} needs calibration data" for p in _without_data(options, data)]
    problems += [
        f'layer "{name}": weights that are not finite'
        for name, node in nodes.items()
        if not np.isfinite(matrix_of(node)).all()
    ]
    if not nodes:
        problems.append("it has no layer that can be pruned")
    if problems:
        hint = f"filigree inspect {source_of(model)} --layers" if nodes else None
        raise UsageError(f"{source_of(model)} cannot be pruned like that", problems, hint=hint)


def _without_data(options: PruneOptions, data: Data | None) -> Iterator[str]:
    if data is not None:
        return
    if options.method in METHODS and METHODS[options.method].needs_gram:
        yield f"method {options.method}"
    for name in options.refine:
        if name in REFINEMENTS and REFINEMENTS[name].needs_gram:
            yield f"refinement {name}"
    if options.reconstruct:
        yield "reconstruction"
    if options.budget == "sensitivity":
        yield "the budget sensitivity"
