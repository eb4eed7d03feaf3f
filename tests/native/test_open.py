"""Each rule of SPEC.md, broken on its own: the loader's status and the item it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from filigree.native import enums as c
from filigree.native.model import BadFile, Model
from tests.native import tiny
from tests.native.tiny import Tiny

Damage = Callable[[Tiny], None]
CONV, DWCONV, D8, U16, POOL, MAP, REDUCE, SPMV, MATMUL, SOFTMAX = range(10)  # ops of sample()
X, A, B, WIDE, NARROW, POOLED, MOVED, MEAN = range(8)  # its tensors
SCORES, MIXED, PER_CHANNEL, MIXER, Y = range(8, 13)
W_CONV, W_DW, W_D8, W_U16, W_FC = range(5)


def status_of(data: bytes) -> tuple[str, int]:
    """The loader's answer to ``data``: ("OK", -1) or the status and item."""
    try:
        Model.from_bytes(data)
    except BadFile as e:
        return e.status, e.item
    return "OK", -1


def broken(damage: Damage, *, half: bool = False, four: bool = False) -> tuple[str, int]:
    t = tiny.sample(half=half, four=four)
    damage(t)
    return status_of(t.encode())


def put(table: str, index: int, path: str, value: Any) -> Damage:
    """Set one field: put("ops", 3, "p.conv.kh", 0), put("tensors", 1, "dim.2", 5)."""

    def damage(t: Tiny) -> None:
        *outer, last = path.split(".")
        target = getattr(t, table)[index]
        for name in outer:
            target = getattr(target, name)
        if last.isdigit():
            target[int(last)] = value
        else:
            setattr(target, last, value)

    return damage


def head(field: str, value: int) -> Damage:
    def damage(t: Tiny) -> None:
        t.header[field] = value

    return damage


def const(weights: int, field: str, at: int, value: int) -> Damage:
    """Set one byte of a weights blob: const(W_D8, "index_offset", 1, 0)."""

    def damage(t: Tiny) -> None:
        t.constants[getattr(t.weights[weights], field) + at] = value

    return damage


def test_samples_are_accepted() -> None:
    for lanes in (1, 4, 8, 16):
        assert status_of(tiny.sample(lanes=lanes).encode()) == ("OK", -1)
        assert status_of(tiny.sample(lanes=lanes, half=True).encode()) == ("OK", -1)
        assert status_of(tiny.sample(lanes=lanes, four=True).encode()) == ("OK", -1)
    assert status_of(tiny.one_op().encode()) == ("OK", -1)
    assert status_of(tiny.converted().encode()) == ("E_ISA", -1)


HEADER = [
    (head("magic", 0), "E_MAGIC"),
    (head("version", 2), "E_VERSION"),
    (head("version", 0), "E_VERSION"),
    (head("required", 1 << 31), "E_FLAGS"),
    (head("file_bytes", 64), "E_TRUNCATED"),
    (head("file_bytes", 2**63), "E_TRUNCATED"),
    (head("section_count", 17), "E_CAPS"),
    (head("section_count", 5), "E_CRC"),
    (head("lanes", 0), "E_SECTIONS"),
    (head("lanes", 32), "E_SECTIONS"),
    (head("arena_bytes", 2**31), "E_CAPS"),
    (head("arena_bytes", 2**32), "E_CAPS"),
    (head("optional", 7), "OK"),
]


@pytest.mark.parametrize(("damage", "status"), HEADER)
def test_header(damage: Damage, status: str) -> None:
    assert broken(damage) == (status, -1)


def encode(sections: list[tuple[int, bytes]]) -> bytes:
    return tiny.encode_sections(sections, {}, arena=0, lanes=16)


def test_sections() -> None:
    assert status_of(b"") == ("E_TRUNCATED", -1)
    assert status_of(encode([])) == ("E_IO", -1)
    assert status_of(encode([(c.FIL_SECTION_META, b"{}"), (c.FIL_SECTION_IO, b"")])) == (
        "E_SECTIONS",
        1,
    )
    assert status_of(encode([(9, b"")])) == ("E_SECTIONS", 0)
    assert status_of(encode([(0, b"")])) == ("E_SECTIONS", 0)
    assert status_of(encode([(c.FIL_SECTION_STATE, b"1")])) == ("E_SECTIONS", 0)
    assert status_of(encode([(c.FIL_SECTION_IO, bytes(81))])) == ("E_SECTIONS", -1)
    assert status_of(encode([(c.FIL_SECTION_IO, bytes(80 * 65))])) == ("E_CAPS", -1)
    assert status_of(encode([(c.FIL_SECTION_META, b"{}")]) + bytes(1))[0] == "E_TRUNCATED"


