"""Run one kernel on guarded buffers and compare it with float64 numpy.

Every buffer ends at a page that nobody may touch, then, in a second run, starts behind one: one
byte read or written outside is a failure that names the buffer. Values are painted with a prime
period, so that swapped vectors, groups or rows cannot hide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.native import enums as c
from tests.kernels import library

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
UNTOUCHED = np.float32(-12345.0)


def paint(*shape: int, seed: int = 0) -> F32:
    """Values in about [-1, 1] of prime period, none of them 0."""
    i = np.arange(int(np.prod(shape)), dtype=np.int64) + 17 * seed
    return (((i * 37 + 11) % 251 - 124.5) / 125).astype(np.float32).reshape(shape)


def up(n: int, step: int) -> int:
    return -(-n // step) * step


@dataclass
class Buffers:
    """Guarded copies of arrays, by the name that a failure will say."""

    at_end: bool
    named: dict[str, tuple[Any, NDArray[Any]]] = field(default_factory=dict)

    def put(self, name: str, values: NDArray[Any]) -> Any:
        """A pointer to a guarded copy of ``values``."""
        ffi, lib = library.load()
        memory = lib.fil_guard(values.nbytes, int(self.at_end))
        if memory == ffi.NULL:
            raise MemoryError(name)
        view = np.frombuffer(ffi.buffer(memory, values.nbytes), dtype=values.dtype)
        view[:] = values.reshape(-1)
        self.named[name] = (memory, view)
        return ffi.cast("float *" if values.dtype.kind == "f" else "void *", memory)

    def close(self) -> None:
        _, lib = library.load()
        for memory, view in self.named.values():
            lib.fil_unguard(memory, view.nbytes)

    def blame(self, address: int) -> str:
        ffi, _ = library.load()
        for name, (memory, view) in self.named.items():
            offset = address - int(ffi.cast("uintptr_t", memory))
            if -4096 <= offset < view.nbytes + 8192:
                return f"{name} at byte {offset} of {view.nbytes}"
        return hex(address)


@contextmanager
def buffers(at_end: bool) -> Iterator[Buffers]:
    made = Buffers(at_end)
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class Case:
    """One run: ``arrays`` go into guarded memory and are named by the fields of the arguments that
    point at them; ``fields`` are the other fields. ``out`` is the length of the result's buffer."""

    kernel: str
    arrays: Mapping[str, NDArray[Any]]
    fields: Mapping[str, Any]
    out: int
    scratch: tuple[str, int] | None = None  # field, bytes
    untouched: np.generic = UNTOUCHED


def run(case: Case, isa: str) -> NDArray[Any]:
    """The result's buffer after the run, elements that were not written being UNTOUCHED.

    The same bits are required from both placements of the buffers."""
    first, second = (_run_once(case, isa, at_end=at_end) for at_end in (True, False))
    assert np.array_equal(first, second, equal_nan=True), "depends on where its buffers lie"
    return first


