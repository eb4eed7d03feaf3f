"""SPEC.md agrees with format.h byte by byte, and its example is a real file."""

from __future__ import annotations

import re

import pytest

from filigree.native._ffi import ffi
from tests.native import build, tiny

TEXT = (build.ROOT / "native" / "SPEC.md").read_text()
STRUCT = re.compile(r"^### `(fil_\w+)` \((\d+) bytes\)", re.M)
ROW = re.compile(r"^\| (\d+) \| (\d+) \| (\w+) \|", re.M)


def tables() -> dict[str, tuple[int, list[tuple[str, int, int]]]]:
    """Structure -> its size and (field, offset, bytes) rows, as SPEC.md has them."""
    parts = STRUCT.split(TEXT)[1:]
    return {
        name: (int(size), [(f, int(o), int(b)) for o, b, f in ROW.findall(text)])
        for name, size, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def test_every_structure_of_the_format_is_documented() -> None:
    public = {n for n in ffi.list_types()[0] if n.startswith("fil_")}
    structs = {n for n in public if ffi.typeof(n).kind == "struct"}
    assert structs - {"fil_model", "fil_parallel", "fil_team"} == set(tables())


@pytest.mark.parametrize("name", tables())
def test_fields(name: str) -> None:
    size, rows = tables()[name]
    fields = [
        (field, info.offset, ffi.sizeof(info.type)) for field, info in ffi.typeof(name).fields
    ]
    assert (size, rows) == (ffi.sizeof(name), fields)


def test_the_example_is_the_file() -> None:
    """Lines of offset, four words and a note; * stands for rows of zeros."""
    data = tiny.one_op().encode()
    seen = bytearray(len(data))
    for offset, words in re.findall(r"^([0-9a-f]{3})  ((?:[0-9a-f]{8} ?)+)", TEXT, re.M):
        row = bytes.fromhex(words.replace(" ", ""))
        seen[int(offset, 16) : int(offset, 16) + len(row)] = row
    assert bytes(seen) == data