def test_element_types() -> None:
    def broken_types(damage: Damage) -> tuple[str, int]:
        t = tiny.converted()
        damage(t)
        return status_of(t.encode())

    x, a, addend, y = 0, 1, 3, 4
    half, single = c.FIL_F16, c.FIL_F32
    assert broken_types(put("ops", 1, "out_offset", 1))[0] == "E_BOUNDS"  # 32 halves, not floats
    assert broken_types(head("required", 0)) == ("E_TENSOR", a)
    assert broken_types(put("tensors", a, "dtype", single)) == ("E_TENSOR", a)  # too few bytes
    assert broken_types(put("tensors", a, "dtype", 6)) == ("E_TENSOR", a)
    for port in (x, y):
        assert broken_types(put("tensors", port, "dtype", half)) == ("E_TENSOR", port)

    def mixed(t: Tiny) -> None:
        t.tensors[addend].dtype, t.tensors[addend].bytes = single, 128
        t.constants += bytes(64)

    assert broken_types(mixed) == ("E_OP", 1)
    assert broken_types(put("ops", 0, "act", c.FIL_ACT_ABS)) == ("E_OP", 0)

    assert status_of(widened(apart=True).encode()) == ("E_ISA", -1)
    assert status_of(widened(apart=False).encode())[0] == "E_LIFETIME"


@pytest.mark.parametrize("half", [False, True])
def test_kernels_on_float16_want_weights_of_it(half: bool) -> None:
    t = Tiny(dtype=c.FIL_F16 if half else c.FIL_F32)
    x = t.port("x", (2, 16))
    a, b = (t.tensor((2, 4, 4), split=1, dtype=c.FIL_F16) for _ in range(2))
    y = t.port("y", (2, 16), output=True)
    w = t.matrix(tiny.prime_paint(2, 2), tiny.prime_paint(2), block_rows=2, coding=0)
    walk = {"dim": [1, 1, 1, 32], "sa": [0, 0, 0, 1], "so": [0, 0, 0, 1]}
    t.op(c.FIL_OP_MAP, (x,), a, p={"map": walk})
    t.op(c.FIL_OP_SPMM, (a,), b, weights=w, p=tiny._conv(2, 4))
    t.op(c.FIL_OP_MAP, (b,), y, p={"map": walk})
    t.set_lifetimes()
    assert t.ops[1].scratch_bytes == 0  # nothing to widen
    assert status_of(t.encode()) == (("E_ISA", -1) if half else ("E_OP", 1))


def widened(*, apart: bool) -> Tiny:
    """A copy from float16 to float32, both of 128 bytes: in place, were they of one type."""
    t = Tiny()
    x = t.port("x", (32,))
    a = t.tensor((32,), dtype=c.FIL_F16, pitch=64)
    b = t.tensor((32,), **({} if apart else {"offset": t.tensors[a].offset}))
    y = t.port("y", (32,), output=True)
    walk = {"dim": [1, 1, 1, 32], "sa": [0, 0, 0, 1], "so": [0, 0, 0, 1]}
    for source, target in ((x, a), (a, b), (b, y)):
        t.op(c.FIL_OP_MAP, (source,), target, p={"map": walk})
    t.set_lifetimes()
    return t


