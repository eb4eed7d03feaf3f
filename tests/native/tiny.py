"""Packed models written field by field, for tests of the loader: nothing is checked here.

``sample()`` is a 10-op program that uses every kind of operation, place and index coding, with
float32, float16 or, of products, int4 weights of the same values; tests
change a field of ``Tiny.tensors``, ``.weights``, ``.ops`` or ``.io`` and call ``encode``.
"""

# ruff: noqa: C408  dict(in_h=4) reads like the C initialiser it becomes

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.native import enums as c
from filigree.native._ffi import ffi, lib

LANES = 16
BYTES = {c.FIL_F32: 4, c.FIL_F16: 2, c.FIL_S8: 1, c.FIL_U8: 1}
F32 = NDArray[np.float32]


def align(offset: int) -> int:
    return -(-offset // c.FIL_ALIGN) * c.FIL_ALIGN


def crc(data: bytes) -> int:
    return int(lib.fil_crc32c(0, data, len(data)))


def prime_paint(*shape: int, period: int = 13) -> F32:
    """Small values with a prime period, so that swapped rows cannot hide."""
    return (
        ((np.arange(math.prod(shape)) * 5 % period - period // 2) / 8)
        .astype(np.float32)
        .reshape(shape)
    )


@dataclass
class Tiny:
    """Lists of cffi structs and the constant bytes they point into."""

    tensors: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    ops: list[Any] = field(default_factory=list)
    io: list[Any] = field(default_factory=list)
    constants: bytearray = field(default_factory=bytearray)
    arena_bytes: int = 0
    lanes: int = LANES
    dtype: int = c.FIL_F32  # of weights
    four: bool = False  # those of products are int4
    meta: bytes = b'{"name":"tiny"}'
    header: dict[str, int] = field(default_factory=dict)  # fields to force

    def blob(self, data: bytes) -> int:
        """Append to CONST at the next multiple of 64; its offset."""
        self.constants += bytes(align(len(self.constants)) - len(self.constants))
        offset = len(self.constants)
        self.constants += data
        return offset

    def tensor(
        self, shape: tuple[int, ...], *, split: int = 0, place: int = 0, **given: int
    ) -> int:
        """A tensor; an arena tensor gets fresh arena bytes unless ``offset`` is given."""
        planes, positions = math.prod(shape[:split]), math.prod(shape[split:])
        arena = place == c.FIL_PLACE_ARENA
        pitch = given.get("pitch", -(-positions // self.lanes) * self.lanes if arena else positions)
        dtype = given.get("dtype", c.FIL_F32)
        size = BYTES[dtype] * planes * pitch
        offset = given.get("offset", self.arena_bytes if arena else 0)
        if arena:
            self.arena_bytes = max(self.arena_bytes, align(offset + size))
        dims = [*shape, *[1] * (c.FIL_MAX_RANK - len(shape))]
        fields = dict(dtype=dtype, place=place, rank=len(shape), split=split, pitch=pitch)
        t = ffi.new("fil_tensor *", {**fields, "dim": dims, "offset": offset, "bytes": size})
        self.tensors.append(t)
        return len(self.tensors) - 1

    def constant(self, data: F32, *, dtype: int = c.FIL_F32) -> int:
        offset = self.blob(data.astype("<f2" if dtype == c.FIL_F16 else "<f4").tobytes())
        return self.tensor(data.shape, place=c.FIL_PLACE_CONST, offset=offset, dtype=dtype)

    def port(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        split: int = 0,
        output: bool = False,
        dtype: int = c.FIL_F32,
    ) -> int:
        """An INPUT or OUTPUT tensor of ``shape`` behind a port of shape (1, *shape)."""
        place = c.FIL_PLACE_OUTPUT if output else c.FIL_PLACE_INPUT
        t = self.tensor(shape, split=split, place=place, offset=len(self.io), dtype=dtype)
        dims = [1, *shape, *[1] * (c.FIL_MAX_RANK - 1 - len(shape))]
        row = {"tensor": t, "is_output": output, "rank": len(shape) + 1, "dim": dims}
        self.io.append(ffi.new("fil_io *", {**row, "name": name.encode()}))
        return t

    def matrix(self, values: F32, bias: F32, *, block_rows: int, coding: int) -> int:
        """Weights: ``values`` [rows, cols] with zero blocks left out (coding NONE: kept)."""
        rows, cols = values.shape
        groups = -(-rows // block_rows)
        padded = np.zeros((groups * block_rows, cols), np.float32)
        padded[:rows] = values
        grouped = padded.reshape(groups, block_rows, cols)
        dense = coding == c.FIL_CODING_NONE
        kept = [[k for k in range(cols) if dense or grouped[g, :, k].any()] for g in range(groups)]
        stored = [grouped[g, :, k] for g in range(groups) for k in kept[g]]
        element = np.float16 if self.dtype == c.FIL_F16 else np.float32
        biases = np.zeros(groups * block_rows, np.float32)
        biases[:rows] = bias
        w = {
            "dtype": self.dtype,
            "block_rows": block_rows,
            "coding": coding,
            "rows": rows,
            "cols": cols,
            "groups": groups,
            "blocks": len(stored),
            "values_offset": self.blob(np.array(stored, element).tobytes()),
            "bias_offset": self.blob(biases.tobytes()),
        }
        if not dense:
            w["index_offset"] = self.blob(b"".join(_index(row, coding) for row in kept))
            w["count_offset"] = self.blob(np.array([len(row) for row in kept], "<u2").tobytes())
        self.weights.append(ffi.new("fil_weights *", w))
        return len(self.weights) - 1

    def product(
        self, values: F32, bias: F32, *, block_rows: int, coding: int, step: float = 0.125
    ) -> int:
        """Weights of SPMM or SPMV; of int4 all scales are ``step``, in whole numbers of which
        ``values`` are."""
        plain = self.matrix(values, bias, block_rows=block_rows, coding=coding)
        if not self.four:
            return plain
        w = self.weights[plain]
        stored = np.frombuffer(self.constants, np.float32, w.blocks * block_rows, w.values_offset)
        counts = np.full(w.groups, w.cols)
        if coding != c.FIL_CODING_NONE:
            counts = np.frombuffer(self.constants, "<u2", w.groups, w.count_offset).astype(int)
        groups = np.split(np.rint(stored / step).astype(int), np.cumsum(counts * block_rows)[:-1])
        padded = [np.concatenate([q, np.zeros(-q.size % 16, int)]) & 15 for q in groups]
        nibbles = np.concatenate(padded)
        del stored
        scales = np.full(int((-(-counts // c.FIL_RUN)).sum()) * block_rows, step, "<f2")
        w.dtype = c.FIL_S4
        w.values_offset = self.blob((nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes())
        w.multiplier_offset = self.blob(scales.tobytes())
        return plain

    def eight(self, values: F32, *, block_rows: int, coding: int) -> int:
        """int8 weights: ``values`` [rows, cols], whole numbers, all columns stored in quads."""
        rows, cols = values.shape
        groups, quads = -(-rows // block_rows), -(-cols // 4)
        padded = np.zeros((groups * block_rows, quads * 4), np.int8)
        padded[:rows, :cols] = values
        stored = padded.reshape(groups, block_rows, quads, 4).transpose(0, 2, 1, 3)
        multipliers = np.zeros(groups * block_rows, np.float32)
        multipliers[:rows] = 0.02 + 0.001 * np.arange(rows)
        w = {
            "dtype": c.FIL_S8,
            "block_rows": block_rows,
            "coding": coding,
            "rows": rows,
            "cols": cols,
            "groups": groups,
            "blocks": groups * cols,
            "values_offset": self.blob(stored.tobytes()),
            "bias_offset": self.blob((np.arange(groups * block_rows) * 3).astype("<i4").tobytes()),
            "multiplier_offset": self.blob(multipliers.tobytes()),
        }
        if coding != c.FIL_CODING_NONE:
            row = _index(list(range(cols)), coding)
            w["index_offset"] = self.blob(row * groups)
            w["count_offset"] = self.blob(np.full(groups, cols, "<u2").tobytes())
        self.weights.append(ffi.new("fil_weights *", w))
        return len(self.weights) - 1

    def op(self, kind: int, inputs: tuple[int, ...], out: int, **given: Any) -> int:
        """An op; ``p`` is {member: {field: value}}; scratch goes past the arena's end."""
        pair = [*inputs, c.FIL_NONE, c.FIL_NONE][:2]
        if self.four:
            kind = {c.FIL_OP_SPMM: c.FIL_OP_SPMM4, c.FIL_OP_SPMV: c.FIL_OP_SPMV4}.get(kind, kind)
        fields = {"kind": kind, "in": pair, "out": out, "weights": c.FIL_NONE, **given}
        op = ffi.new("fil_op *", {k: v for k, v in fields.items() if k != "p"})
        for member, values in given.get("p", {}).items():
            for name, value in values.items():
                setattr(getattr(op.p, member), name, value)
        weights = ffi.NULL if op.weights == c.FIL_NONE else self.weights[op.weights]
        op.scratch_bytes = lib.fil_op_scratch(op, weights, self.tensors[out].dtype)
        if op.scratch_bytes:
            op.scratch_offset = self.arena_bytes
            self.arena_bytes = align(self.arena_bytes + op.scratch_bytes)
        self.ops.append(op)
        return len(self.ops) - 1

    def set_lifetimes(self) -> None:
        """first_op and last_op of every arena tensor, from the ops; a band counts as a whole."""
        turns = [(k, k) for k in range(len(self.ops))]
        for k, op in enumerate(self.ops):
            others = (c.FIL_OP_PIXELS, c.FIL_OP_SPMM4)
            has_rows = op.kind <= c.FIL_OP_DWCONV or op.kind in others
            count = op.p.conv.band_ops if has_rows else 0
            turns[k : k + count] = [(k, k + count - 1)] * count
        for i, t in enumerate(self.tensors):
            touching = [k for k, op in enumerate(self.ops) if i in (*getattr(op, "in"), op.out)]
            if t.place == c.FIL_PLACE_ARENA and touching:
                t.first_op, t.last_op = turns[touching[0]][0], turns[touching[-1]][1]

    def encode(self) -> bytes:
        sections = [
            (c.FIL_SECTION_TENSORS, _rows(self.tensors)),
            (c.FIL_SECTION_WEIGHTS, _rows(self.weights)),
            (c.FIL_SECTION_PROGRAM, _rows(self.ops)),
            (c.FIL_SECTION_IO, _rows(self.io)),
            (c.FIL_SECTION_CONST, bytes(self.constants)),
            (c.FIL_SECTION_META, self.meta),
        ]
        halves = any(t.dtype == c.FIL_F16 for t in self.tensors)
        head = {"required": c.FIL_NEEDS_F16 if halves else 0, **self.header}
        return encode_sections(
            [s for s in sections if s[1]], head, arena=self.arena_bytes, lanes=self.lanes
        )


def _index(kept: list[int], coding: int) -> bytes:
    if coding == c.FIL_CODING_U16:
        return np.array(kept, "<u2").tobytes()
    return np.diff(np.array(kept, np.int64), prepend=0).astype(np.uint8).tobytes()


def _rows(structs: list[Any]) -> bytes:
    return b"".join(bytes(ffi.buffer(s)) for s in structs)


def encode_sections(
    sections: list[tuple[int, bytes]], forced: dict[str, int], *, arena: int, lanes: int
) -> bytes:
    """The file around ``sections``: offsets, gaps and checksums."""
    head = 64 + 24 * len(sections)
    body, table = b"", b""
    for kind, data in sections:
        gap = align(head + len(body)) - head - len(body)
        body += bytes(gap)
        row = {"kind": kind, "crc": crc(data), "offset": head + len(body), "bytes": len(data)}
        table += bytes(ffi.buffer(ffi.new("fil_section *", row)))
        body += data
    h = ffi.new(
        "fil_header *",
        {
            "magic": c.FIL_MAGIC,
            "version": c.FIL_VERSION,
            "lanes": lanes,
            "file_bytes": head + len(body),
            "arena_bytes": arena,
            "section_count": len(sections),
            **forced,
        },
    )
    h.crc = crc(bytes(ffi.buffer(h)) + table)
    return bytes(ffi.buffer(h)) + table + body


def _conv(channels: int, size: int, k: int = 1, *, pitch: int = 16) -> dict[str, dict[str, int]]:
    side = dict(in_h=size, in_w=size, out_h=size, out_w=size)
    walk = dict(cs=pitch, ys=size, xs=1, kh=k, kw=k, sh=1, sw=1, dh=1, dw=1)
    return {"conv": {"channels": channels, **side, **walk, "pad_top": k // 2, "pad_left": k // 2}}


def _checker(rows: int, cols: int, block: int) -> F32:
    """Half of the blocks, no two neighbouring groups alike."""
    keep = np.add.outer(np.arange(rows) // block, np.arange(cols)) % 2 == 0
    return np.where(keep, np.abs(prime_paint(rows, cols)) + 0.125, 0).astype(np.float32)


def one_op() -> Tiny:
    """The smallest model: y = x + x on 16 values (the worked example of SPEC.md)."""
    t = Tiny(meta=b"")
    x = t.port("x", (16,))
    y = t.port("y", (16,), output=True)
    ones = [1, 1, 1, 16]
    walk = dict(dim=ones, sa=[0, 0, 0, 1], sb=[0, 0, 0, 1], so=[0, 0, 0, 1])
    t.op(c.FIL_OP_MAP, (x, x), y, fn=c.FIL_MAP_ADD, p={"map": walk})
    return t


def converted() -> Tiny:
    """y = x + constant, computed in float16: x (1,2,16) -> y (1,2,16)."""
    t = Tiny()
    x = t.port("x", (2, 16))
    a, b = t.tensor((2, 16), dtype=c.FIL_F16), t.tensor((2, 16), dtype=c.FIL_F16)
    addend = t.constant(prime_paint(2, 16), dtype=c.FIL_F16)
    y = t.port("y", (2, 16), output=True)
    walk = dict(dim=[1, 1, 1, 32], sa=[0, 0, 0, 1], so=[0, 0, 0, 1])
    t.op(c.FIL_OP_MAP, (x,), a, p={"map": walk})
    t.op(c.FIL_OP_MAP, (a, addend), b, fn=c.FIL_MAP_ADD, p={"map": {**walk, "sb": [0, 0, 0, 1]}})
    t.op(c.FIL_OP_MAP, (b,), y, p={"map": walk})
    t.set_lifetimes()
    return t


def sample(*, lanes: int = LANES, half: bool = False, four: bool = False) -> Tiny:
    """Every kind of op once: x (1,3,4,4) -> y (1,3)."""
    t = Tiny(lanes=lanes, dtype=c.FIL_F16 if half else c.FIL_F32, four=four)
    x = t.port("x", (3, 4, 4), split=1)
    w_conv = t.matrix(prime_paint(4, 27), prime_paint(4), block_rows=4, coding=c.FIL_CODING_NONE)
    w_dw = t.matrix(prime_paint(4, 9), prime_paint(4), block_rows=1, coding=c.FIL_CODING_NONE)
    w_d8 = t.product(_checker(8, 4, 2), prime_paint(8), block_rows=2, coding=c.FIL_CODING_D8)
    w_u16 = t.product(_checker(4, 8, 1), prime_paint(4), block_rows=1, coding=c.FIL_CODING_U16)
    w_fc = t.product(prime_paint(3, 4), prime_paint(3), block_rows=16, coding=c.FIL_CODING_NONE)
    a, b = t.tensor((4, 4, 4), split=1), t.tensor((4, 4, 4), split=1)
    wide, narrow = t.tensor((8, 4, 4), split=1), t.tensor((4, 4, 4), split=1)
    pooled = t.tensor((4, 2, 2), split=1)
    moved = t.tensor((4, 2, 2), split=1, offset=t.tensors[pooled].offset)
    mean, scores, mixed = t.tensor((4,)), t.tensor((3,)), t.tensor((3,))
    per_channel, mixer = t.constant(prime_paint(4)), t.constant(prime_paint(3, 3))
    y = t.port("y", (3,), output=True)

    relu = dict(act=c.FIL_ACT_CLAMP, act_lo=0.0, act_hi=6.0)
    swish = dict(act=c.FIL_ACT_HARDSWISH, act_lo=1 / 6, act_hi=0.5)
    t.op(c.FIL_OP_CONV, (x,), a, weights=w_conv, p=_conv(3, 4, 3), **relu)
    t.op(c.FIL_OP_DWCONV, (a,), b, weights=w_dw, p=_conv(4, 4, 3), **relu)
    t.op(c.FIL_OP_SPMM, (b,), wide, weights=w_d8, p=_conv(4, 4), **swish)
    t.op(c.FIL_OP_SPMM, (wide, b), narrow, weights=w_u16, p=_conv(8, 4))
    window = dict(channels=4, in_h=4, in_w=4, out_h=2, out_w=2, kh=2, kw=2, sh=2, sw=2, dh=1, dw=1)
    t.op(c.FIL_OP_POOL, (narrow,), pooled, p={"pool": window})
    pitch = t.tensors[pooled].pitch
    walk = dict(dim=[1, 4, 2, 2], sa=[0, pitch, 2, 1], sb=[0, 1, 0, 0], so=[0, pitch, 2, 1])
    t.op(c.FIL_OP_MAP, (pooled, per_channel), moved, fn=c.FIL_MAP_ADD, p={"map": walk})
    sums = dict(outer=4, reduce=4, inner=1, outer_s=pitch, reduce_s=1, inner_s=0, outer_so=1)
    t.op(c.FIL_OP_REDUCE, (moved,), mean, p={"reduce": sums})
    t.op(c.FIL_OP_SPMV, (mean,), scores, weights=w_fc, p=_conv(4, 1, pitch=1))
    product = dict(batch=1, m=1, n=3, k=3, ab=0, am=3, ak=1, bb=0, bk=3, cb=0, cm=3)
    t.op(c.FIL_OP_MATMUL, (scores, mixer), mixed, p={"matmul": product})
    axis = dict(outer=1, axis=3, inner=1, outer_s=0, axis_s=1, inner_s=0)
    t.op(c.FIL_OP_SOFTMAX, (mixed,), y, p={"softmax": axis})
    t.set_lifetimes()
    return t


def eight(*, lanes: int = LANES) -> Tiny:
    """Every kind of op on int8 once: x (1,3,4,4) float32 -> y (1,3) float32."""
    t = Tiny(lanes=lanes)
    x = t.port("x", (3, 4, 4), split=1)

    def integers(shape: tuple[int, ...], *, split: int = 0, zero: int = 3) -> int:
        made = t.tensor(shape, split=split, dtype=c.FIL_S8)
        t.tensors[made].scale, t.tensors[made].zero = 0.05, zero
        return made

    def whole(rows: int, cols: int) -> F32:
        return prime_paint(rows, cols) * 100

    none = c.FIL_CODING_NONE
    w_conv = t.eight(whole(4, 27), block_rows=4, coding=none)
    w_dw = t.eight(whole(4, 9), block_rows=1, coding=none)
    w_d8 = t.eight(whole(8, 4), block_rows=2, coding=c.FIL_CODING_D8)
    w_u16 = t.eight(whole(4, 8), block_rows=1, coding=c.FIL_CODING_U16)
    w_fc = t.eight(whole(3, 4), block_rows=16, coding=none)
    entry, a, b = (integers((n, 4, 4), split=1) for n in (3, 4, 4))
    wide, narrow = integers((8, 4, 4), split=1), integers((4, 4, 4), split=1)
    pooled, moved = integers((4, 2, 2), split=1), integers((4, 2, 2), split=1)
    mean, scores, odds = integers((4,)), integers((3,)), integers((3,), zero=-128)
    powers = t.constant(np.exp(-0.05 * np.arange(256)).astype(np.float32))
    y = t.port("y", (3,), output=True)

    kept = dict(act=c.FIL_ACT_CLAMP, act_lo=3.0, act_hi=100.0)
    planes = dict(dim=[1, 3, 4, 4], sa=[0, 16, 4, 1], sb=[0] * 4, so=[0, 16, 4, 1])
    t.op(c.FIL_OP_QMAP, (x,), entry, fn=c.FIL_QMAP_QUANTIZE, p={"map": planes})
    t.op(c.FIL_OP_QCONV, (entry,), a, weights=w_conv, p=_conv(3, 4, 3), **kept)
    t.op(c.FIL_OP_QDWCONV, (a,), b, weights=w_dw, p=_conv(4, 4, 3), **kept)
    t.op(c.FIL_OP_QSPMM, (b,), wide, weights=w_d8, p=_conv(4, 4))
    t.op(c.FIL_OP_QSPMM, (wide, b), narrow, weights=w_u16, p=_conv(8, 4))
    window = dict(channels=4, in_h=4, in_w=4, out_h=2, out_w=2, kh=2, kw=2, sh=2, sw=2, dh=1, dw=1)
    t.op(c.FIL_OP_QPOOL, (narrow,), pooled, p={"pool": {**window, "mode": c.FIL_POOL_AVG}})
    pitch = t.tensors[pooled].pitch
    walk = dict(dim=[1, 4, 2, 2])
    walk |= {name: [0, pitch, 2, 1] for name in ("sa", "sb", "so")}
    t.op(c.FIL_OP_QMAP, (pooled, pooled), moved, fn=c.FIL_QMAP_ADD, p={"map": walk})
    sums = dict(outer=4, reduce=4, inner=1, outer_s=pitch, reduce_s=1, inner_s=0, outer_so=1)
    t.op(c.FIL_OP_QREDUCE, (moved,), mean, p={"reduce": sums})
    t.op(c.FIL_OP_QSPMV, (mean,), scores, weights=w_fc, p=_conv(4, 1, pitch=1))
    axis = dict(outer=1, axis=3, inner=1, outer_s=0, axis_s=1, inner_s=0)
    t.op(c.FIL_OP_QSOFTMAX, (scores, powers), odds, p={"softmax": axis})
    flat = dict(dim=[1, 1, 1, 3], sa=[0, 0, 0, 1], sb=[0] * 4, so=[0, 0, 0, 1])
    t.op(c.FIL_OP_QMAP, (odds,), y, fn=c.FIL_QMAP_DEQUANTIZE, p={"map": flat})
    t.set_lifetimes()
    return t


def band(*, lanes: int = LANES, half: bool = False) -> Tiny:
    """Two convolutions in a band, a ring of four rows between them: x (1,2,8,16) -> y (1,4)."""
    t = Tiny(lanes=lanes, dtype=c.FIL_F16 if half else c.FIL_F32)
    x = t.port("x", (2, 8, 16), split=1)
    w_conv = t.matrix(prime_paint(4, 18), prime_paint(4), block_rows=4, coding=c.FIL_CODING_NONE)
    w_dw = t.matrix(prime_paint(4, 9), prime_paint(4), block_rows=1, coding=c.FIL_CODING_NONE)
    ring, whole = t.tensor((4, 4, 16), split=1), t.tensor((4, 8, 16), split=1)
    y = t.port("y", (4,), output=True)
    size = dict(in_h=8, in_w=16, out_h=8, out_w=16, ys=16, xs=1, kh=3, kw=3, sh=1, sw=1, dh=1, dw=1)
    size |= dict(pad_top=1, pad_left=1)
    first = dict(channels=2, cs=128, band_ops=2, band_rows=1, out_ring=4, **size)
    second = dict(channels=4, cs=t.tensors[ring].pitch, x_ring=4, **size)
    t.op(c.FIL_OP_CONV, (x,), ring, weights=w_conv, p={"conv": first})
    t.op(c.FIL_OP_DWCONV, (ring,), whole, weights=w_dw, p={"conv": second})
    pitch = t.tensors[whole].pitch
    sums = dict(outer=4, reduce=128, inner=1, outer_s=pitch, reduce_s=1, inner_s=0, outer_so=1)
    t.op(c.FIL_OP_REDUCE, (whole,), y, p={"reduce": sums})
    t.set_lifetimes()
    return t


def pixels(*, lanes: int = LANES, four: bool = False) -> Tiny:
    """Interleaved bytes to planes and a pointwise layer, in a band: x (1,8,16,3) -> y (1,3)."""
    t = Tiny(lanes=lanes, four=four)
    x = t.port("x", (8, 16, 3), dtype=c.FIL_U8)
    t.tensors[x].scale = 1.0
    affine = t.constant(prime_paint(2, 3))
    w = t.product(prime_paint(3, 3), prime_paint(3), block_rows=1, coding=c.FIL_CODING_NONE)
    ring, whole = t.tensor((3, 2, 16), split=1), t.tensor((3, 8, 16), split=1)
    y = t.port("y", (3,), output=True)
    size = dict(channels=3, in_h=8, in_w=16, out_h=8, out_w=16, kh=1, kw=1, sh=1, sw=1, dh=1, dw=1)
    first = dict(cs=1, ys=48, xs=3, band_ops=2, band_rows=2, out_ring=2, **size)
    second = dict(cs=t.tensors[ring].pitch, ys=16, xs=1, x_ring=2, **size)
    t.op(c.FIL_OP_PIXELS, (x, affine), ring, p={"conv": first})
    t.op(c.FIL_OP_SPMM, (ring,), whole, weights=w, p={"conv": second})
    sums = dict(outer=3, reduce=128, inner=1, outer_s=t.tensors[whole].pitch, reduce_s=1)
    t.op(c.FIL_OP_REDUCE, (whole,), y, p={"reduce": sums | dict(inner_s=0, outer_so=1)})
    t.set_lifetimes()
    return t


def shared_out(*, lanes: int = LANES, half: bool = False, four: bool = False) -> Tiny:
    """Every kind of op once, each long enough for several threads, in uneven shapes:
    x (1, 3, 45, 24) -> y (1, 37, 8), a softmax over 8 for each of 37."""
    t = Tiny(lanes=lanes, dtype=c.FIL_F16 if half else c.FIL_F32, four=four)
    x = t.port("x", (3, 45, 24), split=1)

    def weights(values: F32, *, block_rows: int, coding: int = c.FIL_CODING_NONE) -> int:
        rows, cols = values.shape
        how = dict(block_rows=block_rows, coding=coding)
        return t.matrix(values * 4 / cols, prime_paint(rows), **how)

    def product(values: F32, *, block_rows: int, coding: int) -> int:
        rows, cols = values.shape
        how = dict(block_rows=block_rows, coding=coding)
        return t.product(values * 4 / cols, prime_paint(rows), step=0.5 / cols, **how)

    w_conv = weights(prime_paint(10, 27), block_rows=4)
    w_few = weights(prime_paint(20, 90), block_rows=1)
    w_dw = weights(prime_paint(20, 9), block_rows=1)
    w_d8 = product(_checker(66, 10, 1), block_rows=1, coding=c.FIL_CODING_D8)
    w_u16 = product(_checker(10, 66, 4), block_rows=4, coding=c.FIL_CODING_U16)
    w_fc = product(_checker(37, 20, 2), block_rows=2, coding=c.FIL_CODING_D8)
    a, b = t.tensor((10, 23, 12), split=1), t.tensor((10, 23, 12), split=1)
    wide, small = t.tensor((66, 23, 12), split=1), t.tensor((20, 6, 3), split=1)
    deep, pooled = t.tensor((20, 6, 3), split=1), t.tensor((20, 3, 2), split=1)
    mean, scores, squared = t.tensor((20,)), t.tensor((37,)), t.tensor((37,))
    mixed = t.tensor((37, 8), split=1)
    mixer = t.constant(prime_paint(1, 8))
    y = t.port("y", (37, 8), output=True)

    relu = dict(act=c.FIL_ACT_CLAMP, act_lo=0.0, act_hi=6.0)
    swish = dict(act=c.FIL_ACT_HARDSWISH, act_lo=1 / 6, act_hi=0.5)
    strided = dict(kh=3, kw=3, sh=2, sw=2, dh=1, dw=1, pad_top=1, pad_left=1)
    stem = dict(
        channels=3, in_h=45, in_w=24, out_h=23, out_w=12, cs=45 * 24, ys=24, xs=1, **strided
    )
    t.op(c.FIL_OP_CONV, (x,), a, weights=w_conv, p={"conv": stem}, **relu)
    plane = dict(in_h=23, in_w=12, cs=t.tensors[a].pitch, ys=12, xs=1)
    point = dict(out_h=23, out_w=12, kh=1, kw=1, sh=1, sw=1, dh=1, dw=1)
    grow, shrink = dict(channels=10, **plane, **point), dict(channels=66, **plane, **point)
    t.op(c.FIL_OP_SPMM, (a,), wide, weights=w_d8, p={"conv": grow}, **swish)
    t.op(c.FIL_OP_SPMM, (wide, a), b, weights=w_u16, p={"conv": shrink})
    quarter = dict(strided, sh=4, sw=4)
    t.op(
        *(c.FIL_OP_CONV, (b,), small),
        weights=w_few,
        p={"conv": dict(channels=10, **plane, out_h=6, out_w=3, **quarter)},
    )
    pitch = t.tensors[small].pitch
    same = dict(strided, sh=1, sw=1, in_h=6, in_w=3, out_h=6, out_w=3, cs=pitch, ys=3, xs=1)
    t.op(c.FIL_OP_DWCONV, (small,), deep, weights=w_dw, p={"conv": dict(channels=20, **same)})
    window = dict(channels=20, in_h=6, in_w=3, out_h=3, out_w=2, kh=2, kw=2, sh=2, sw=2)
    window |= dict(dh=1, dw=1, mode=c.FIL_POOL_AVG)
    t.op(c.FIL_OP_POOL, (deep,), pooled, p={"pool": window}, **relu)
    sums = dict(outer=20, reduce=6, inner=1, reduce_s=1, outer_so=1)
    sums["outer_s"] = t.tensors[pooled].pitch
    t.op(c.FIL_OP_REDUCE, (pooled,), mean, p={"reduce": sums})
    t.op(c.FIL_OP_SPMV, (mean,), scores, weights=w_fc, p=_conv(20, 1, pitch=1), **swish)
    walk = dict(dim=[1, 1, 1, 37], sa=[0, 0, 0, 1], sb=[0, 0, 0, 1], so=[0, 0, 0, 1])
    t.op(c.FIL_OP_MAP, (scores, scores), squared, fn=c.FIL_MAP_MUL, p={"map": walk})
    to = t.tensors[mixed].pitch
    product = dict(batch=1, m=37, n=8, k=1, am=1, ak=1, bk=8, cm=to)
    t.op(c.FIL_OP_MATMUL, (squared, mixer), mixed, p={"matmul": product})
    flat = dict(dim=[1, 1, 37, 8], sa=[0, 0, to, 1], sb=[0, 0, 0, 0], so=[0, 0, 8, 1])
    loose = t.tensor((37, 8))
    t.op(c.FIL_OP_MAP, (mixed,), loose, fn=c.FIL_MAP_COPY, p={"map": flat})
    axis = dict(outer=37, axis=8, inner=1, outer_s=8, axis_s=1, inner_s=0)
    t.op(c.FIL_OP_SOFTMAX, (loose,), y, p={"softmax": axis})
    t.set_lifetimes()
    return t
