"""Useful GFLOP/s of the kernels on this machine, beside its multiply-add peak:

    python -m tests.kernels.speed [--isa avx512] [KERNEL ...]

Only stored weights count as work. Medians of 15 samples of at least 20 ms, one thread.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter.lowering.program import padded_pitch
from filigree.native import probe
from tests.kernels import library
from tests.kernels.harness import _set, epilogue, fill, paint
from tests.kernels.matrices import Matrix
from tests.kernels.windows import Window

LANES = 16


@dataclass(frozen=True)
class Bench:
    """One kernel on one shape: ``work`` multiply-adds and what to call it with."""

    kernel: str
    name: str
    work: int
    fields: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    out: int
    scratch: tuple[str, int] | None = None


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """A copy of a flat array that starts on a cache line, as an arena's tensors do."""
    held = np.empty(values.nbytes + 64, np.uint8)
    start = -held.ctypes.data % 64
    view = held[start : start + values.nbytes].view(values.dtype)
    view[:] = values.reshape(-1)
    return view


def seconds(bench: Bench, isa: str) -> float:
    ffi, _ = library.load()
    args = ffi.new(f"fil_{bench.kernel}_args *")
    keep: list[Any] = fill(args, bench.fields)
    sizes = {"out": np.zeros(bench.out, np.float32)}
    if bench.scratch is not None:
        sizes[bench.scratch[0]] = np.zeros(bench.scratch[1] // 4, np.float32)
    for name, values in {**bench.arrays, **sizes}.items():
        keep.append(aligned(values))
        kind = "float *" if values.dtype == np.float32 else "void *"
        _set(args, name, ffi.cast(kind, keep[-1].ctypes.data))
    return timed(ffi.cast("void (*)(const void *)", library.kernel(bench.kernel, isa)), args)


def timed(kernel: Any, args: Any) -> float:
    ffi, lib = library.load()
    samples = ffi.new("double[15]")
    lib.fil_time(kernel, args, 0.02, len(samples), samples)
    return statistics.median(samples)


def peak(isa: str) -> float:
    """GFLOP/s of nothing but multiply-adds."""
    return statistics.median(probe.peak(isa) for _ in range(15)) / 1e9


def sparse(rows: int, cols: int, block_rows: int, density: float) -> Matrix:
    if density == 1:
        return Matrix(paint(rows, cols), paint(rows), block_rows, "none")
    keep = np.random.default_rng(0).random((-(-rows // block_rows), cols)) < density
    dense = paint(rows, cols) * np.repeat(keep, block_rows, axis=0)[:rows]
    return Matrix(dense, paint(rows), block_rows, "d8")


def stored(w: Matrix) -> int:
    return int(np.count_nonzero(w.dense))


def spmm(rows: int, cols: int, positions: int, block_rows: int, density: float) -> Bench:
    w, pitch = sparse(rows, cols, block_rows, density), padded_pitch(positions)
    fields = {"w": w.fields(), "x_pitch": pitch, "out_pitch": pitch, "positions": positions}
    fields["e"] = epilogue("clamp", lo=0.0, hi=6.0)
    name = f"{rows}x{cols}x{positions} {block_rows}x1 {density:.0%}"
    arrays = {**w.arrays(), "x": paint(cols * pitch)}
    return Bench("spmm", name, stored(w) * positions, fields, arrays, rows * pitch)


def spmv(rows: int, cols: int, block_rows: int, density: float) -> Bench:
    w = sparse(rows, cols, block_rows, density)
    name = f"{rows}x{cols} {block_rows}x1 {density:.0%}"
    return Bench("spmv", name, stored(w), {"w": w.fields()}, {**w.arrays(), "x": paint(cols)}, rows)


def conv(
    rows: int, channels: int, window: Window, density: float, *, pixels: bool = False
) -> Bench:
    n_in, n = window.h * window.w, window.out_h * window.out_w
    block_rows = 8 if density == 1 else 4
    w = sparse(rows, channels * window.kh * window.kw, block_rows, density)
    planar = {"cs": padded_pitch(n_in), "ys": window.w, "xs": 1}
    walk = {"cs": 1, "ys": window.w * channels, "xs": channels} if pixels else planar
    pitch = padded_pitch(n)
    fields = {"w": w.fields(), "g": window.fields() | walk | {"channels": channels}}
    fields |= {"out_pitch": pitch, "e": epilogue("clamp", lo=0.0, hi=6.0)}
    fields |= {"first": 0, "positions": n, "ring": window.h}
    name = f"{rows}x{channels} {window}{' pixels' * pixels} {density:.0%}"
    arrays = {**w.arrays(), "x": paint(channels * padded_pitch(n_in))}
    scratch = ("panel", w.dense.shape[1] * 64 * 4)
    return Bench("conv", name, stored(w) * n, fields, arrays, rows * pitch, scratch)


def dwconv(channels: int, size: int, k: int, stride: int) -> Bench:
    ffi, lib = library.load()
    pad = k // 2
    window = Window(size, size, k, k, stride, stride, 1, 1, pad, pad, pad, pad)
    n_in, n = size * size, window.out_h * window.out_w
    geometry = window.fields() | {"channels": channels}
    matrix = {"rows": channels, "cols": k * k, "groups": channels, "block_rows": 1}
    fields = {"w": matrix, "g": geometry, "x_pitch": padded_pitch(n_in)}
    fields |= {"out_pitch": padded_pitch(n), "e": epilogue("clamp", lo=0.0, hi=6.0)}
    fields |= {"first": 0, "rows": window.out_h, "ring": window.h}
    arrays = {"w.values": paint(channels * k * k), "w.bias": paint(channels)}
    arrays["x"] = paint(channels * padded_pitch(n_in))
    scratch = ("scratch", int(lib.fil_dwconv_scratch(ffi.new("fil_conv *", geometry))))
    name = f"{channels}x{size}x{size} k{k} s{stride}"
    work = channels * n * k * k
    return Bench("dwconv", name, work, fields, arrays, channels * padded_pitch(n), scratch)


def benches() -> Iterator[Callable[[], Bench]]:
    for rows, cols, positions in (
        (64, 32, 12544),
        (128, 64, 3136),
        (128, 128, 3136),
        (256, 256, 784),
        (512, 512, 196),
        (1024, 1024, 49),
        (24, 144, 3136),
        (96, 576, 196),
    ):
        yield lambda r=rows, c=cols, p=positions: spmm(r, c, p, 4, 0.2)
    for block_rows, density in ((8, 1.0), (1, 0.2), (2, 0.2), (8, 0.2), (16, 0.2), (4, 0.1)):
        for rows, positions in ((512, 196), (128, 3136)):
            yield lambda o=block_rows, d=density, r=rows, p=positions: spmm(r, r, p, o, d)
    for channels, size, stride in (
        (32, 112, 1),
        (128, 56, 1),
        (256, 28, 1),
        (512, 14, 1),
        (1024, 7, 1),
        (64, 112, 2),
        (128, 56, 2),
        (256, 28, 2),
        (512, 14, 2),
    ):
        yield lambda c=channels, n=size, s=stride: dwconv(c, n, 3, s)
    for channels, size, stride in ((240, 28, 1), (480, 14, 1), (960, 7, 1), (72, 56, 2)):
        yield lambda c=channels, n=size, s=stride: dwconv(c, n, 5, s)
    first = Window(224, 224, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1)
    yield lambda: conv(32, 3, first, 1.0)
    yield lambda: conv(32, 3, first, 1.0, pixels=True)
    for rows, size, density in ((16, 32, 1.0), (64, 56, 1.0), (64, 56, 0.2), (64, 8, 0.2)):
        window = Window(size, size, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1)
        yield lambda r=rows, w=window, d=density: conv(r, r, w, d)
    yield lambda: conv(128, 64, Window(28, 28, 1, 1, 2, 2), 0.2)
    for rows, cols, block_rows, density in (
        (1000, 1024, 16, 1.0),
        (128, 640, 16, 1.0),
        (640, 128, 4, 0.2),
        (640, 128, 16, 0.2),
        (640, 128, 1, 0.2),
    ):
        yield lambda r=rows, c=cols, o=block_rows, d=density: spmv(r, c, o, d)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isa", action="append")
    parser.add_argument("kernels", nargs="*")
    given = parser.parse_args()
    isas = given.isa or [n for n in library.host_isas() if library.present(n)]
    peaks = {isa: peak(isa) for isa in isas}
    print(f"{'peak':48}" + "".join(f"{isa:>10} {peaks[isa]:6.1f}      " for isa in isas))
    for make in benches():
        bench = make()
        if given.kernels and bench.kernel not in given.kernels:
            continue
        cells = [2 * bench.work / seconds(bench, isa) / 1e9 for isa in isas]
        row = "".join(
            f"{2 * bench.work / rate / 1e3:10.1f} us {rate:6.1f} {rate / peaks[isa]:4.0%}"
            for isa, rate in zip(isas, cells, strict=True)
        )
        print(f"{bench.kernel:7} {bench.name:40}{row}", flush=True)


if __name__ == "__main__":
    main()