ITEMS = [
    ("tensors", A, "dtype", 2, "E_TENSOR"),
    ("tensors", A, "place", 4, "E_TENSOR"),
    ("tensors", A, "rank", 7, "E_TENSOR"),
    ("tensors", A, "split", 4, "E_TENSOR"),
    ("tensors", A, "pitch", 15, "E_TENSOR"),
    ("tensors", A, "pitch", 17, "E_TENSOR"),
    ("tensors", A, "pitch", 2**32 - 16, "E_CAPS"),
    ("tensors", A, "dim.0", 0, "E_CAPS"),
    ("tensors", A, "dim.0", 2**20 + 1, "E_CAPS"),
    ("tensors", A, "dim.5", 2, "E_TENSOR"),
    ("tensors", A, "offset", 1 << 40, "E_TENSOR"),
    ("tensors", A, "offset", 2**64 - 64, "E_TENSOR"),
    ("tensors", A, "offset", 4, "E_TENSOR"),
    ("tensors", A, "bytes", 2**64 - 256, "E_TENSOR"),
    ("tensors", A, "reserved.3", 1, "E_TENSOR"),
    ("tensors", A, "scale", 1.0, "E_TENSOR"),
    ("tensors", A, "zero", 1, "E_TENSOR"),
    ("tensors", X, "first_op", 1, "E_TENSOR"),
    ("tensors", X, "offset", 2, "E_TENSOR"),
    ("tensors", Y, "offset", 0, "E_TENSOR"),
    ("tensors", MIXER, "offset", 1 << 20, "E_TENSOR"),
    ("io", 0, "tensor", 99, "E_IO"),
    ("io", 0, "tensor", A, "E_IO"),
    ("io", 1, "is_output", 2, "E_IO"),
    ("io", 0, "rank", 7, "E_IO"),
    ("io", 0, "dim.1", 2, "E_IO"),
    ("io", 0, "dim.5", 0, "E_IO"),
    ("io", 0, "name.47", b"x", "E_IO"),
    ("io", 0, "reserved.3", 1, "E_IO"),
    ("weights", W_D8, "dtype", 0, "E_WEIGHTS"),
    ("weights", W_D8, "dtype", 4, "E_WEIGHTS"),
    ("weights", W_D8, "block_rows", 0, "E_WEIGHTS"),
    ("weights", W_D8, "block_rows", 3, "E_WEIGHTS"),
    ("weights", W_D8, "block_rows", 32, "E_WEIGHTS"),
    ("weights", W_D8, "coding", 3, "E_WEIGHTS"),
    ("weights", W_D8, "rows", 0, "E_CAPS"),
    ("weights", W_D8, "cols", 65536, "E_CAPS"),
    ("weights", W_D8, "groups", 5, "E_WEIGHTS"),
    ("weights", W_D8, "blocks", 2**31, "E_CAPS"),
    ("weights", W_D8, "blocks", 9, "E_INDEX"),
    ("weights", W_D8, "cols", 2, "E_INDEX"),
    ("weights", W_D8, "reserved0", 1, "E_WEIGHTS"),
    ("weights", W_D8, "reserved1", 1, "E_WEIGHTS"),
    ("weights", W_D8, "multiplier_offset", 64, "E_WEIGHTS"),
    ("weights", W_D8, "values_offset", 2**64 - 64, "E_WEIGHTS"),
    ("weights", W_D8, "values_offset", 32, "E_WEIGHTS"),
    ("weights", W_D8, "index_offset", 1 << 20, "E_WEIGHTS"),
    ("weights", W_D8, "count_offset", 1 << 20, "E_WEIGHTS"),
    ("weights", W_D8, "bias_offset", 1 << 20, "E_WEIGHTS"),
    ("weights", W_CONV, "blocks", 26, "E_WEIGHTS"),
    ("weights", W_CONV, "index_offset", 64, "E_WEIGHTS"),
    ("ops", CONV, "kind", 9, "E_OP"),
    ("ops", CONV, "act", 99, "E_OP"),
    ("ops", CONV, "fn", 1, "E_OP"),
    ("ops", CONV, "in.0", 99, "E_OP"),
    ("ops", CONV, "in.0", 0xFFFF, "E_OP"),
    ("ops", CONV, "out", 0xFFFF, "E_OP"),
    ("ops", CONV, "out", X, "E_BOUNDS"),
    ("ops", CONV, "weights", 5, "E_OP"),
    ("ops", CONV, "weights", 0xFFFF, "E_OP"),
    ("ops", CONV, "y_offset", 1, "E_OP"),
    ("ops", CONV, "p.bytes.63", 1, "E_OP"),
    ("ops", CONV, "p.conv.kh", 2, "E_OP"),
    ("ops", CONV, "p.conv.sh", 0, "E_OP"),
    ("ops", CONV, "p.conv.dw", 0, "E_OP"),
    ("ops", CONV, "p.conv.in_h", 0, "E_OP"),
    ("ops", CONV, "p.conv.out_h", 2**20 + 1, "E_OP"),
    ("ops", CONV, "p.conv.in_h", 5, "E_BOUNDS"),
    ("ops", CONV, "p.conv.out_h", 5, "E_BOUNDS"),
    ("ops", CONV, "p.conv.cs", 17, "E_BOUNDS"),
    ("ops", CONV, "p.conv.xs", 2**32 - 1, "E_BOUNDS"),
    ("ops", CONV, "x_offset", 1, "E_BOUNDS"),
    ("ops", CONV, "out_offset", 2**32 - 1, "E_BOUNDS"),
    ("ops", CONV, "scratch_bytes", 64, "E_BOUNDS"),
    ("ops", CONV, "scratch_offset", 2**32 - 64, "E_BOUNDS"),
    ("ops", CONV, "scratch_offset", 4, "E_OP"),
    ("ops", D8, "p.conv.kh", 3, "E_OP"),
    ("ops", D8, "p.conv.pad_left", 1, "E_OP"),
    ("ops", D8, "p.conv.channels", 5, "E_OP"),
    ("ops", D8, "p.conv.ys", 5, "E_OP"),
    ("ops", D8, "out", A, "E_BOUNDS"),
    ("ops", D8, "in.1", A, "E_BOUNDS"),
    ("ops", U16, "y_offset", 1, "E_BOUNDS"),
    ("ops", DWCONV, "weights", W_CONV, "E_OP"),
    ("ops", DWCONV, "p.conv.cs", 32, "E_BOUNDS"),
    ("ops", POOL, "p.pool.mode", 3, "E_OP"),
    ("ops", POOL, "p.pool.reserved.2", 1, "E_OP"),
    ("ops", POOL, "p.pool.channels", 5, "E_BOUNDS"),
    ("ops", POOL, "p.pool.kh", 0, "E_OP"),
    ("ops", MAP, "fn", 9, "E_OP"),
    ("ops", MAP, "fn", c.FIL_MAP_COPY, "E_OP"),
    ("ops", MAP, "p.map.sa.3", -1, "E_OP"),
    ("ops", MAP, "p.map.so.3", 0, "E_OP"),
    ("ops", MAP, "p.map.dim.3", 0, "E_BOUNDS"),
    ("ops", MAP, "p.map.dim.0", 2, "E_OP"),
    ("ops", MAP, "p.map.sb.1", 2, "E_BOUNDS"),
    ("ops", REDUCE, "p.reduce.fn", 3, "E_OP"),
    ("ops", REDUCE, "p.reduce.reduce", 0, "E_BOUNDS"),
    ("ops", REDUCE, "p.reduce.reduce", 2**31, "E_BOUNDS"),
    ("ops", REDUCE, "p.reduce.outer_so", 6, "E_BOUNDS"),
    ("ops", SPMV, "p.conv.out_w", 2, "E_OP"),
    ("ops", SPMV, "x_offset", 13, "E_BOUNDS"),
    ("ops", MATMUL, "p.matmul.k", 4, "E_BOUNDS"),
    ("ops", MATMUL, "p.matmul.batch", 0, "E_BOUNDS"),
    ("ops", SOFTMAX, "act", 1, "E_OP"),
    ("ops", SOFTMAX, "p.softmax.axis", 4, "E_BOUNDS"),
    ("ops", POOL, "in.0", MIXED, "E_BOUNDS"),
    ("ops", MATMUL, "out", PER_CHANNEL, "E_OP"),
]


