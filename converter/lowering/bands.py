"""Bands: convolutions that follow each other run together, some rows at a time.

Large feature maps do not fit the cache, so that each layer fetches from memory what the one before
it has just written there. Run band by band, only a few rows of every map are alive at once: a
tensor between the layers becomes a ring of rows (``fil_conv`` in format.h has the rules, and
native/runtime/band.c the order of steps, which ``steps`` here repeats). No row is computed twice.
Layer fusion by rows goes back to Alwani et al., "Fused-layer CNN accelerators", 2016.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from filigree.converter.lowering.program import (
    INT4_KINDS,
    INT8_KINDS,
    ConvParams,
    Op,
    Place,
    Program,
    Tensor,
    padded_pitch,
)
from filigree.native import enums as c

_FLOATS = (c.FIL_OP_SPMM, c.FIL_OP_CONV, c.FIL_OP_DWCONV)
_INT8 = (INT8_KINDS[kind] for kind in _FLOATS)
KINDS = frozenset({c.FIL_OP_PIXELS, *_FLOATS, *_INT8, INT4_KINDS[c.FIL_OP_SPMM]})


@dataclass(frozen=True)
class Cache:
    """When banding pays on a target, in bytes: feature maps over ``spill`` do not stay in its cache
    from one layer to the next; the rings of a band should fit ``room``."""

    spill: int
    room: int


CACHES = {
    "x86-64": Cache(spill=800 << 10, room=640 << 10),  # of 1 MiB and more per core
    "arm64": Cache(spill=256 << 10, room=128 << 10),  # of 256 KiB
    "wasm": Cache(spill=512 << 10, room=256 << 10),  # whatever is under the browser
}
CHOICES = ("auto", "small", "off")


def band(program: Program, cache: Cache, *, most: int | None = None) -> Program:
    """``program`` with its large feature maps passed on in bands; computes the same. ``most``:
    bytes that may be between the operations of a band."""
    i = 0
    while i < len(program.ops):
        end = _end_of_run(program, i, cache)
        while end - i > 1 and most is not None and _least(program, i, end) > most:
            end -= 1
        if end - i > 1:
            program = _banded(program, i, end, cache)
        i = max(end, i + 1)
    return program


def candidates(program: Program, cache: Cache) -> Iterator[Program]:
    """Banded in long runs and in shorter ones, and as it is: every stride doubles the rows that
    those before it must hold, so that the longest runs are not always the least memory."""
    for most in (None, 4 * cache.room, cache.room):
        yield band(program, cache, most=most)
    yield program


def smaller(program: Program) -> Iterator[Program]:
    """The program banded in ways of which one needs the least memory: the more maps are passed on
    in bands, the more rows of the first of them the last one's rows take."""
    largest = max((t.nbytes for t in program.tensors.values()), default=0)
    for log in range(10, max(10, largest.bit_length())):
        yield band(program, Cache(spill=1 << log, room=0))


def spans(program: Program) -> list[tuple[int, int]]:
    """For each operation, the first and the last of those that run together with it."""
    found: list[tuple[int, int]] = []
    for i, op in enumerate(program.ops):
        if i < len(found):
            continue
        count = op.params.band_ops if isinstance(op.params, ConvParams) else 0
        found += [(i, i + max(1, count) - 1)] * max(1, count)
    return found


def unbanded(program: Program) -> Program:
    """The same program with every tensor whole and one operation after the other."""
    tensors = dict(program.tensors)
    for op in program.ops:
        if isinstance(op.params, ConvParams) and op.params.out_ring:
            tensors[op.output] = _tall(
                tensors[op.output], op.params.out_h, op.params.out_w, program.lanes
            )
    ops = tuple(
        _in_band(op, {}, tensors) if isinstance(op.params, ConvParams) else op for op in program.ops
    )
    return dataclasses.replace(program, ops=ops, tensors=tensors, plan=None)


def steps(ops: Sequence[Op], band_rows: int, lanes: int) -> Iterator[tuple[list[int], list[int]]]:
    """Output rows [from, to) of each operation, step by step; as in native/runtime/band.c."""
    to = [0] * len(ops)
    height = _conv(ops[-1]).out_h
    while to[-1] < height:
        since = list(to)
        to[-1] += band_rows
        ends = to[-1] >= height
        for k in reversed(range(len(ops))):
            p = _conv(ops[k])
            to[k] = p.out_h if ends else _whole_vectors(p, to[k], lanes)
            for slot, name in enumerate(ops[k].inputs):
                rows = _end_read(p, slot, to[k])
                for j in range(k):
                    if ops[j].output == name:
                        to[j] = max(to[j], rows)
        yield since, list(to)