def _run_once(case: Case, isa: str, *, at_end: bool) -> NDArray[Any]:
    ffi, lib = library.load()
    with buffers(at_end) as b:
        args = ffi.new(f"fil_{case.kernel}_args *")
        keep = fill(args, case.fields)
        for name, values in case.arrays.items():
            _set(args, name, b.put(name, values))
        if case.scratch is not None:
            name, size = case.scratch
            filler = np.full(size, 77, np.uint8) if case.untouched.itemsize == 1 else None
            nans = np.full(size // 4, np.nan, np.float32)
            _set(args, name, b.put(name, nans if filler is None else filler))
        args.out = b.put("out", np.full(case.out, case.untouched))
        run_it = ffi.cast("void (*)(const void *)", library.kernel(case.kernel, isa))
        fault = lib.fil_guarded(run_it, args)
        assert not fault, f"touches memory outside {b.blame(fault)}"
        del keep
        return b.named["out"][1].copy()


def fill(target: Any, fields: Mapping[str, Any]) -> list[Any]:
    """Set fields of a C struct; a mapping becomes a struct of its own where the field is a pointer.
    Returns what must stay alive."""
    ffi, _ = library.load()
    keep: list[Any] = []
    for name, value in fields.items():
        if not isinstance(value, Mapping):
            setattr(target, name, value)
            continue
        kind = dict(ffi.typeof(target).item.fields)[name].type
        if kind.kind == "struct":
            part = ffi.addressof(target, name)
        else:
            part = ffi.new(f"{kind.item.cname} *")
            setattr(target, name, part)
        keep += [part, *fill(part, value)]
    return keep


def _set(args: Any, path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        args = getattr(args, parent)
    setattr(args, name, value)


def epilogue(act: str = "none", *, lo: float = 0.0, hi: float = 0.0) -> dict[str, Any]:
    return {"act": getattr(c, f"FIL_ACT_{act.upper()}"), "lo": lo, "hi": hi}


ACTS: tuple[tuple[str, float, float], ...] = (
    ("none", 0.0, 0.0),
    ("clamp", 0.0, float("inf")),
    ("clamp", -float("inf"), 0.5),
    ("clamp", 0.0, 6.0),
    ("hardsigmoid", 1 / 6, 0.5),
    ("hardswish", 1 / 6, 0.5),
    ("sigmoid", 0.0, 0.0),
    ("tanh", 0.0, 0.0),
    ("leakyrelu", 0.1, 0.0),
    ("silu", 0.0, 0.0),
    ("abs", 0.0, 0.0),
    ("neg", 0.0, 0.0),
)


SMOOTH = frozenset({"hardsigmoid", "hardswish", "sigmoid", "tanh", "leakyrelu", "silu"})


def act_name(act: tuple[str, float, float]) -> str:
    return act[0] if act[0] != "clamp" else f"clamp_{act[1]:g}_{act[2]:g}"


def activated(x: F64, act: tuple[str, float, float]) -> F64:
    """The activations of act.def in float64; lo and hi are rounded as the kernel has them."""
    name, lo, hi = act[0], float(np.float32(act[1])), float(np.float32(act[2]))
    with np.errstate(over="ignore", invalid="ignore"):
        values: dict[str, Any] = {
            "none": lambda: x,
            "clamp": lambda: np.minimum(np.maximum(x, lo), hi),
            "hardsigmoid": lambda: np.clip(lo * x + hi, 0, 1),
            "hardswish": lambda: x * np.clip(lo * x + hi, 0, 1),
            "sigmoid": lambda: 1 / (1 + np.exp(-x)),
            "tanh": lambda: np.tanh(x),
            "leakyrelu": lambda: np.where(x < 0, lo * x, x),
            "silu": lambda: x / (1 + np.exp(-x)),
            "exp": lambda: np.exp(x),
            "sqrt": lambda: np.sqrt(x),
            "abs": lambda: np.abs(x),
            "neg": lambda: -x,
        }
        return np.asarray(values[name](), dtype=np.float64)


def planes(out: F32, rows: int, n: int, pitch: int, step: int) -> F32:
    """The rows x n result of a buffer of planes. Nothing may be written between the rounded-up end
    of a plane and the next plane."""
    whole = np.full(rows * pitch, UNTOUCHED)
    whole[: out.size] = out
    grid = whole.reshape(rows, pitch)
    assert (grid[:, up(n, step) :] == UNTOUCHED).all(), "writes past a plane's padding"
    return grid[:, :n]


def spread(values: F32, pitch: int, step: int) -> F32:
    """Planes as a kernel may see them: NaN in the padding, nothing after the last plane's."""
    rows, n = values.shape
    grid = np.full((rows, pitch), np.nan, np.float32)
    grid[:, :n] = values
    return grid.reshape(-1)[: (rows - 1) * pitch + up(n, step)]


def assert_same(one: F32, other: F32) -> None:
    """The same bits: halves are widened exactly, and then it is the same arithmetic."""
    np.testing.assert_array_equal(one.view(np.uint32), other.view(np.uint32))


def assert_close(got: F32, want: F64, scale: F64 | float) -> None:
    """|got - want| <= 2e-6 of ``scale``, the sum of the magnitudes that were added."""
    assert got.shape == want.shape
    error = np.abs(got.astype(np.float64) - want)
    allowed = 2e-6 * np.maximum(np.broadcast_to(scale, want.shape), 1e-3) + 1e-30
    worst = np.unravel_index(np.argmax(np.nan_to_num(error / allowed, nan=np.inf)), want.shape)
    assert (error <= allowed).all(), (
        f"at {tuple(int(i) for i in worst)}: got {got[worst]!r}, want {want[worst]!r}"
    )