@pytest.mark.parametrize(("table", "item", "field", "value", "status"), ITEMS)
def test_item(table: str, item: int, field: str, value: Any, status: str) -> None:
    found, named = broken(put(table, item, field, value))
    assert (found, named) == (status, item)


HALVES = [
    (put("ops", CONV, "scratch_bytes", 64 * 27 * 4), ("E_BOUNDS", CONV)),  # enough for float32
    (put("ops", DWCONV, "scratch_bytes", 768), ("E_BOUNDS", DWCONV)),
    (put("ops", D8, "scratch_bytes", 0), ("E_BOUNDS", D8)),
    (put("weights", W_FC, "values_offset", 1152), ("OK", -1)),  # 128 bytes of 1316
    (put("weights", W_FC, "values_offset", 1216), ("E_WEIGHTS", W_FC)),
    (const(W_FC, "values_offset", 1, 0xFF), ("OK", -1)),  # not a number
]


@pytest.mark.parametrize(("damage", "answer"), HALVES)
def test_halves(damage: Damage, answer: tuple[str, int]) -> None:
    assert broken(damage, half=True) == answer


def test_halves_need_scratch_that_floats_do_not() -> None:
    assert broken(put("weights", W_U16, "dtype", c.FIL_F16)) == ("E_BOUNDS", U16)


