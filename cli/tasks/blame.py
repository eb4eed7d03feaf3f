"""Find the first operation whose result is wrong, and whose fault it is.

The float64 reference runs the packed program. If it agrees with the original, the runtime is wrong:
its tensors are compared with the reference's, in program order. If it does not, the conversion is
wrong: the reference's tensors are compared with the original's values of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks.compare import TOLERANCE, Blame, Case, relative
from filigree.cli.tasks.filefacts import op_name
from filigree.cli.tasks.litert import values as tflite_values
from filigree.cli.tasks.packed import (
    F32,
    OnnxModel,
    fours,
    halves,
    has_int8,
    open_program,
    whole_int8,
)
from filigree.converter import packfile
from filigree.converter.frontends import is_tflite
from filigree.converter.lowering.bands import unbanded
from filigree.converter.lowering.plan import plan
from filigree.converter.lowering.program import Place, Port, Program
from filigree.converter.quantize.marks import Quant, meant, rounded
from filigree.native.model import Model

ROUNDED = 0.02  # of an inner tensor's range, by float16 weights; what is wrong is off by more
FOUR_BITS = 0.5  # the same of int4 weights, whose errors add up down a network
STEPPED = 0.06  # the same of int8, where a step is 1/255 of what a scale reaches


@dataclass(frozen=True)
class Step:
    """The last op that writes a tensor, and the tensor's value after it."""

    op: int
    value: NDArray[Any]


def first_wrong(
    packed: Path, source: Path, case: Case, *, isa: str | None, allowed: float = TOLERANCE
) -> Blame | None:
    """The first wrong op for the first input, or None if no single op is to blame. ``allowed``:
    between a right conversion and the original, as ``case`` measures it."""
    program = plan(unbanded(open_program(packed)))  # rings do not keep what is to be compared
    inputs, expected = case.inputs[0], case.expected[0]
    steps = _reference_steps(program, inputs)
    outputs = _reference_outputs(program, inputs)
    if max(case.gaps(outputs, expected)) <= allowed:
        model = Model.from_bytes(packfile.encode(program), isa=isa)
        pairs = _runtime_pairs(model, program, steps, inputs)
        most = STEPPED if has_int8(program) and not whole_int8(program) else TOLERANCE
        return _first(program, pairs, side="runtime", most=most)
    pairs = _original_pairs(source, program, steps, inputs)
    return _first(program, pairs, side="conversion", most=_most(program))


def _most(program: Program) -> float:
    """What a right conversion may move an inner tensor by, relative to its range."""
    if has_int8(program):
        return STEPPED
    if fours(program):
        return FOUR_BITS
    return ROUNDED if halves(program) else TOLERANCE


def _first(
    program: Program, pairs: Iterator[tuple[Step, NDArray[Any]]], *, side: str, most: float
) -> Blame | None:
    """``most``: what is right, relative to an inner tensor's range."""
    for step, other in pairs:
        want, got = (step.value, other) if side == "runtime" else (other, step.value)
        gap = relative([got], [want])
        if gap > most:
            op = program.ops[step.op]
            return Blame(step.op, op.node, op_name(op.kind), gap, side)
    return None


def _last_writers(program: Program) -> dict[str, int]:
    return {op.output: i for i, op in enumerate(program.ops)}


def _reference_steps(program: Program, inputs: list[F32]) -> list[Step]:
    """Every tensor's final value in float64, in the order of their last writers."""
    from filigree.converter import reference

    writers = _last_writers(program)
    names = [name for name in writers if program.tensors[name].place is Place.ARENA]
    ports = tuple(Port(name, name, program.tensors[name].shape) for name in names)
    values = reference.run(replace(program, outputs=ports), *inputs)
    steps = [
        Step(writers[name], meant(value, program.tensors[name].quant))
        for name, value in zip(names, values, strict=True)
    ]
    return sorted(steps, key=lambda step: step.op)


def _reference_outputs(program: Program, inputs: list[F32]) -> list[F32]:
    from filigree.converter import reference

    return [np.asarray(value, np.float32) for value in reference.run(program, *inputs)]


def _runtime_pairs(
    model: Model, program: Program, steps: list[Step], inputs: list[F32]
) -> Iterator[tuple[Step, NDArray[Any]]]:
    """Each step with the runtime's tensor, taken right after its op."""
    index = {name: i for i, name in enumerate(program.tensors)}
    wanted = {step.op for step in steps}
    seen = {}

    def keep(op: int) -> None:
        if op in wanted:
            seen[op] = model.tensor(index[program.ops[op].output])

    model.trace(*inputs, after=keep)
    for step in steps:
        yield step, seen[step.op]


def _original_pairs(
    source: Path, program: Program, steps: list[Step], inputs: list[F32]
) -> Iterator[tuple[Step, NDArray[Any]]]:
    """Each step with the original's value of the tensor's name, where sizes allow."""
    tflite = is_tflite(source)
    values = tflite_values(source, inputs) if tflite else _onnx_values(source, inputs)
    for step in steps:
        name = program.ops[step.op].output
        value, quant = values.get(name), program.tensors[name].quant
        if value is not None and value.size == step.value.size:
            yield step, value if quant is None else meant(_integers(value, quant), quant)


def _integers(value: NDArray[Any], quant: Quant) -> NDArray[Any]:
    """The original's value as int8, whether it is a float or has been rounded there."""
    if value.dtype.kind == "f":
        return rounded(value, quant)
    return value.astype(np.int64) - (128 if value.dtype == np.uint8 else 0)


def _onnx_values(source: Path, inputs: list[F32]) -> dict[str, NDArray[Any]]:
    """Every value that a node makes, by name."""
    import onnx

    model = onnx.load(source)
    names = [name for node in model.graph.node for name in node.output if name]
    have = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in have)
    session = OnnxModel(model.SerializeToString(), name=source.name)
    results = session.session.run(names, session.feed(inputs))
    return {name: np.asarray(value) for name, value in zip(names, results, strict=True)}
