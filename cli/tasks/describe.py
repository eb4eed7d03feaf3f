"""What ``filigree inspect`` shows: a model or a packed model as parts, each text and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from filigree.cli.console import percent, plural, shape, size

if TYPE_CHECKING:
    import onnx_ir as ir

    from filigree.converter.errors import Unsupported
    from filigree.converter.lowering.program import Port, Program

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Parts:
    """Which parts were asked for; none: the whole picture in short."""

    ops: bool = False
    memory: bool = False
    layers: bool = False
    axes: bool = False
    meta: bool = False

    @property
    def short(self) -> bool:
        return not (self.ops or self.memory or self.layers or self.axes or self.meta)


@dataclass(frozen=True)
class Part:
    """One part: ``lines`` above a table, and the same as ``data`` under ``name`` for JSON."""

    name: str
    data: Any
    lines: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Description:
    """Everything found about one file."""

    file: str
    kind: str
    parts: Sequence[Part]

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file, "kind": self.kind, **{p.name: p.data for p in self.parts}}


def describe(
    path: Path, *, parts: Parts, progress: Report, external_data: bool = False
) -> Description:
    """Describe a file by its content. Raises BadFile if it is neither kind."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"FIL1" or path.suffix == ".fil":
        return _packed(path, parts)
    return _model(path, parts, progress, external_data=external_data)


def _packed(path: Path, parts: Parts) -> Description:
    from filigree.cli.tasks.packed import isa_here, open_program
    from filigree.converter.errors import UsageError

    data = path.read_bytes()
    isa = isa_here(path)
    if parts.axes:
        raise UsageError(
            f"{path.name} is a packed model; channel axes are those of the model it was made from",
            hint="filigree inspect MODEL.onnx --axes",
        )
    program = open_program(path)
    found: list[Part] = []
    if parts.short:
        found.append(_header(path, data, isa))
        found.append(_sections(data))
        found.append(_ports(program.inputs, program.outputs))
    if parts.short or parts.layers:
        found.append(_packed_layers(program))
    if parts.ops:
        found.append(_packed_ops(program))
    if parts.memory:
        found += [_peak(program), _timeline(program)]
    elif parts.short:
        found.append(_peak(program))
    if parts.meta:
        found.append(_meta(program))
    return Description(path.name, "packed model", found)


def _header(path: Path, data: bytes, isa: str | None) -> Part:
    from filigree.cli.tasks.filefacts import header

    head = header(data)
    lines = [
        f"{path.name}: packed model, format version {head.version}, {len(data):,} bytes",
        f"planes padded to {head.lanes} values; "
        + (f"runs here with {isa}" if isa else "activations in float16, which do not run here"),
    ]
    return Part("header", {**asdict(head), "isa": isa}, lines)


def _sections(data: bytes) -> Part:
    from filigree.cli.tasks.filefacts import sections

    found = sections(data)
    rows = [(s.name, str(s.offset), f"{s.size:,}", f"{s.crc:08x}") for s in found]
    columns = ("section", "offset", "bytes", "crc-32c")
    return Part("sections", [asdict(s) for s in found], header=columns, rows=rows)


def _ports(inputs: Sequence[Port], outputs: Sequence[Port]) -> Part:
    rows = [("input", p.name, shape(p.shape)) for p in inputs]
    rows += [("output", p.name, shape(p.shape)) for p in outputs]
    data = {
        "inputs": [{"name": p.name, "shape": list(p.shape)} for p in inputs],
        "outputs": [{"name": p.name, "shape": list(p.shape)} for p in outputs],
    }
    return Part("ports", data, header=("port", "name", "shape"), rows=rows)


def _packed_layers(program: Program) -> Part:
    from filigree.cli.tasks.layers import layers, summary, table

    found = layers(program.meta)
    return Part("layers", [asdict(layer) for layer in found], [summary(found)], *table(found))


def _packed_ops(program: Program) -> Part:
    from filigree.cli.tasks.filefacts import op_name

    rows, data = [], []
    for i, op in enumerate(program.ops):
        dims = program.tensors[op.output].shape
        rows.append((str(i), op_name(op.kind), op.node, shape(dims)))
        data.append({"op": i, "kind": op_name(op.kind), "node": op.node, "shape": list(dims)})
    lines = [plural(len(program.ops), "operation")]
    return Part("ops", data, lines, ("op", "kind", "node", "result"), rows)


