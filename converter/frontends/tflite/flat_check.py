"""What is wrong with the bytes of a TFLite file, before anything of it is read.

A flatbuffer is tables that point at tables. ``TABLES`` below lists what the front end reads of
TFLite's schema; fields that are not listed are never followed, so nothing behind them matters.

1. Every table, its vtable, every field and every vector that is read lies inside the file.
2. There are at most MOST_TABLES tables, however often one is pointed at, and the vectors together
   are at most MOST_SHARED times the file: a small file must not be read as a large one.
3. Nesting is that of the schema, which has no cycles here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

MOST_TABLES = 1 << 17
MOST_SHARED = 8
FREE_BYTES = 1 << 20


@dataclass(frozen=True)
class Scalar:
    """A number of ``size`` bytes in the table itself."""

    size: int


@dataclass(frozen=True)
class Vector:
    """Numbers of ``size`` bytes each; a string is one of single bytes."""

    size: int


@dataclass(frozen=True)
class One:
    """One table."""

    table: str


@dataclass(frozen=True)
class Many:
    """A vector of tables."""

    table: str


@dataclass(frozen=True)
class Choice:
    """A table whose kind is the byte in slot ``kind``; kinds that are not listed are not read."""

    kind: int
    tables: Mapping[int, str]


Field = Scalar | Vector | One | Many | Choice

BYTE, SHORT, INT, LONG, FLOAT = Scalar(1), Scalar(2), Scalar(4), Scalar(8), Scalar(4)
BYTES, SHORTS, INTS, LONGS, FLOATS = Vector(1), Vector(2), Vector(4), Vector(8), Vector(4)
OPTIONS = {
    1: "Conv2DOptions",
    2: "DepthwiseConv2DOptions",
    5: "Pool2DOptions",
    8: "FullyConnectedOptions",
    9: "SoftmaxOptions",
    10: "ConcatenationOptions",
    11: "AddOptions",
    12: "L2NormOptions",
    17: "ReshapeOptions",
    21: "MulOptions",
    27: "ReducerOptions",
    28: "SubOptions",
    29: "DivOptions",
    32: "StridedSliceOptions",
    75: "LeakyReluOptions",
}
SEGMENTS = {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"}
TABLES: dict[str, dict[int, Field]] = {
    "Model": {
        0: INT,
        1: Many("OperatorCode"),
        2: Many("SubGraph"),
        3: BYTES,
        4: Many("Buffer"),
    },
    "OperatorCode": {0: BYTE, 1: BYTES, 2: INT, 3: INT},
    "SubGraph": {0: Many("Tensor"), 1: INTS, 2: INTS, 3: Many("Operator")},
    "Tensor": {
        0: INTS,
        1: BYTE,
        2: INT,
        3: BYTES,
        4: One("QuantizationParameters"),
        5: BYTE,
        6: One("SparsityParameters"),
    },
    "Buffer": {0: BYTES, 1: LONG, 2: LONG},
    "QuantizationParameters": {2: FLOATS, 3: LONGS, 4: BYTE, 6: INT},
    "SparsityParameters": {0: INTS, 1: INTS, 2: Many("DimensionMetadata")},
    "DimensionMetadata": {
        0: BYTE,
        1: INT,
        2: BYTE,
        3: Choice(2, SEGMENTS),
        4: BYTE,
        5: Choice(4, SEGMENTS),
    },
    "Int32Vector": {0: INTS},
    "Uint16Vector": {0: SHORTS},
    "Uint8Vector": {0: BYTES},
    "Operator": {0: INT, 1: INTS, 2: INTS, 3: BYTE, 4: Choice(3, OPTIONS)},
    "Conv2DOptions": {0: BYTE, 1: INT, 2: INT, 3: BYTE, 4: INT, 5: INT},
    "DepthwiseConv2DOptions": {0: BYTE, 1: INT, 2: INT, 3: INT, 4: BYTE, 5: INT, 6: INT},
    "Pool2DOptions": {0: BYTE, 1: INT, 2: INT, 3: INT, 4: INT, 5: BYTE},
    "FullyConnectedOptions": {0: BYTE, 1: BYTE, 2: BYTE},
    "SoftmaxOptions": {0: FLOAT},
    "ConcatenationOptions": {0: INT, 1: BYTE},
    "AddOptions": {0: BYTE},
    "SubOptions": {0: BYTE},
    "MulOptions": {0: BYTE},
    "DivOptions": {0: BYTE},
    "L2NormOptions": {0: BYTE},
    "ReshapeOptions": {0: INTS},
    "ReducerOptions": {0: BYTE},
    "LeakyReluOptions": {0: FLOAT},
    "StridedSliceOptions": {0: INT, 1: INT, 2: INT, 3: INT, 4: INT, 5: BYTE},
}


def fault(data: bytes) -> str | None:
    """The first thing that is wrong, with where it is; None if all of it can be read."""
    try:
        _Walk(data).table("Model", _Walk(data).offset(0))
    except _Fault as found:
        return str(found)
    return None


class _Fault(Exception):
    pass


class _Walk:
    """Follows a file's offsets; raises _Fault at the first that leads out of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._tables = 0
        self._shared = 0

    def offset(self, at: int) -> int:
        """Where the offset at ``at`` points."""
        self._inside(at, 4, "an offset")
        step: int = struct.unpack_from("<I", self._data, at)[0]
        return at + step

    def table(self, kind: str, at: int) -> None:
        """Check the table at ``at`` and all that it points at."""
        self._tables += 1
        if self._tables > MOST_TABLES:
            raise _Fault(f"it has over {MOST_TABLES} tables")
        slots, size = self._vtable(kind, at)
        found = {}
        for slot, field in TABLES[kind].items():
            step = slots[slot] if slot < len(slots) else 0
            if not step:
                continue
            width = field.size if isinstance(field, Scalar) else 4
            if step < 4 or step + width > size:
                raise _Fault(f"field {slot} of the {kind} at byte {at} lies outside of it")
            found[slot] = at + step
        for slot, place in found.items():
            self._follow(TABLES[kind][slot], place, found)

    def _vtable(self, kind: str, at: int) -> tuple[tuple[int, ...], int]:
        """Where every slot's field is in the table, 0 if it is left out; the table's size."""
        self._inside(at, 4, f"a {kind}")
        start = at - struct.unpack_from("<i", self._data, at)[0]
        self._inside(start, 4, f"the vtable of the {kind} at byte {at}")
        length, size = struct.unpack_from("<HH", self._data, start)
        if length < 4 or length % 2 or size < 4:
            raise _Fault(f"the vtable of the {kind} at byte {at} has {length} bytes for {size}")
        self._inside(start, length, f"the vtable of the {kind} at byte {at}")
        self._inside(at, size, f"the {kind} at byte {at}")
        return struct.unpack_from(f"<{length // 2 - 2}H", self._data, start + 4), size

    def _follow(self, field: Field, at: int, found: Mapping[int, int]) -> None:
        if isinstance(field, One):
            self.table(field.table, self.offset(at))
        elif isinstance(field, Choice):
            kind = self._data[found[field.kind]] if field.kind in found else 0
            if kind in field.tables:
                self.table(field.tables[kind], self.offset(at))
        elif isinstance(field, Vector):
            self._vector(self.offset(at), field.size)
        elif isinstance(field, Many):
            first, count = self._vector(self.offset(at), 4)
            for i in range(count):
                self.table(field.table, self.offset(first + 4 * i))

    def _vector(self, at: int, size: int) -> tuple[int, int]:
        """Where the elements of a vector begin, and how many there are."""
        self._inside(at, 4, "a vector")
        count: int = struct.unpack_from("<I", self._data, at)[0]
        self._inside(at + 4, count * size, f"the vector of {count} elements at byte {at}")
        self._shared += count * size
        if self._shared > FREE_BYTES + MOST_SHARED * len(self._data):
            raise _Fault("its vectors overlap each other over and over")
        return at + 4, count

    def _inside(self, at: int, size: int, what: str) -> None:
        if at < 0 or at + size > len(self._data):
            raise _Fault(f"{what} ends at byte {at + size}, the file at {len(self._data)}")
