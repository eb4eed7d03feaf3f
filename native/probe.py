"""What a core of this machine can do: multiply-adds in registers, and bytes from every level of its
memory. Each call measures once, briefly: take turns with what is to be compared.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from filigree.native._ffi import ffi, lib
from filigree.native.model import aligned_empty

PEAK_NS = 200_000  # of one measurement, about
TRIAD_NS = 400_000
TRIAD_BYTES = 12  # an element: two read, one written
USUAL_CACHES = {"L1": 32 << 10, "L2": 512 << 10}  # where the system does not tell
DRAM = "DRAM"
MOST_BYTES = 256 << 20  # of the working set that stands for main memory

_CPU = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Level:
    """A level of memory: ``bytes`` it holds, None for main memory."""

    name: str
    bytes: int | None


def levels() -> list[Level]:
    """The data caches of a core, smallest first, then main memory."""
    found = _caches_of_linux() or USUAL_CACHES
    return [*(Level(name, found[name]) for name in sorted(found)), Level(DRAM, None)]


def near() -> Level:
    """What stays near a core: its second-level cache, or the only one."""
    caches = levels()[:-1]
    return caches[min(1, len(caches) - 1)]


def peak(isa: str) -> float:
    """Floating-point operations per second of nothing but multiply-adds (2 each)."""
    index, flops = _isa(isa), ffi.new("uint64_t *")
    took, rounds = 0, 256
    while took < PEAK_NS / 4:
        rounds *= 4
        took = lib.fil_probe_peak(index, rounds, flops)
    return float(flops[0] / took * 1e9)


class Triad:
    """a = b + s * c over ``working_set`` bytes: the bandwidth of whichever memory holds them."""

    def __init__(self, isa: str, working_set: int) -> None:
        self._isa = _isa(isa)
        self._count = max(64, working_set // TRIAD_BYTES // 64 * 64)
        self._arrays = [aligned_empty(4 * self._count) for _ in range(3)]
        self._pointers = [ffi.from_buffer("float *", array) for array in self._arrays]
        self._rounds = max(1, round(TRIAD_NS / self._ns(1)))

    def rate(self) -> float:
        """Bytes read and written per second."""
        return self._rounds * self._count * TRIAD_BYTES / self._ns(self._rounds) * 1e9

    def _ns(self, rounds: int) -> int:
        lib.fil_probe_triad(self._isa, *self._pointers, self._count, 1)  # bring it near
        took = lib.fil_probe_triad(self._isa, *self._pointers, self._count, rounds)
        return max(1, int(took))


def triads(isa: str) -> dict[str, Triad]:
    """One per level, its working set half of that level; of main memory, four times the last."""
    known = levels()
    sizes = {level.name: level.bytes // 2 for level in known if level.bytes is not None}
    largest = 2 * max(sizes.values())
    sizes[DRAM] = min(MOST_BYTES, 4 * largest)
    return {name: Triad(isa, size) for name, size in sizes.items()}


def _isa(name: str) -> int:
    index = int(lib.fil_isa_find(name.encode()))
    if index < 0 or not lib.fil_isa_present(index):
        raise ValueError(f'"{name}" is not an instruction set that is here')
    return index


def _caches_of_linux() -> dict[str, int]:
    found: dict[str, int] = {}
    for folder in _CPU.glob("index*"):
        with contextlib.suppress(OSError, ValueError):
            if (folder / "type").read_text().strip() != "Instruction":
                size = (folder / "size").read_text().strip()
                found[f"L{int((folder / 'level').read_text())}"] = _bytes(size)
    return found


def _bytes(size: str) -> int:
    """``1024K``."""
    unit = {"K": 1 << 10, "M": 1 << 20}.get(size[-1:], 1)
    return int(size.rstrip("KM")) * unit
