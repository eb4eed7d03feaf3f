"""Fusion: what one operation can do for the next, it does.

A MAP that reads all of a tensor which nothing else reads can go if the operations that write the
tensor can do its work:
1. activation: a COPY with an activation becomes the writers' activation;
2. residual: an ADD to a convolution's or fully connected layer's result becomes its residual, if
   the other operand is ready before the layer runs;
3. redirection: a plain COPY into part of another tensor (concatenation) or into the caller's buffer
   goes if the writers can write there: whole planes, or kinds that write no padding. Nothing may
   fill the target between the writers and the COPY.
4. affine: a product with, quotient by, or sum with constants that are the same all over a plane
   goes into the PIXELS that made it.
Applied until nothing changes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from filigree.converter.lowering.builder import free_name
from filigree.converter.lowering.program import (
    INT8_KINDS,
    Activation,
    MapParams,
    Op,
    Place,
    Program,
    Tensor,
)
from filigree.native import enums as c

F64 = NDArray[np.float64]
LAYERS = frozenset({c.FIL_OP_SPMM, c.FIL_OP_CONV, c.FIL_OP_DWCONV, c.FIL_OP_SPMV})
NO_ACTIVATION = frozenset({c.FIL_OP_SOFTMAX, c.FIL_OP_QSOFTMAX, c.FIL_OP_PIXELS})
MAPS = frozenset({c.FIL_OP_MAP, c.FIL_OP_QMAP})
LOOKUPS = frozenset({c.FIL_QMAP_FLIP, c.FIL_QMAP_DEQUANTIZE, c.FIL_QMAP_TABLE})
_EXACT = (c.FIL_OP_MAP, c.FIL_OP_REDUCE, c.FIL_OP_SOFTMAX, c.FIL_OP_SPMV)
EXACT = frozenset({*_EXACT, *(INT8_KINDS[kind] for kind in _EXACT), c.FIL_OP_MATMUL})
"""Kinds that touch just the elements they are told to, so that a buffer needs no padding."""

_AFFINES: dict[int, Callable[[F64, F64], F64]] = {
    c.FIL_MAP_ADD: np.add,
    c.FIL_MAP_SUB: np.subtract,
    c.FIL_MAP_MUL: np.multiply,
    c.FIL_MAP_DIV: np.divide,
}


def fuse(program: Program) -> Program:
    """``program`` with fewer operations, computing the same."""
    state = _State(program)
    changed = True
    while changed:
        changed = sum(state.step(i) for i in range(len(state.ops))) > 0
    return state.program()


class _State:
    """Operations under change; a removed one is None, so that indices stay."""

    def __init__(self, program: Program) -> None:
        self._given = program
        self.tensors = dict(program.tensors)
        self.ops: list[Op | None] = list(program.ops)
        self.readers: Counter[str] = Counter(n for op in program.ops for n in op.inputs)
        self.writers: dict[str, list[int]] = {}
        for i, op in enumerate(program.ops):
            self.writers.setdefault(op.output, []).append(i)

    def program(self) -> Program:
        ops = tuple(op for op in self.ops if op is not None)
        given = self._given
        used = {n for op in ops for n in (*op.inputs, op.output)}
        used |= {port.tensor for port in (*given.inputs, *given.outputs)}
        tensors = {n: t for n, t in self.tensors.items() if n in used}
        return replace(given, ops=ops, tensors=tensors)

    def step(self, i: int) -> bool:
        """Try every rule on operation ``i``; True if it is gone."""
        op = self.ops[i]
        if op is None or op.kind not in MAPS:
            return False
        if self._affine(i, op, 0) or self._affine(i, op, 1):
            return True
        if op.kind == c.FIL_OP_MAP and op.fn == c.FIL_MAP_ADD:
            return self._residual(i, op, 0) or self._residual(i, op, 1)
        if not _is_copy(op):
            return False
        if op.act.kind != c.FIL_ACT_NONE:
            return self._activation(i, op)
        return self._redirection(i, op)

    # --- the rules ---

    def _activation(self, i: int, op: Op) -> bool:
        source = op.inputs[0]
        if not self._is_whole(op, 0, alone=True) or not self._same_layout(op, 0):
            return False
        if any(self._op(w).kind in NO_ACTIVATION for w in self.writers[source]):
            return False
        if any(_is_lookup(self._op(w)) for w in self.writers[source]):
            return False
        if any(self._op(w).act.kind != c.FIL_ACT_NONE for w in self.writers[source]):
            return False
        if any(_is_fill(self._op(w)) for w in self.writers[source]):
            return False
        self._take_over(i, op, source, act=op.act)
        return True

    def _residual(self, i: int, op: Op, slot: int) -> bool:
        """Input ``slot`` is the layer's result, the other one what is added to it."""
        source, other = op.inputs[slot], op.inputs[1 - slot]
        if source == other or not self._is_whole(op, slot, alone=True):
            return False
        if not self._same_layout(op, 0) or not self._same_layout(op, 1):
            return False
        tensor, shift = self.tensors[other], (op.y_offset, op.x_offset)[slot]
        if tensor.place is not Place.ARENA or tensor.pitch != self.tensors[source].pitch:
            return False
        writers = [self._op(w) for w in self.writers[source]]
        if any(w.kind not in LAYERS or len(w.inputs) != 1 for w in writers):
            return False
        if any(w.act.kind != c.FIL_ACT_NONE for w in writers):
            return False
        if max(self.writers[other]) > min(self.writers[source]):
            return False
        for w in self.writers[source]:
            layer = self._op(w)
            self.ops[w] = replace(
                layer, inputs=(*layer.inputs, other), y_offset=shift + layer.out_offset
            )
        self.readers[other] += len(writers)
        self._take_over(i, op, source, act=op.act)
        return True

    def _redirection(self, i: int, op: Op) -> bool:
        source, target = (self.tensors[n] for n in (op.inputs[0], op.output))
        if source.name == target.name or not self._is_whole(op, 0, alone=True):
            return False
        if not self._walks_alike(op, 0):
            return False
        if not self._fits(op, source, target) or self._is_filled_late(source, target):
            return False
        self._take_over(i, op, source.name, shift=op.out_offset)
        return True

    def _affine(self, i: int, op: Op, slot: int) -> bool:
        """Operand ``slot`` is the pixels, the other one the constants."""
        if op.kind != c.FIL_OP_MAP or op.fn not in _AFFINES or op.act.kind != c.FIL_ACT_NONE:
            return False
        source, other = op.inputs[slot], self.tensors[op.inputs[1 - slot]]
        if other.place is not Place.CONST or not self._is_whole(op, slot, alone=True):
            return False
        if not self._same_layout(op, slot):
            return False
        if any(self._op(w).kind != c.FIL_OP_PIXELS for w in self.writers[source]):
            return False
        factors = self._by_plane(op, slot, other)
        if factors is None or (op.fn == c.FIL_MAP_DIV and (slot == 1 or not factors.all())):
            return False
        for w in self.writers[source]:
            writer = self._op(w)
            first = writer.out_offset // self.tensors[source].pitch
            name = self._scaled(writer, _AFFINES[op.fn], factors[first:], slot)
            self.ops[w] = replace(writer, inputs=(writer.inputs[0], name))
        self._take_over(i, op, source)
        return True

    def _scaled(self, pixels: Op, rule: Callable[[F64, F64], F64], factors: F64, slot: int) -> str:
        """A new constant for ``pixels``: scale and shift as they were, then ``rule``."""
        old = self.tensors[pixels.inputs[1]]
        assert old.data is not None
        scale, shift = old.data.astype(np.float64).reshape(2, -1)
        by = factors[: scale.size]
        # affine functions: told by what they make of shift and of shift + scale
        ends = [rule(x, by) if slot == 0 else rule(by, x) for x in (shift, shift + scale)]
        data = np.concatenate([ends[1] - ends[0], ends[0]]).astype(np.float32)
        name = free_name(old.name, self.tensors)
        self.tensors[name] = replace(old, name=name, data=data)
        return name

    # --- what they ask ---

    def _by_plane(self, op: Op, slot: int, constants: Tensor) -> F64 | None:
        """The constants as one value per plane of the result; None if they vary in one."""
        p, target = op.params, self.tensors[op.output]
        assert isinstance(p, MapParams) and constants.data is not None
        steps, offset = ((p.sb, op.y_offset), (p.sa, op.x_offset))[slot]
        index = np.indices(p.dim)
        at = offset + sum(i * s for i, s in zip(index, steps, strict=True))
        plane = sum(i * s for i, s in zip(index, p.so, strict=True)) // target.pitch
        values = constants.data.reshape(-1).astype(np.float64)[at]
        found = np.zeros(target.planes)
        found[plane] = values
        return found if np.array_equal(found[plane], values) else None

    def _op(self, i: int) -> Op:
        op = self.ops[i]
        assert op is not None  # writers and readers are alive
        return op

    def _is_whole(self, op: Op, slot: int, *, alone: bool) -> bool:
        """Operand ``slot`` is all of an arena tensor, each element once; ``alone``: nothing else
        reads it."""
        tensor = self.tensors[op.inputs[slot]]
        p = op.params
        assert isinstance(p, MapParams)
        strides, offset = (p.sa, p.sb)[slot], (op.x_offset, op.y_offset)[slot]
        if tensor.place is not Place.ARENA or offset or (alone and self.readers[tensor.name] != 1):
            return False
        if math.prod(p.dim) != tensor.planes * tensor.positions:
            return False
        return all(s > 0 for n, s in zip(p.dim, strides, strict=True) if n > 1)

    def _walks_alike(self, op: Op, slot: int) -> bool:
        p = op.params
        assert isinstance(p, MapParams)
        walked = zip(p.dim, (p.sa, p.sb)[slot], p.so, strict=True)
        return all(n == 1 or a == b for n, a, b in walked)

    def _same_layout(self, op: Op, slot: int) -> bool:
        """The result is a whole arena tensor laid out as operand ``slot`` is."""
        source, target = self.tensors[op.inputs[slot]], self.tensors[op.output]
        return (
            target.place is Place.ARENA
            and op.out_offset == 0
            and self._walks_alike(op, slot)
            and len(self.writers[target.name]) == 1
            and (source.pitch, source.planes) == (target.pitch, target.planes)
        )

    def _fits(self, op: Op, source: Tensor, target: Tensor) -> bool:
        """What the writers of ``source`` write, padding included, lies in ``target`` as it did,
        over nothing that others write."""
        is_exact = all(self._op(w).kind in EXACT for w in self.writers[source.name])
        if source.planes == 1 and is_exact:
            return True
        if target.place is not Place.ARENA or source.pitch != target.pitch:
            return False
        starts_plane = op.out_offset % target.pitch == 0
        return is_exact or (starts_plane and source.positions == target.positions)

    def _is_filled_late(self, source: Tensor, target: Tensor) -> bool:
        """A FILL of ``target`` comes after a writer of ``source``, and would undo its work."""
        first = min(self.writers[source.name])
        late = [w for w in self.writers[target.name] if w > first]
        return any(_is_fill(self._op(w)) for w in late)

    def _take_over(
        self, i: int, op: Op, source: str, *, act: Activation | None = None, shift: int = 0
    ) -> None:
        """The writers of ``source`` write what ``op`` wrote, and ``op`` goes."""
        for w in self.writers[source]:
            writer = self._op(w)
            self.ops[w] = replace(
                writer,
                output=op.output,
                out_offset=writer.out_offset + shift,
                act=act if act is not None else writer.act,
            )
        for name in op.inputs:
            self.readers[name] -= 1
        others = [w for w in self.writers[op.output] if w != i]
        self.writers[op.output] = sorted([*others, *self.writers.pop(source)])
        self.ops[i] = None


def _is_copy(op: Op) -> bool:
    return op.fn == (c.FIL_MAP_COPY if op.kind == c.FIL_OP_MAP else c.FIL_QMAP_COPY)


def _is_fill(op: Op) -> bool:
    if op.kind not in MAPS:
        return False
    return op.fn == (c.FIL_MAP_FILL if op.kind == c.FIL_OP_MAP else c.FIL_QMAP_FILL)


def _is_lookup(op: Op) -> bool:
    """It takes no activation."""
    return op.kind == c.FIL_OP_QMAP and op.fn in LOOKUPS
