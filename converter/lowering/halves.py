"""Activations of float16: which operations compute in it, and the copies where others begin.

An operation computes in float32, and its result is float32, if
1. its weights stay float32 (``sparsity.rounding``), but for SPMV, which takes either;
2. its result, or what it reads of the caller's, comes within MARGIN of float16's largest number on
   the samples; a constant operand that float16 cannot hold, or only as zero, counts as such;
3. it is an SPMV or SOFTMAX whose result only the caller and others of these rules read: vectors,
   at a network's end;
4. another one that writes the same tensor does.
All others compute in float16, and so do the tensors between them. Where the two meet a plain COPY
converts, once for all readers; a constant is converted here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter import reference
from filigree.converter.lowering.builder import free_name
from filigree.converter.lowering.program import (
    MapParams,
    Op,
    Place,
    Port,
    Program,
    Tensor,
)
from filigree.native import enums as c

HALF, SINGLE = "float16", "float32"
LARGEST = float(np.finfo(np.float16).max)
MARGIN = 4  # other inputs than the samples may give larger values
NEEDS_HALVES = frozenset({c.FIL_OP_SPMM, c.FIL_OP_CONV, c.FIL_OP_DWCONV})
ENDS = frozenset({c.FIL_OP_SPMV, c.FIL_OP_SOFTMAX})

Samples = Sequence[Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Narrowed:
    """The program, and why operations of ``kept`` compute in float32: node and reason."""

    program: Program
    kept: dict[str, str]


def narrow(program: Program, samples: Samples) -> Narrowed:
    """The packed ``program`` with activations of float16; ``samples``: inputs to run it on."""
    peaks = _peaks(program, samples)
    reasons = [_reason(program, op, peaks) for op in program.ops]
    kept = {op.node: why for op, why in zip(program.ops, reasons, strict=True) if why}
    wide = _spread(program, [bool(why) for why in reasons])
    return Narrowed(_Rewrite(program, wide).program(), kept)


def is_narrow(program: Program) -> bool:
    """Something of ``program`` computes in float16."""
    return any(tensor.dtype == HALF for tensor in program.tensors.values())


def widened(program: Program) -> Program:
    """``program`` with all tensors float32: what its copies convert is of one type."""
    tensors = {n: dataclasses.replace(t, dtype=SINGLE) for n, t in program.tensors.items()}
    return dataclasses.replace(program, tensors=tensors, plan=None)


def _peaks(program: Program, samples: Samples) -> dict[str, float]:
    """The largest magnitude in each tensor over all samples."""
    ports = tuple(Port(name, name, t.shape) for name, t in program.tensors.items())
    every = dataclasses.replace(program, outputs=ports)
    peaks = dict.fromkeys(program.tensors, 0.0)
    for inputs in samples:
        for port, values in zip(ports, reference.run(every, *inputs), strict=True):
            most = float(np.nanmax(np.abs(values), initial=0))
            peaks[port.name] = max(peaks[port.name], most)
    return peaks


def _reason(program: Program, op: Op, peaks: dict[str, float]) -> str:
    """Why ``op`` cannot compute in float16; empty: it can."""
    packing = program.weights[op.weights].packing if op.weights is not None else None
    if op.kind in NEEDS_HALVES and packing is not None and packing.values.dtype != np.float16:
        return "its weights stay float32"
    if op.converts and program.tensors[op.output].place is Place.OUTPUT:
        return ""
    for name in (*(() if op.converts else op.inputs), op.output):
        tensor = program.tensors[name]
        if tensor.data is not None and _is_lost(tensor.data):
            return f'float16 cannot hold "{name}"'
        if (name == op.output or tensor.place is Place.INPUT) and not _holds(peaks[name]):
            return f'"{name}" reaches {peaks[name]:.3g}, float16 {LARGEST:g}'
    return ""


def _holds(peak: float) -> bool:
    return peak * MARGIN <= LARGEST


def _is_lost(data: NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore"):
        halves = data.astype(np.float16)
    return bool(np.isinf(halves).any() or ((halves == 0) & (data != 0)).any())


def _spread(program: Program, wide: list[bool]) -> list[bool]:
    """``wide`` by rules 3 and 4."""
    while True:
        ends = [w or _is_end(program, i, wide) for i, w in enumerate(wide)]
        mixed = {op.output for op, w in zip(program.ops, ends, strict=True) if w}
        found = [
            w or (op.output in mixed and not op.converts)
            for op, w in zip(program.ops, ends, strict=True)
        ]
        if found == wide:
            return found
        wide = found


def _is_end(program: Program, i: int, wide: list[bool]) -> bool:
    op = program.ops[i]
    if op.kind not in ENDS:
        return False
    readers = [k for k, other in enumerate(program.ops) if op.output in other.inputs]
    is_port = program.tensors[op.output].place is Place.OUTPUT
    return (is_port or bool(readers)) and all(wide[k] for k in readers)


@dataclass
class _Rewrite:
    """Operations one by one; ``lies``: the tensor that has a value now, where it is another."""

    given: Program
    wide: list[bool]
    tensors: dict[str, Tensor] = field(init=False)
    ops: list[Op] = field(default_factory=list)
    copies: dict[tuple[str, str], str] = field(default_factory=dict)
    lies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tensors = dict(self.given.tensors)
        for name, tensor in self.given.tensors.items():
            if tensor.place is Place.ARENA and not self._is_single(name):
                self.tensors[name] = dataclasses.replace(tensor, dtype=HALF)
            if tensor.place is Place.OUTPUT and not self._is_single(name):
                self.lies[name] = self._like(tensor, HALF)

    def program(self) -> Program:
        last = {op.output: i for i, op in enumerate(self.given.ops)}
        for i, op in enumerate(self.given.ops):
            self._add(op)
            if op.output in self.lies and last[op.output] == i:
                self._convert(self.lies[op.output], op.output)
        used = {name for op in self.ops for name in (*op.inputs, op.output)}
        used |= {port.tensor for port in (*self.given.inputs, *self.given.outputs)}
        tensors = {name: t for name, t in self.tensors.items() if name in used}
        return dataclasses.replace(self.given, ops=tuple(self.ops), tensors=tensors)

    def _is_single(self, name: str) -> bool:
        """It is float32: one of its writers computes in that, or it is a port that is copied to."""
        pairs = zip(self.given.ops, self.wide, strict=True)
        writers = [(op, w) for op, w in pairs if op.output == name]
        is_port = self.given.tensors[name].place is Place.OUTPUT
        return any(w for _, w in writers) or (is_port and all(op.converts for op, _ in writers))

    def _add(self, op: Op) -> None:
        output = self.lies.get(op.output, op.output)
        dtype = self.tensors[output].dtype
        if op.converts:
            inputs = tuple(self.lies.get(name, name) for name in op.inputs)
        else:
            inputs = tuple(self._as(self.lies.get(n, n), dtype) for n in op.inputs)
        self.ops.append(dataclasses.replace(op, inputs=inputs, output=output))
        for key in [key for key in self.copies if key[0] == output]:
            del self.copies[key]

    def _as(self, name: str, dtype: str) -> str:
        """The tensor ``name``, or one of that type with its values."""
        tensor = self.tensors[name]
        if tensor.dtype == dtype:
            return name
        key = (name, dtype)
        if key not in self.copies:
            self.copies[key] = self._like(tensor, dtype)
            if tensor.data is None:
                self._convert(name, self.copies[key])
        return self.copies[key]

    def _like(self, tensor: Tensor, dtype: str) -> str:
        """A new tensor where every element lies as in ``tensor``, a constant if that is one."""
        name = free_name(f"{tensor.name}.{dtype}", self.tensors)
        made = dataclasses.replace(tensor, name=name, dtype=dtype)
        if tensor.data is not None:
            made = dataclasses.replace(made, data=tensor.data.astype(dtype).astype(np.float32))
        else:
            made = _in_arena(made, self.given.lanes)
        self.tensors[name] = made
        return name

    def _convert(self, source: str, target: str) -> None:
        a, b = self.tensors[source], self.tensors[target]
        planes = a if a.place is Place.ARENA and b.place is not Place.ARENA else b
        whole = a if a.planes > 1 and a.pitch == b.pitch else planes
        steps = (0, 0, whole.pitch if whole.planes > 1 else 0, 1)
        dim = (1, 1, whole.planes, whole.positions)
        params = MapParams(dim, steps, (0, 0, 0, 0), steps)
        self.ops.append(Op(c.FIL_OP_MAP, source, (source,), target, params))


def _in_arena(tensor: Tensor, lanes: int) -> Tensor:
    """The same elements at the same places, in a tensor of the arena."""
    pitch, split = tensor.pitch, tensor.split
    if tensor.planes > 1 and pitch % lanes:
        pitch, split = tensor.planes * pitch, 0
    pitch = math.ceil(pitch / lanes) * lanes
    return dataclasses.replace(tensor, place=Place.ARENA, pitch=pitch, split=split)