FOURS = [
    (put("ops", D8, "kind", c.FIL_OP_SPMM), ("E_OP", D8)),
    (put("ops", SPMV, "kind", c.FIL_OP_SPMV), ("E_OP", SPMV)),
    (put("ops", SPMV, "kind", c.FIL_OP_SPMM4), ("E_BOUNDS", SPMV)),  # planes need padding
    (put("ops", D8, "weights", W_CONV), ("E_OP", D8)),
    (put("ops", CONV, "weights", W_D8), ("E_OP", CONV)),
    (put("weights", W_D8, "dtype", c.FIL_F32), ("E_WEIGHTS", W_D8)),
    (put("weights", W_D8, "dtype", 7), ("E_WEIGHTS", W_D8)),
    (put("weights", W_D8, "multiplier_offset", 4), ("E_WEIGHTS", W_D8)),
    (put("weights", W_D8, "values_offset", 8), ("E_WEIGHTS", W_D8)),
    (put("weights", W_D8, "values_offset", 2**33), ("E_WEIGHTS", W_D8)),
    (put("weights", W_D8, "multiplier_offset", 2**33), ("E_WEIGHTS", W_D8)),
    (const(W_D8, "values_offset", 0, 0x88), ("OK", -1)),
    (const(W_D8, "multiplier_offset", 1, 0xFF), ("OK", -1)),  # not a number
    (const(W_D8, "count_offset", 0, 200), ("E_INDEX", W_D8)),
]


@pytest.mark.parametrize(("damage", "answer"), FOURS)
def test_fours(damage: Damage, answer: tuple[str, int]) -> None:
    assert broken(damage, four=True) == answer


@pytest.mark.parametrize(("field", "bytes_"), [("values_offset", 32), ("multiplier_offset", 32)])
def test_fours_are_all_there(field: str, bytes_: int) -> None:
    """The last matrix: four blocks of sixteen rows, and their scales."""

    def at_the_end(t: Tiny) -> None:
        setattr(t.weights[W_FC], field, t.blob(bytes(bytes_)))

    def cut(t: Tiny) -> None:
        at_the_end(t)
        del t.constants[-1]

    assert broken(at_the_end, four=True) == ("OK", -1)
    assert broken(cut, four=True) == ("E_WEIGHTS", W_FC)


LIFETIMES = [
    (put("tensors", A, "first_op", 1), A),
    (put("tensors", A, "last_op", 0), A),
    (put("tensors", A, "last_op", 2), A),
    (put("tensors", A, "last_op", 10), A),
    (put("tensors", B, "offset", 0), B),
    (put("tensors", B, "offset", 64), B),
    (put("tensors", POOLED, "last_op", 6), POOLED),
    (put("tensors", WIDE, "offset", 0), WIDE),
    (put("ops", MATMUL, "out", MIXER), MIXER),
    (put("ops", SOFTMAX, "in", (NARROW, 0xFFFF)), NARROW),
    (put("ops", SOFTMAX, "out", SCORES), SCORES),
    (put("ops", MAP, "p.map.sa.2", 1), MOVED),
    (put("ops", MAP, "x_offset", 1), MOVED),
    (put("ops", CONV, "scratch_offset", 0), A),
]


@pytest.mark.parametrize(("damage", "tensor"), LIFETIMES)
def test_lifetimes(damage: Damage, tensor: int) -> None:
    assert broken(damage) == ("E_LIFETIME", tensor)


def test_dead_bytes_may_be_used_again() -> None:
    assert broken(put("tensors", MEAN, "offset", 0)) == ("OK", -1)


INDICES = [
    (const(W_D8, "index_offset", 1, 0), "E_INDEX"),  # repeated
    (const(W_D8, "index_offset", 0, 4), "E_INDEX"),  # out of range
    (const(W_D8, "index_offset", 0, 255), "E_INDEX"),
    (const(W_D8, "count_offset", 0, 3), "E_INDEX"),
    (const(W_D8, "count_offset", 1, 255), "E_INDEX"),
    (const(W_U16, "index_offset", 2, 0), "E_INDEX"),  # repeated
    (const(W_U16, "index_offset", 0, 3), "E_INDEX"),  # decreasing
    (const(W_U16, "index_offset", 1, 255), "E_INDEX"),  # -1 as u16
    (const(W_U16, "count_offset", 0, 0), "E_INDEX"),
    (const(W_D8, "values_offset", 3, 0x7F), "OK"),
]


