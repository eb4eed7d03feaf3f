"""The instruction sets that the C list (``isa.def``) names."""

from __future__ import annotations

from filigree.native import enums
from filigree.native._ffi import ffi, lib


def known_isas() -> list[str]:
    """Every name, slowest first, whether present here or not."""
    return [ffi.string(lib.fil_isa_name(isa)).decode() for isa in range(enums.FIL_ISA_COUNT)]


def isa_lanes(isa: str) -> int:
    """Float32 elements of a vector."""
    return int(lib.fil_isa_lanes(lib.fil_isa_find(isa.encode())))