def _peak(program: Program) -> Part:
    from filigree.cli.tasks.memory import peak

    plan = program.plan
    if plan is None or not program.ops:
        return Part("memory", None, ["the program has no memory plan"])
    step = peak(program)
    over = plan.arena_bytes / max(1, plan.lower_bound) - 1
    data = {
        "arena_bytes": plan.arena_bytes,
        "lower_bound": plan.lower_bound,
        "peak": {"op": step.op, "node": step.node, "live": [asdict(item) for item in step.live]},
    }
    lines = [
        f"arena {size(plan.arena_bytes)} ({plan.arena_bytes:,} bytes), {percent(over)} over the "
        f'largest live set; peak at op {step.op} "{step.node}"'
    ]
    rows = [(item.name, f"{item.bytes:,}") for item in step.live]
    return Part("memory", data, lines, ("live at the peak", "bytes"), rows)


def _timeline(program: Program) -> Part:
    from filigree.cli.tasks.memory import steps

    found = steps(program)
    most = max((step.total for step in found), default=1) or 1
    rows = [
        (str(s.op), s.node, f"{s.total:,}", "#" * max(1, round(40 * s.total / most))) for s in found
    ]
    data = [{"op": s.op, "node": s.node, "live_bytes": s.total} for s in found]
    return Part("timeline", data, header=("op", "node", "live bytes", ""), rows=rows)


def _meta(program: Program) -> Part:
    import json

    text = json.dumps(program.meta, indent=2, sort_keys=True, ensure_ascii=False)
    return Part("meta", program.meta, text.splitlines())


def _model(path: Path, parts: Parts, progress: Report, *, external_data: bool) -> Description:
    from filigree.converter import frontends

    progress("reading", 0.1)
    kind = "tflite" if frontends.is_tflite(path) else "onnx"
    model = frontends.load(path, external_data=external_data)
    found: list[Part] = []
    if parts.short or parts.meta:
        found += [_model_header(path, model, kind), _model_ports(model.graph)]
    tried = _Tried()
    if parts.short or parts.ops or parts.memory:
        progress("trying to lower", 0.5)
        tried = _try_convert(path, external_data=external_data)
    program = tried.program
    if parts.short or parts.ops:
        found.append(_model_ops(model.graph, tried))
    if parts.short or parts.layers:
        found.append(_model_weights(model.graph))
    if parts.axes:
        progress("finding channel axes", 0.7)
        found.append(_axes(path, external_data=external_data))
    if program is not None and (parts.short or parts.memory):
        found.append(_peak(program))
        if parts.memory:
            found.append(_timeline(program))
    elif parts.memory:
        found.append(Part("memory", None, ["no memory plan: the model is not supported"]))
    return Description(path.name, kind, found)


@dataclass(frozen=True)
class _Tried:
    """What came of converting: a program, or what is not supported, or why neither is known."""

    program: Program | None = None
    problems: Sequence[Unsupported] = ()
    open: Sequence[str] = ()


def _try_convert(path: Path, *, external_data: bool) -> _Tried:
    from filigree.converter import ConvertOptions, convert
    from filigree.converter.errors import UnsupportedModel, UsageError

    try:
        options = ConvertOptions(pattern="dense", external_data=external_data)
        return _Tried(convert(path, options=options).program)
    except UnsupportedModel as error:
        return _Tried(problems=error.problems)
    except UsageError as error:  # open shapes: operators are known all the same
        return _Tried(open=[error.headline, *error.lines])


def _model_header(path: Path, model: ir.Model, kind: str) -> Part:
    opsets = dict(model.graph.opset_imports)
    data = {
        "ir_version": model.ir_version,
        "opset": opsets,
        "producer": model.producer_name,
        "bytes": path.stat().st_size,
        "nodes": len(model.graph),
        "weights": len(model.graph.initializers),
    }
    numbers = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in opsets.items())
    what = f"ONNX, opset {numbers}" if kind == "onnx" else "TFLite, shown in ONNX's operators"
    lines = [
        f"{path.name}: {what}, {path.stat().st_size:,} bytes",
        f"{plural(len(model.graph), 'node')}, {plural(len(model.graph.initializers), 'weight')}"
        + (f", made by {model.producer_name}" if model.producer_name else ""),
    ]
    return Part("header", data, lines)