@pytest.mark.parametrize(("damage", "status"), INDICES)
def test_indices(damage: Damage, status: str) -> None:
    assert broken(damage)[0] == status


def test_an_output_must_be_written() -> None:
    t = tiny.sample()
    t.ops.pop()
    t.set_lifetimes()
    assert status_of(t.encode()) == ("E_IO", 1)


def test_an_output_is_read_only_after_it_was_written() -> None:
    t = tiny.one_op()
    getattr(t.ops[0], "in")[1] = 1  # y = x + y
    assert status_of(t.encode()) == ("E_LIFETIME", 1)


def test_an_arena_tensor_nobody_writes() -> None:
    t = tiny.one_op()
    t.tensor((16,))
    assert status_of(t.encode()) == ("E_LIFETIME", 2)


def test_two_tensors_for_one_port() -> None:
    t = tiny.one_op()
    t.tensor((16,), place=c.FIL_PLACE_INPUT, offset=0)
    assert status_of(t.encode()) == ("E_IO", 0)


def test_unaligned_planes_of_a_port_are_refused() -> None:
    """SPMM would run past the end of a 3 x 9 output, or over the start of the next plane."""
    t = Tiny(meta=b"")
    x = t.port("x", (3, 9), split=1)
    y = t.port("y", (3, 9), split=1, output=True)
    eye = tiny.prime_paint(3, 3)
    w = t.matrix(eye, eye[0], block_rows=1, coding=c.FIL_CODING_NONE)
    side = {"in_h": 1, "out_h": 1, "in_w": 9, "out_w": 9, "cs": 9, "ys": 9, "xs": 1}
    ones = dict.fromkeys(("kh", "kw", "sh", "sw", "dh", "dw"), 1)
    p = {"conv": {"channels": 3, **side, **ones}}
    t.op(c.FIL_OP_SPMM, (x,), y, weights=w, p=p)
    assert status_of(t.encode()) == ("E_BOUNDS", 0)
    t.lanes = 1
    assert status_of(t.encode()) == ("OK", -1)


def test_work_is_capped() -> None:
    """A reduction with stride 0 re-reads one element 2^28 times, 2^14 times over."""
    t = tiny.one_op()
    big = t.tensor((16384,))
    walk = {"outer": 16384, "reduce": 2**28 - 1, "inner": 1, "outer_so": 1}
    t.op(c.FIL_OP_REDUCE, (0,), big, p={"reduce": walk})
    t.set_lifetimes()
    assert status_of(t.encode()) == ("E_CAPS", 1)


BANDS = [
    (0, "band_ops", 1, "E_OP"),
    (0, "band_ops", 3, "E_OP"),  # the third has no rows
    (0, "band_ops", 17, "E_OP"),
    (0, "band_ops", 65535, "E_OP"),
    (0, "band_ops", 0, "E_OP"),  # rows without operations
    (0, "band_rows", 0, "E_OP"),
    (1, "band_ops", 2, "E_OP"),
    (1, "band_rows", 1, "E_OP"),
    (0, "reserved", 1, "E_OP"),
    (0, "x_ring", 8, "E_OP"),  # not fewer rows than the image has
    (0, "y_ring", 4, "E_OP"),  # there is no residual
    (0, "out_ring", 5, "E_BOUNDS"),
    (0, "out_ring", 0, "E_BOUNDS"),
    (1, "x_ring", 5, "E_BOUNDS"),
    (1, "x_ring", 0, "E_BOUNDS"),
    (1, "x_ring", 3, "OK"),  # wrong numbers, no wrong access
    (0, "band_rows", 65535, "OK"),
]


@pytest.mark.parametrize(("op", "field", "value", "status"), BANDS)
def test_bands(op: int, field: str, value: int, status: str) -> None:
    t = tiny.band()
    setattr(t.ops[op].p.conv, field, value)
    data = t.encode()
    found, item = status_of(data)
    assert found == status
    if found == "OK":
        Model.from_bytes(data).run(np.zeros((1, 2, 8, 16), np.float32))
    else:
        assert item in (0, 1)