def faults(program: Program) -> Iterator[str]:
    """What is wrong with the program's bands: rows that an operation reads before they are made, or
    after their place in the ring was taken."""
    for i, (first, last) in enumerate(spans(program)):
        ops = program.ops[first : last + 1]
        if i == first and last > first:
            yield from _band_faults(ops, program.lanes, first)


def _band_faults(ops: Sequence[Op], lanes: int, first: int) -> Iterator[str]:
    if any(op.kind not in KINDS for op in ops):
        yield f"op {first}: its band has operations without rows"
        return
    made = {op.output: k for k, op in enumerate(ops)}
    found = set()
    for since, to in steps(ops, _conv(ops[0]).band_rows, lanes):
        for k, op in enumerate(ops):
            p = _conv(op)
            for slot, (name, ring) in enumerate(zip(op.inputs, (p.x_ring, p.y_ring), strict=False)):
                if name not in made:
                    continue
                end = _end_read(p, slot, to[k])
                rows = to[made[name]]
                lost = ring and _first_read(p, slot, since[k]) < rows - ring
                if to[k] > since[k] and (end > rows or lost):
                    found.add(f'op {first + k} ("{op.node}"): rows of "{name}" are not there')
    yield from sorted(found)


def _whole_vectors(p: ConvParams, rows: int, lanes: int) -> int:
    unit = lanes // math.gcd(lanes, p.out_w)
    return min(p.out_h, -(-rows // unit) * unit)


def _end_read(p: ConvParams, slot: int, rows: int) -> int:
    """One past the last row of input ``slot`` that the first ``rows`` output rows read."""
    if slot:
        return rows
    return max(0, min(p.in_h, (rows - 1) * p.sh + (p.kh - 1) * p.dh - p.pad_top + 1))


def _first_read(p: ConvParams, slot: int, row: int) -> int:
    """The first row of input ``slot`` that output rows from ``row`` on read."""
    return row if slot else max(0, row * p.sh - p.pad_top)


def _conv(op: Op) -> ConvParams:
    assert isinstance(op.params, ConvParams)
    return op.params


def _end_of_run(program: Program, i: int, cache: Cache) -> int:
    """One past the last operation of the run from ``i`` whose links are all too large."""
    end = i
    while end < len(program.ops) and end - i < c.FIL_MAX_BAND and program.ops[end].kind in KINDS:
        end += 1
        if program.tensors[program.ops[end - 1].output].nbytes <= cache.spill:
            break
    return end


def _least(program: Program, first: int, end: int) -> int:
    """Bytes between these operations if they are passed on a row at a time."""
    names = _ring_candidates(program, first, end)
    ops = program.ops[first:end]
    rings = _rings(ops, names, 1, program.lanes)
    return sum(_held(program, ops, name, rings.get(name)) for name in names)


def _held(program: Program, ops: Sequence[Op], name: str, rows: int | None) -> int:
    """Bytes of a tensor as a ring of ``rows``; None: whole."""
    tensor = program.tensors[name]
    if rows is None:
        return tensor.nbytes
    return _tall(tensor, rows, _width(ops, name), program.lanes).nbytes


def _banded(program: Program, first: int, end: int, cache: Cache) -> Program:
    ops = program.ops[first:end]
    rows = _ring_candidates(program, first, end)
    if not rows:
        return program
    band_rows, rings = _choose(program, ops, rows, cache)
    if not rings:
        return program
    tensors = dict(program.tensors)
    for name, held in rings.items():
        tensors[name] = _tall(tensors[name], held, _width(ops, name), program.lanes)
    start = _in_band(ops[0], rings, tensors, count=len(ops), rows=band_rows)
    rest = [_in_band(op, rings, tensors) for op in ops[1:]]
    whole = (*program.ops[:first], start, *rest, *program.ops[end:])
    return dataclasses.replace(program, ops=whole, tensors=tensors)


def _in_band(
    op: Op,
    rings: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    *,
    count: int = 0,
    rows: int = 0,
) -> Op:
    """``op`` over ``rings``, the rows that some of ``tensors`` hold; ``count`` and ``rows``: of the
    band that it starts."""
    p = _conv(op)
    x_ring = rings.get(op.inputs[0], 0)
    params = dataclasses.replace(
        p,
        band_ops=count,
        band_rows=rows,
        x_ring=x_ring,
        y_ring=rings.get(op.inputs[1], 0) if len(op.inputs) > 1 else 0,
        out_ring=rings.get(op.output, 0),
        cs=tensors[op.inputs[0]].pitch if x_ring or p.x_ring else p.cs,
    )
    return dataclasses.replace(op, params=params)


def _tall(tensor: Tensor, rows: int, width: int, lanes: int) -> Tensor:
    """``tensor`` with so many rows in each plane."""
    pitch = padded_pitch(rows * width, lanes)
    return dataclasses.replace(tensor, shape=(tensor.planes, rows, width), split=1, pitch=pitch)


def _ring_candidates(program: Program, first: int, end: int) -> set[str]:
    """Tensors that one operation of the run writes whole, others of it read whole, and no one else
    touches."""
    touched: dict[str, list[int]] = defaultdict(list)
    for i, op in enumerate(program.ops):
        for name in (*op.inputs, op.output):
            touched[name].append(i)
    ports = {port.tensor for port in (*program.inputs, *program.outputs)}
    found = set()
    for i in range(first, end):
        op, p = program.ops[i], _conv(program.ops[i])
        tensor = program.tensors[op.output]
        inside = all(first <= k < end for k in touched[op.output])
        alone = sum(program.ops[k].output == op.output for k in touched[op.output]) == 1
        plain = op.out_offset == 0 and tensor.positions == p.out_h * p.out_w
        even = p.out_h * p.out_w % program.lanes == 0 and tensor.planes == _rows_of(program, op)
        readers = [program.ops[k] for k in touched[op.output] if k != i]
        walked = inside and all(_walks_planes(r, op.output, tensor, p) for r in readers)
        is_arena = tensor.place is Place.ARENA and op.output not in ports
        if inside and alone and plain and even and walked and is_arena and readers:
            found.add(op.output)
    return found


def _rows_of(program: Program, op: Op) -> int:
    """Planes that the operation writes."""
    return program.weights[op.weights].rows if op.weights is not None else _conv(op).channels


def _walks_planes(reader: Op, name: str, tensor: Tensor, made: ConvParams) -> bool:
    p = _conv(reader)
    if reader.inputs[0] == name:
        size = (p.in_h, p.in_w) == (made.out_h, made.out_w)
        plain = (p.cs, p.ys, p.xs) == (tensor.pitch, p.in_w, 1) and reader.x_offset == 0
        if not size or not plain:
            return False
    if len(reader.inputs) > 1 and reader.inputs[1] == name:
        return reader.y_offset == 0 and (p.out_h, p.out_w) == (made.out_h, made.out_w)
    return True


def _choose(
    program: Program, ops: Sequence[Op], names: set[str], cache: Cache
) -> tuple[int, dict[str, int]]:
    """Rows of a band, the most whose rings fit ``cache``, or the fewest; and the rings' rows."""
    height = _conv(ops[-1]).out_h
    best: tuple[int, dict[str, int]] = (0, {})
    for band_rows in range(1, height):
        rings = _rings(ops, names, band_rows, program.lanes)
        size = sum(_held(program, ops, name, rows) for name, rows in rings.items())
        if size > cache.room and best[0]:
            break
        if rings and (not best[0] or len(rings) >= len(best[1])):
            best = band_rows, rings
    return _even(program, ops, names, best)


def _even(
    program: Program, ops: Sequence[Op], names: set[str], best: tuple[int, dict[str, int]]
) -> tuple[int, dict[str, int]]:
    """The same number of steps, but the last as long as the others: threads share them out."""
    height = _conv(ops[-1]).out_h
    if not best[0]:
        return best
    steps_taken = -(-height // best[0])
    band_rows = -(-height // steps_taken)
    rings = _rings(ops, names, band_rows, program.lanes)
    return (band_rows, rings) if len(rings) >= len(best[1]) else best


def _width(ops: Sequence[Op], name: str) -> int:
    return next(_conv(op).out_w for op in ops if op.output == name)


def _rings(ops: Sequence[Op], names: set[str], band_rows: int, lanes: int) -> dict[str, int]:
    """Rows that each tensor must hold; without those that would hold the whole image."""
    held: dict[str, int] = dict.fromkeys(names, 1)
    maker = {op.output: k for k, op in enumerate(ops)}
    for since, to in steps(ops, band_rows, lanes):
        for k, op in enumerate(ops):
            for slot, name in enumerate(op.inputs):
                if name in names:
                    oldest = _first_read(_conv(op), slot, since[k])
                    held[name] = max(held[name], to[maker[name]] - oldest)
    found = {}
    for name, rows in held.items():
        p = _conv(ops[maker[name]])
        whole = _whole_vectors(p, rows, lanes)
        if whole < p.out_h:
            found[name] = whole
    return found
