"""Every enum and limit of the C headers, by its C name: ``enums.FIL_OP_SPMM``.

Nothing is retyped here; a name the headers do not have raises AttributeError.
"""

from __future__ import annotations

from filigree.native._ffi import lib


def __getattr__(name: str) -> int:
    value = getattr(lib, name)
    if not isinstance(value, int):
        raise AttributeError(f"{name} is not a constant of filigree's C headers")
    return value