PIXELS = [
    ("p.conv.cs", 2, "E_BOUNDS"),
    ("p.conv.ys", 49, "E_BOUNDS"),
    ("p.conv.xs", 2**32 - 1, "E_BOUNDS"),
    ("p.conv.channels", 4, "E_BOUNDS"),
    ("p.conv.channels", 0, "E_OP"),
    ("p.conv.channels", 2**32 - 1, "E_OP"),
    ("p.conv.in_h", 7, "E_OP"),
    ("p.conv.out_w", 15, "E_OP"),
    ("p.conv.kh", 2, "E_OP"),
    ("p.conv.pad_top", 1, "E_OP"),
    ("p.conv.x_ring", 2, "E_OP"),
    ("p.conv.y_ring", 2, "E_OP"),
    ("p.conv.out_ring", 3, "E_BOUNDS"),
    ("x_offset", 1, "E_BOUNDS"),
    ("y_offset", 1, "E_BOUNDS"),
    ("in.1", c.FIL_NONE, "E_OP"),
    ("in.1", 0, "E_OP"),  # bytes are no factors
    ("weights", 0, "E_OP"),
    ("act", c.FIL_ACT_CLAMP, "E_OP"),
]


@pytest.mark.parametrize(("field", "value", "status"), PIXELS)
def test_pixels(field: str, value: int, status: str) -> None:
    t = tiny.pixels()
    assert status_of(t.encode()) == ("OK", -1)
    put("ops", 0, field, value)(t)
    assert status_of(t.encode())[0] == status


def test_bytes_are_read_by_pixels_alone() -> None:
    """Nothing else reads them, and there are none but the caller's."""
    t = tiny.pixels()
    t.op(c.FIL_OP_MAP, (0,), 3, fn=c.FIL_MAP_COPY, p={"map": {"dim": [1, 1, 1, 16]}})
    t.set_lifetimes()
    assert status_of(t.encode()) == ("E_OP", 3)
    for tensor in (1, 2, 3):
        t = tiny.pixels()
        t.tensors[tensor].dtype, t.tensors[tensor].bytes = c.FIL_U8, t.tensors[tensor].bytes // 4
        assert status_of(t.encode()) == ("E_TENSOR", tensor)


def test_a_ring_outside_a_band_and_one_that_ends_inside_a_vector() -> None:
    t = tiny.band()
    t.ops[0].p.conv.band_ops = t.ops[0].p.conv.band_rows = 0
    assert status_of(t.encode()) == ("E_OP", 0)
    t = tiny.band()
    for op in t.ops[:2]:
        op.p.conv.in_w = op.p.conv.out_w = 15
    t.ops[0].p.conv.ys = t.ops[1].p.conv.ys = 15
    assert status_of(t.encode()) == ("E_OP", 0)


@pytest.mark.parametrize(("tensor", "field", "value"), [(1, "last_op", 0), (2, "first_op", 1)])
def test_what_a_band_touches_lives_through_all_of_it(tensor: int, field: str, value: int) -> None:
    t = tiny.band()
    assert status_of(t.encode()) == ("OK", -1)
    setattr(t.tensors[tensor], field, value)
    assert status_of(t.encode())[0] == "E_LIFETIME"


def test_a_band_reads_what_it_has_not_written() -> None:
    t = tiny.band()
    t.ops[0], t.ops[1] = t.ops[1], t.ops[0]
    t.ops[0].p.conv.band_ops, t.ops[0].p.conv.band_rows = 2, 1
    t.ops[1].p.conv.band_ops = t.ops[1].p.conv.band_rows = 0
    assert status_of(t.encode())[0] == "E_LIFETIME"


