"""What is legal between the stages of the pipeline, written down and checked.

1. Every name resolves: ops to tensors and weights, ports to tensors; ports and places agree and no
   tensor is behind two ports.
2. Every op has the parameters of its kind, and weights exactly where its kind takes them.
3. Every tensor is well formed: rank, split, pitch, arena pitch a multiple of the lanes; constants
   have data of their shape; ports are no float16; weights are two-dimensional with a bias per row.
   All tensors of an op have one element type, but for a plain COPY, which converts, and PIXELS,
   which reads bytes; int8 has kinds of ops of its own.
4. Definition before use: nothing reads an arena or output tensor before an op has written it; every
   arena tensor and every output is written.
5. *packed*: every weights has a packing of float32, float16, int8 or int4 whose sizes agree with
   each other; kinds of ops with weights of int4 have those, and no others have.
6. *planned*: every arena tensor and scratch lies in the arena, 64-byte aligned, and no two that are
   alive at once share bytes, but for an element-wise MAP in place; what operations of a band read
   of each other is there in every step.

The C loader proves the rest (every access of every kernel) on the encoded bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filigree.converter import structs
from filigree.converter.lowering import bands
from filigree.converter.lowering import plan as planner
from filigree.converter.lowering.program import (
    FLOAT_KINDS,
    INT4,
    INT4_KINDS,
    INT8_KINDS,
    Op,
    Packing,
    Place,
    Plan,
    Program,
    Tensor,
    Weights,
)
from filigree.converter.sparsity.four_bits import stored_sizes
from filigree.converter.sparsity.pattern import in_quads
from filigree.native import enums as c

PORTS = (Place.INPUT, Place.OUTPUT)
FLOATS = ("float32", "float16")
INTEGERS = ("int8", "uint8")
TYPES = {
    Place.INPUT: ("float32", *INTEGERS),
    Place.OUTPUT: ("float32", *INTEGERS),
    Place.ARENA: (*FLOATS, "int8"),
    Place.CONST: (*FLOATS, "int8"),
}
STAGES = ("lowered", "packed", "planned")
_LAYERS = (c.FIL_OP_SPMM, c.FIL_OP_CONV, c.FIL_OP_DWCONV, c.FIL_OP_SPMV)
WEIGHTED = frozenset([*_LAYERS, *(INT8_KINDS[kind] for kind in _LAYERS), *INT4_KINDS.values()])


@dataclass
class IllegalProgram(AssertionError):
    """A stage of the converter left a program that is not legal: a bug in filigree."""

    stage: str
    violations: list[str]

    def __str__(self) -> str:
        return f"illegal {self.stage} program:" + "".join(f"\n  {v}" for v in self.violations)


def check(program: Program, stage: str) -> None:
    """Raise IllegalProgram with every violation of what ``stage`` promises."""
    depth = STAGES.index(stage)
    found = [*_names(program)]
    if not found:  # the rest follows names
        found = [*_ports(program), *_tensors(program), *_ops(program), *_order(program)]
        found += _weights(program)
    if not found and depth >= 1:
        found += _packings(program)
    if not found and depth >= 2:
        found += _plan(program)
    if found:
        raise IllegalProgram(stage, found)


def _names(program: Program) -> Iterator[str]:
    for i, op in enumerate(program.ops):
        for name in (*op.inputs, op.output):
            if name not in program.tensors:
                yield f'{_op_name(i, op)}: no tensor "{name}"'
        if op.weights is not None and op.weights not in program.weights:
            yield f'{_op_name(i, op)}: no weights "{op.weights}"'
    for port in (*program.inputs, *program.outputs):
        if port.tensor not in program.tensors:
            yield f'port "{port.name}": no tensor "{port.tensor}"'


def _ports(program: Program) -> Iterator[str]:
    ports = [(p, Place.INPUT) for p in program.inputs] + [
        (p, Place.OUTPUT) for p in program.outputs
    ]
    behind: set[str] = set()
    for port, place in ports:
        tensor = program.tensors[port.tensor]
        if tensor.place is not place:
            yield f'port "{port.name}": tensor "{port.tensor}" is in {tensor.place.name}'
        if port.tensor in behind:
            yield f'port "{port.name}": tensor "{port.tensor}" is behind another port'
        behind.add(port.tensor)
        if _count(port.shape) != tensor.planes * tensor.positions:
            yield f'port "{port.name}": shape {port.shape}, tensor {tensor.shape}'
    for name, tensor in program.tensors.items():
        if tensor.place in (Place.INPUT, Place.OUTPUT) and name not in behind:
            yield f'tensor "{name}" is in {tensor.place.name} but behind no port'


def _tensors(program: Program) -> Iterator[str]:
    for name, t in program.tensors.items():
        problem = _tensor_problem(t, program.lanes)
        if t.name != name:
            problem = f'is named "{t.name}"'
        if problem:
            yield f'tensor "{name}" {problem}'


def _tensor_problem(t: Tensor, lanes: int) -> str | None:
    if len(t.shape) > c.FIL_MAX_RANK or not 0 <= t.split <= len(t.shape):
        return f"has shape {t.shape}, split {t.split}"
    if any(not 1 <= dim <= c.FIL_MAX_DIM for dim in t.shape):
        return f"has shape {t.shape}: a dimension is 0 or over {c.FIL_MAX_DIM}"
    if t.pitch < t.positions or t.planes * t.pitch > c.FIL_MAX_ELEMENTS:
        return f"has pitch {t.pitch} for {t.planes} planes of {t.positions} positions"
    if t.place is Place.ARENA and t.pitch % lanes:
        return f"has pitch {t.pitch}, not a multiple of {lanes}"
    if t.dtype not in TYPES[t.place]:
        return f"is {t.dtype}"
    if (t.quant is not None) != (t.dtype in INTEGERS):
        return f"is {t.dtype} with {t.quant}"
    if t.place in PORTS and t.planes > 1 and t.pitch != t.positions:
        return f"is the caller's but has pitch {t.pitch} for {t.positions} positions"
    if (t.data is not None) != (t.place is Place.CONST):
        return "has data outside CONST" if t.data is not None else "is constant without data"
    if t.data is not None and t.data.shape != t.shape:
        return f"has shape {t.shape}, its data {t.data.shape}"
    return None


def _ops(program: Program) -> Iterator[str]:
    for i, op in enumerate(program.ops):
        cls = structs.PARAMS.get(op.kind)
        if cls is None or type(op.params) is not cls:
            yield f"{_op_name(i, op)}: kind {op.kind} with {type(op.params).__name__}"
        if len(op.inputs) > 2:
            yield f"{_op_name(i, op)}: {len(op.inputs)} inputs"
        if (op.weights is not None) != (op.kind in WEIGHTED):
            yield f"{_op_name(i, op)}: kind {op.kind} with weights {op.weights}"
        if program.tensors[op.output].place not in (Place.ARENA, Place.OUTPUT):
            yield f'{_op_name(i, op)}: writes "{op.output}", which is not writable'
        if min(op.x_offset, op.y_offset, op.out_offset) < 0:
            yield f"{_op_name(i, op)}: negative offset"
        types = {program.tensors[name].dtype for name in (*op.inputs, op.output)}
        if op.kind in FLOAT_KINDS:
            yield from _int8(program, i, op)
        elif len(types) > 1 and not _may_convert(program, op, types):
            yield f"{_op_name(i, op)}: {' and '.join(sorted(types))} at once"
        elif types <= set(INTEGERS):
            yield f"{_op_name(i, op)}: {' and '.join(sorted(types))}"


def _may_convert(program: Program, op: Op, types: set[str]) -> bool:
    """A plain COPY between floats; PIXELS, bytes or float32 to floats."""
    if op.kind == c.FIL_OP_PIXELS:
        return {program.tensors[name].dtype for name in op.inputs} <= {"uint8", "float32"}
    return op.is_plain_copy and types <= set(FLOATS)


def _int8(program: Program, i: int, op: Op) -> Iterator[str]:
    """What a kind on int8 reads, writes and may do last."""
    types = [program.tensors[name].dtype for name in (*op.inputs, op.output)]
    wanted = ["int8"] * len(types)
    if op.kind == c.FIL_OP_QMAP and op.fn == c.FIL_QMAP_QUANTIZE:
        wanted[0] = "float32"
    elif op.kind == c.FIL_OP_QMAP and op.fn == c.FIL_QMAP_DEQUANTIZE:
        wanted[-1] = "float32"
    elif op.kind == c.FIL_OP_QMAP and op.fn == c.FIL_QMAP_FLIP:
        types, wanted = sorted(types), ["int8", "uint8"]
    elif op.kind == c.FIL_OP_QSOFTMAX:
        wanted[1] = "float32"
    if types != wanted:
        yield f"{_op_name(i, op)}: {' and '.join(types)}"
    if op.act.kind not in (c.FIL_ACT_NONE, c.FIL_ACT_CLAMP):
        yield f"{_op_name(i, op)}: activation {op.act.kind} on int8"
    if op.weights is not None and program.weights[op.weights].multipliers is None:
        yield f'{_op_name(i, op)}: weights "{op.weights}" are not int8'


def _order(program: Program) -> Iterator[str]:
    written = {n for n, t in program.tensors.items() if t.place in (Place.INPUT, Place.CONST)}
    for i, op in enumerate(program.ops):
        for name in op.inputs:
            if name not in written:
                yield f'{_op_name(i, op)}: reads "{name}" before it is written'
        written.add(op.output)
    for name in program.tensors:
        if name not in written:
            yield f'tensor "{name}" is never written'


def _weights(program: Program) -> Iterator[str]:
    for name, w in program.weights.items():
        if w.matrix.ndim != 2 or 0 in w.matrix.shape or w.bias.shape != w.matrix.shape[:1]:
            yield f'weights "{name}": matrix {w.matrix.shape}, bias {w.bias.shape}'
        elif w.cols > c.FIL_MAX_COLS or w.rows > c.FIL_MAX_DIM:
            yield f'weights "{name}": {w.rows} x {w.cols} is over the format\'s limit'
        integers = w.multipliers is not None
        if w.matrix.dtype != "float32" or w.bias.dtype != ("int32" if integers else "float32"):
            yield f'weights "{name}": {w.matrix.dtype} matrix, {w.bias.dtype} bias'
    for name in sorted(program.weights.keys() - {op.weights for op in program.ops}):
        yield f'weights "{name}" are used by no op'


def _packings(program: Program) -> Iterator[str]:
    for op in program.ops:
        packing = program.weights[op.weights].packing if op.weights is not None else None
        if packing and (packing.dtype == INT4) != (op.kind in INT4_KINDS.values()):
            yield f'node "{op.node}": op of kind {op.kind} with weights of {packing.dtype}'
    for name, w in program.weights.items():
        if w.packing is None:
            yield f'weights "{name}" are not packed'
        elif not _sizes_agree(w, w.packing):
            yield f'weights "{name}": the packing\'s sizes disagree'


def _sizes_agree(w: Weights, p: Packing) -> bool:
    groups = -(-w.rows // p.block_rows)
    if p.dtype not in (*FLOATS, "int8", INT4) or p.bias.size != groups * p.block_rows:
        return False
    stored = p.blocks if w.multipliers is None else in_quads(p.blocks, groups, p.counts)
    if p.scales is not None:
        if (p.values.size, p.scales.size) != stored_sizes(p, groups):
            return False
    elif p.values.size != stored * p.block_rows:
        return False
    if p.index is None or p.counts is None:
        return p.coding == c.FIL_CODING_NONE and p.blocks == groups * w.cols
    sizes_ok = p.index.size == p.blocks and p.counts.size == groups
    return sizes_ok and int(p.counts.sum(dtype="int64")) == p.blocks


def _plan(program: Program) -> Iterator[str]:
    if program.plan is None:
        yield "the program has no memory plan"
        return
    plan = program.plan
    arena = {n for n, t in program.tensors.items() if t.place is Place.ARENA}
    if plan.offsets.keys() != arena or plan.lifetimes.keys() != arena:
        yield "the plan does not list exactly the arena tensors"
        return
    if len(plan.scratch) != len(program.ops) or plan.lifetimes != planner.lifetimes(program):
        yield "the plan's lifetimes or scratch are not the program's"
        return
    yield from bands.faults(program)
    yield from _bounds(program, plan)
    for a, b in planner.clashes(program):
        yield f'"{a}" and "{b}" share bytes while both are alive'


def _bounds(program: Program, plan: Plan) -> Iterator[str]:
    spans = [(name, at, program.tensors[name].nbytes) for name, at in plan.offsets.items()]
    spans += [(f"scratch of op {i}", at, size) for i, (at, size) in enumerate(plan.scratch)]
    for name, at, size in spans:
        if at % c.FIL_ALIGN or at < 0 or at + size > plan.arena_bytes:
            yield f'"{name}" lies at {at}, {size} bytes, in an arena of {plan.arena_bytes}'


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for dim in shape:
        total *= dim
    return total


def _op_name(i: int, op: Op) -> str:
    return f'op {i} ("{op.node}")'
