"""What a packed model's header and section table say, read through the C structs."""

from __future__ import annotations

from dataclasses import dataclass

from filigree.native._ffi import ffi


@dataclass(frozen=True)
class Section:
    """One section: its name in lower case, where it lies, and its CRC-32C."""

    name: str
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Header:
    """The fixed header; sizes in bytes, ``lanes`` in elements."""

    version: int
    lanes: int
    required: int
    optional: int
    file_bytes: int
    arena_bytes: int


def header(data: bytes) -> Header:
    """The header of a file that the runtime has accepted."""
    raw = ffi.from_buffer("fil_header *", data)
    return Header(**{name: int(getattr(raw, name)) for name in Header.__dataclass_fields__})


def sections(data: bytes) -> list[Section]:
    """The sections of a file that the runtime has accepted."""
    count = int(ffi.from_buffer("fil_header *", data).section_count)
    start = ffi.sizeof("fil_header")
    end = start + count * ffi.sizeof("fil_section")
    table = ffi.from_buffer("fil_section[]", data[start:end])
    names = ffi.typeof("fil_section_kind").elements
    return [
        Section(
            names.get(table[i].kind, f"kind {table[i].kind}").removeprefix("FIL_SECTION_").lower(),
            int(table[i].offset),
            int(table[i].bytes),
            int(table[i].crc),
        )
        for i in range(count)
    ]


def op_name(kind: int) -> str:
    """``spmm`` for FIL_OP_SPMM."""
    name: str = ffi.typeof("fil_op_kind").elements[kind]
    return name.removeprefix("FIL_OP_").lower()