INT8 = [
    ("tensors", 2, "scale", 0.0, ("E_TENSOR", 2)),
    ("tensors", 2, "scale", -1.0, ("E_TENSOR", 2)),
    ("tensors", 2, "scale", float("inf"), ("E_TENSOR", 2)),
    ("tensors", 2, "scale", float("nan"), ("E_TENSOR", 2)),
    ("tensors", 2, "zero", -129, ("E_TENSOR", 2)),
    ("tensors", 2, "zero", 128, ("E_TENSOR", 2)),
    ("tensors", 2, "dtype", c.FIL_U8, ("E_TENSOR", 2)),  # in the arena
    ("weights", 0, "multiplier_offset", 1, ("E_WEIGHTS", 0)),
    ("weights", 0, "values_offset", 1 << 20, ("E_WEIGHTS", 0)),
    ("weights", 2, "values_offset", 1 << 20, ("E_WEIGHTS", 2)),
    ("ops", 0, "fn", c.FIL_QMAP_COPY, ("E_OP", 0)),
    ("ops", 0, "fn", c.FIL_QMAP_DEQUANTIZE, ("E_OP", 0)),
    ("ops", 0, "fn", c.FIL_QMAP_FLIP, ("E_OP", 0)),
    ("ops", 0, "fn", c.FIL_QMAP_TABLE, ("E_OP", 0)),
    ("ops", 0, "fn", c.FIL_QMAP_COUNT, ("E_OP", 0)),
    ("ops", 1, "kind", c.FIL_OP_CONV, ("E_OP", 1)),
    ("ops", 1, "act", c.FIL_ACT_HARDSWISH, ("E_OP", 1)),
    ("ops", 1, "act_lo", 0.5, ("E_OP", 1)),
    ("ops", 1, "act_hi", 128.0, ("E_OP", 1)),
    ("ops", 1, "act_lo", float("nan"), ("E_OP", 1)),
    ("ops", 1, "act_lo", 101.0, ("E_OP", 1)),
    ("ops", 1, "scratch_bytes", 27 * c.FIL_TILE - 1, ("E_BOUNDS", 1)),
    ("ops", 2, "kind", c.FIL_OP_DWCONV, ("E_OP", 2)),
    ("ops", 5, "p.pool.mode", c.FIL_POOL_MAX, ("OK", -1)),
    ("ops", 5, "p.pool.mode", c.FIL_POOL_AVG_AWAY, ("OK", -1)),
    ("ops", 5, "p.pool.mode", c.FIL_POOL_AVG_AWAY + 1, ("E_OP", 5)),
    ("ops", 9, "y_offset", 1, ("E_OP", 9)),
    ("ops", 9, "act", c.FIL_ACT_CLAMP, ("E_OP", 9)),
    ("ops", 10, "act", c.FIL_ACT_CLAMP, ("E_OP", 10)),
]


@pytest.mark.parametrize(("table", "index", "path", "value", "want"), INT8)
def test_int8(table: str, index: int, path: str, value: Any, want: tuple[str, int]) -> None:
    t = tiny.eight()
    put(table, index, path, value)(t)
    status, item = status_of(t.encode())
    assert status == want[0]
    assert item == want[1]


@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
def test_int8_is_accepted(lanes: int) -> None:
    assert status_of(tiny.eight(lanes=lanes).encode()) == ("OK", -1)


@pytest.mark.parametrize("mode", [c.FIL_POOL_MAX, c.FIL_POOL_AVG_AWAY])
def test_int8_pools_of_integers_keep_their_scale(mode: int) -> None:
    t = tiny.eight()
    put("ops", 5, "p.pool.mode", mode)(t)
    put("tensors", t.ops[5].out, "scale", 0.5)(t)
    assert status_of(t.encode()) == ("E_OP", 5)


def test_int8_sums_stay_in_32_bits() -> None:
    def with_bias(value: int) -> tuple[str, int]:
        t = tiny.eight()
        at = t.weights[0].bias_offset
        t.constants[at : at + 4] = value.to_bytes(4, "little", signed=True)
        return status_of(t.encode())

    t = tiny.eight()
    stored = np.frombuffer(bytes(t.constants), np.int8, 4 * 28, t.weights[0].values_offset)
    first_row = np.abs(stored.astype(int).reshape(7, 4, 4)[:, 0]).sum()
    most = 2**31 - 1 - 128 * int(first_row)
    assert with_bias(most) == with_bias(-most) == ("OK", -1)
    assert with_bias(most + 1) == with_bias(-most - 1) == with_bias(-(2**31)) == ("E_WEIGHTS", 0)


@pytest.mark.parametrize("value", [0.0, -0.5, float("inf"), float("nan")])
def test_int8_multipliers_are_factors(value: float) -> None:
    t = tiny.eight()
    at = t.weights[0].multiplier_offset + 12
    t.constants[at : at + 4] = np.float32(value).tobytes()
    assert status_of(t.encode()) == ("E_WEIGHTS", 0)
