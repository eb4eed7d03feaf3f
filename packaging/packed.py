"""What a microcontroller's image has to know of a packed model before the runtime has opened it:
the memory to place and the operations to link. native/SPEC.md has the bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from filigree.packaging import sources
from filigree.packaging.errors import BadFile

MAGIC = b"FIL1"
HEADER, SECTION = struct.Struct("<4sHHIIQQI"), struct.Struct("<IIQQ")
HEADER_BYTES, TENSOR_BYTES, OP_BYTES, PORT_BYTES = 64, 64, 104, 80
TENSORS, PROGRAM, PORTS = 1, 3, 5  # kinds of sections
TENSOR_SIZE_AT = 40  # of a tensor's row: its bytes
PORT_ALIGN = 16  # native/runner/mcu.c


@dataclass(frozen=True)
class Needs:
    """Bytes of the arena and of all ports, each aligned, and the names of the operations used."""

    arena_bytes: int
    ports_bytes: int
    ops: tuple[str, ...]


def needs(fil: bytes) -> Needs:
    """Read from the tables alone; the runtime checks all of the file. Raises BadFile."""
    try:
        magic, _, _, _, _, _, arena, count = HEADER.unpack_from(fil)
        if magic != MAGIC:
            raise BadFile("the file is not a packed model")
        rows = [SECTION.unpack_from(fil, HEADER_BYTES + i * SECTION.size) for i in range(count)]
        if any(offset + size > len(fil) for _, _, offset, size in rows):
            raise BadFile("the packed model ends early")
        found = {kind: fil[offset : offset + size] for kind, _, offset, size in rows}
        ports = [_port_bytes(found, at) for at in range(0, len(found[PORTS]), PORT_BYTES)]
        names = list(sources.ops())
        used = {
            names[struct.unpack_from("<H", found[PROGRAM], at)[0]]
            for at in range(0, len(found[PROGRAM]), OP_BYTES)
        }
    except (struct.error, KeyError, IndexError) as error:
        raise BadFile("the packed model's tables are damaged") from error
    return Needs(arena, sum(ports), tuple(name for name in names if name in used))


def _port_bytes(found: dict[int, bytes], at: int) -> int:
    (tensor,) = struct.unpack_from("<H", found[PORTS], at)
    (size,) = struct.unpack_from("<Q", found[TENSORS], tensor * TENSOR_BYTES + TENSOR_SIZE_AT)
    return -(-int(size) // PORT_ALIGN) * PORT_ALIGN
