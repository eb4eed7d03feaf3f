"""The packed model: round trips, the same bytes always, damage is refused, writing is atomic."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from filigree.converter import packfile, structs
from filigree.converter.errors import BadFile
from filigree.converter.lowering.plan import plan
from filigree.converter.lowering.program import Place, Program, Tensor
from filigree.native import enums as c
from filigree.native._ffi import ffi
from tests.conftest import ROOT
from tests.converter import programs
from tests.converter.programs import random_programs
from tests.native.tiny import sample


@pytest.fixture(scope="module")
def small() -> Program:
    return plan(programs.packed(programs.two_layers()))


@pytest.fixture(scope="module")
def data(small: Program) -> bytes:
    return packfile.encode(small)


def test_round_trip(small: Program, data: bytes) -> None:
    back = packfile.decode(data)
    assert [t.name for t in back.tensors.values()] == list(small.tensors)
    for name, tensor in small.tensors.items():
        other = back.tensors[name]
        assert dataclasses.replace(other, data=None) == dataclasses.replace(tensor, data=None)
        assert np.array_equal(other.data, tensor.data) if tensor.data is not None else True
    for before, after in zip(small.weights.values(), back.weights.values(), strict=True):
        assert np.array_equal(before.matrix, after.matrix)
        assert np.array_equal(before.bias, after.bias)
        assert before.layer == after.layer
    renamed = tuple(
        dataclasses.replace(op, weights=None if op.weights is None else small_name)
        for op, small_name in zip(back.ops, (o.weights for o in small.ops), strict=True)
    )
    assert renamed == small.ops
    assert (back.inputs, back.outputs, back.plan) == (small.inputs, small.outputs, small.plan)
    assert packfile.encode(back) == data


@settings(deadline=None, max_examples=25)
@given(random_programs())
def test_encode_of_decode_is_the_same_bytes(program: Program) -> None:
    first = packfile.encode(plan(program))
    assert packfile.encode(packfile.decode(first)) == first


def test_equal_constants_are_stored_once(small: Program) -> None:
    shift = small.tensors["shift"]
    assert shift.data is not None
    sizes = [
        len(packfile.encode(_with_constant(small, dataclasses.replace(shift, name="b", data=data))))
        for data in (shift.data, shift.data + 1)
    ]
    assert sizes[1] - sizes[0] == shift.nbytes


def _with_constant(program: Program, constant: Tensor) -> Program:
    """``program`` with a second element-wise op, on ``constant``."""
    more = programs.vector("more", 48)
    add = programs.element_wise(["shifted", constant.name], "more", 48, fn=c.FIL_MAP_ADD)
    last = dataclasses.replace(program.ops[2], inputs=("more",))
    tensors = {**program.tensors, constant.name: constant, "more": more}
    return plan(dataclasses.replace(program, tensors=tensors, ops=(*program.ops[:2], add, last)))


def test_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.converter import programs\n"
        "from filigree.converter import packfile\n"
        "from filigree.converter.lowering.plan import plan\n"
        "import hashlib\n"
        "data = packfile.encode(plan(programs.packed(programs.two_layers())))\n"
        "print(hashlib.sha256(data).hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, str(ROOT)],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            cwd=tmp_path,
            check=True,
            capture_output=True,
        ).stdout
        for seed, zone in (("0", "UTC"), ("1", "Asia/Tokyo"), ("4711", "UTC"))
    }
    assert len(digests) == 1


def test_every_truncation_is_refused(data: bytes) -> None:
    for size in {*range(0, 400), *range(400, len(data), 97)}:
        with pytest.raises(BadFile):
            packfile.decode(data[:size])


def test_longer_is_refused(data: bytes) -> None:
    with pytest.raises(BadFile, match="shorter than it says, or longer"):
        packfile.decode(data + b"\0")


def test_flipped_bits_are_refused(data: bytes) -> None:
    draw = random.Random(0)
    for at in {*range(0, 300), *(draw.randrange(len(data)) for _ in range(300))}:
        damaged = bytearray(data)
        damaged[at] ^= 1 << draw.randrange(8)
        with pytest.raises(BadFile):
            packfile.decode(bytes(damaged))


def test_refusal_names_the_item(data: bytes) -> None:
    damaged = bytearray(data)
    damaged[-1] ^= 1
    with pytest.raises(BadFile, match=r"a checksum does not match \(section 5\) \[E_CRC\]"):
        packfile.decode(bytes(damaged))


@pytest.mark.parametrize(
    "meta",
    [
        {"tensors": ["one"], "nodes": "x", "layers": 3},
        {"tensors": ["a"] * 5, "nodes": [1, 2, 3], "layers": [None, {"node": 7}]},
        {"layers": {"node": "x"}},
    ],
)
def test_odd_metadata_is_not_trusted(small: Program, meta: dict[str, object]) -> None:
    body = packfile._assemble(
        [
            (c.FIL_SECTION_TENSORS, packfile._rows(_structs(small))),
            *_sections(packfile.encode(small))[1:-1],
            (c.FIL_SECTION_META, json.dumps(meta).encode()),
        ],
        {"lanes": 16, "arena_bytes": small.plan.arena_bytes if small.plan else 0},
    )
    back = packfile.decode(body)
    assert len(set(back.tensors)) == 5
    assert [w.layer for w in back.weights.values()]


def _structs(program: Program) -> list[object]:
    assert program.plan is not None
    return packfile._tensor_structs(program, program.plan, packfile._Constants())


def _sections(data: bytes) -> list[tuple[int, bytes]]:
    header = ffi.from_buffer("fil_header *", bytearray(data[:64]))
    rows = ffi.from_buffer("fil_section[]", bytearray(data[64 : 64 + 24 * header.section_count]))
    return [(row.kind, data[row.offset : row.offset + row.bytes]) for row in rows]


def test_a_small_file_cannot_unpack_to_a_huge_matrix() -> None:
    tiny = sample()
    before = packfile.decode(tiny.encode()).weights
    assert len(before) == len(tiny.weights)
    tiny.matrix(np.zeros((1, 4), np.float32), np.zeros(1), block_rows=1, coding=c.FIL_CODING_D8)
    huge = tiny.weights[-1]
    huge.rows = huge.groups = c.FIL_MAX_DIM
    huge.cols = c.FIL_MAX_COLS
    huge.count_offset = tiny.blob(bytes(2 * c.FIL_MAX_DIM))
    huge.bias_offset = tiny.blob(bytes(4 * c.FIL_MAX_DIM))
    with pytest.raises(BadFile, match=r"unpacks to 68,\d{3},\d{3},\d{3} values"):
        packfile.decode(tiny.encode())


def test_long_names_stay_apart(small: Program) -> None:
    stem = "ein sehr langer Name für eine Größe " * 3
    port = small.inputs[0]
    named = [
        dataclasses.replace(small, inputs=(dataclasses.replace(port, name=stem + end),))
        for end in "ab"
    ]
    names = [packfile.decode(packfile.encode(p)).inputs[0].name for p in named]
    assert names[0] != names[1]
    assert all(len(name.encode()) < c.FIL_NAME_BYTES for name in names)


def test_unplanned_and_unpacked_are_refused(small: Program) -> None:
    with pytest.raises(ValueError, match="no memory plan"):
        packfile.encode(dataclasses.replace(small, plan=None))
    with pytest.raises(ValueError, match="not packed"):
        packfile.encode(dataclasses.replace(small, weights=programs.two_layers().weights))


def test_parameters_are_those_of_op_def() -> None:
    rows = (ROOT / "native" / "include" / "filigree" / "op.def").read_text(encoding="utf-8")
    for line in rows.splitlines():
        if line.startswith("X("):
            name, _, member = (part.strip() for part in line[2 : line.index(")")].split(","))
            assert structs.member(structs.PARAMS[getattr(c, f"FIL_OP_{name}")]) == member


def test_constants_with_padding_come_back() -> None:
    program = programs.two_layers()
    data = np.arange(46, dtype=np.float32).reshape(2, 23)
    wide = Tensor("shift", (2, 23), 1, 24, Place.CONST, data)
    tensors = {**program.tensors, "shift": wide}
    small = plan(programs.packed(dataclasses.replace(program, tensors=tensors)))
    back = packfile.decode(packfile.encode(small)).tensors["shift"]
    assert back.data is not None
    assert np.array_equal(back.data, data)


class TestWrite:
    def test_writes_and_replaces(self, tmp_path: Path) -> None:
        path = tmp_path / "m.fil"
        packfile.write(path, b"one")
        packfile.write(path, b"two")
        assert path.read_bytes() == b"two"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_failure_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        path = tmp_path / "m.fil"
        path.write_bytes(b"old")

        def fail(*_: object, **__: object) -> None:
            raise OSError("disk full")

        if call == "fsync":
            monkeypatch.setattr(os, "fsync", fail)
        else:
            monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            packfile.write(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_interrupt_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            packfile.write(tmp_path / "m.fil", b"new")
        assert not list(tmp_path.iterdir())

    def test_a_link_is_replaced_not_followed(self, tmp_path: Path) -> None:
        target, link = tmp_path / "target", tmp_path / "m.fil"
        target.write_bytes(b"precious")
        link.symlink_to(target)
        packfile.write(link, b"new")
        assert target.read_bytes() == b"precious"
        assert link.read_bytes() == b"new" and not link.is_symlink()

    def test_permissions_follow_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            packfile.write(tmp_path / "m.fil", b"x")
        finally:
            os.umask(before)
        assert (tmp_path / "m.fil").stat().st_mode & 0o777 == 0o640