def _model_ports(graph: ir.Graph) -> Part:
    rows, data = [], []
    ports = [("input", v) for v in graph.inputs] + [("output", v) for v in graph.outputs]
    for kind, value in ports:
        dims = [] if value.shape is None else [str(dim) for dim in value.shape]
        known = "x".join(dims) if value.shape is not None else "unknown"
        element = str(value.dtype).lower() if value.dtype is not None else "unknown"
        rows.append((kind, value.name or "", known, element))
        data.append({"port": kind, "name": value.name, "shape": dims, "type": element})
    return Part("ports", data, header=("port", "name", "shape", "type"), rows=rows)


def _model_ops(graph: ir.Graph, tried: _Tried) -> Part:
    from filigree.converter.lowering import supported_ops
    from filigree.converter.passes.supported import full_name

    uses: dict[str, int] = {}
    for node in graph:
        uses[full_name(node)] = uses.get(full_name(node), 0) + 1
    rows, data = [], []
    for op in sorted(uses, key=lambda name: (-uses[name], name)):
        bad = [problem for problem in tried.problems if problem.op == op]
        known = op in supported_ops() or not tried.open
        state = "supported" if known else "only where it is constant"
        if bad:
            state = f'not supported: {bad[0].reason} (node "{bad[0].node}")'
        rows.append((op, str(uses[op]), state))
        data.append(
            {
                "op": op,
                "uses": uses[op],
                "supported": known and not bad,
                "problems": [asdict(problem) for problem in bad],
            }
        )
    return Part("ops", data, tried.open, ("operator", "uses", "state"), rows)


def _axes(path: Path, *, external_data: bool) -> Part:
    from filigree.converter import frontends, passes
    from filigree.converter.sparsity import axes

    model = passes.run(frontends.load(path, external_data=external_data))
    found = axes.find(model)
    rows, data = [], []
    for variable in sorted(found.variables, key=lambda v: (v.pinned is not None, v.through)):
        made = [use.node for use in variable.producers]
        read = [use.node for use in variable.consumers]
        if not made and not read:
            continue  # no weights know it
        state = "free" if variable.pinned is None else f"pinned: {variable.pinned}"
        if variable.pinned is None and not made:
            state = "free, but made by no layer"
        rows.append((variable.name, str(variable.size), ", ".join(made), ", ".join(read), state))
        data.append(
            {
                "variable": variable.name,
                "channels": variable.size,
                "producers": made,
                "consumers": read,
                "values": list(variable.through),
                "pinned": variable.pinned,
            }
        )
    lines = [f"{plural(len(found.free), 'variable')} whose channels may be reordered"]
    columns = ("variable", "channels", "made by", "read by", "state")
    return Part("axes", data, lines, columns, rows)


def _model_weights(graph: ir.Graph) -> Part:
    rows, data = [], []
    total = zeros = 0
    for name, value in graph.initializers.items():
        if value.const_value is None or len(value.const_value.shape) < 2:
            continue
        array = value.const_value.numpy()
        missing = int(array.size - np.count_nonzero(array))
        total, zeros = total + array.size, zeros + missing
        users = ", ".join(dict.fromkeys(node.op_type for node, _ in value.uses()))
        sparsity = missing / max(1, array.size)
        rows.append((name, users, shape(array.shape), str(array.dtype), percent(sparsity)))
        data.append(
            {
                "name": name,
                "used_by": users,
                "shape": list(array.shape),
                "type": str(array.dtype),
                "sparsity": sparsity,
            }
        )
    lines = [
        f"{plural(len(rows), 'weight')} of rank 2 and more, {percent(zeros / max(1, total))} zero"
    ]
    return Part("layers", data, lines, ("weight", "used by", "shape", "type", "sparsity"), rows)
