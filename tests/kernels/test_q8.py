"""int8 kernels on every instruction set: the very integers of numpy, nothing touched outside."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from filigree.native import enums as c
from tests.conftest import need
from tests.kernels import library
from tests.kernels.conftest import need_isa
from tests.kernels.harness import Case, run, up

I8 = NDArray[np.int8]
UNTOUCHED = np.int8(-99)
CODINGS = ("none", "d8", "u16")
SOFT = Path(__file__).with_name("soft.c")
MULTIPLIERS = 200_000


@pytest.fixture(params=["scalar", *library.built_isas()])
def isa(request: pytest.FixtureRequest) -> str:
    return need_isa(str(request.param))


@dataclass(frozen=True)
class Weights:
    """``dense`` [rows, cols], int8; ``columns`` stored of each group."""

    dense: I8
    columns: list[list[int]]
    block_rows: int
    coding: str
    sums: NDArray[np.int32]
    multipliers: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[Any]]:
        rows, o = self.dense.shape[0], self.block_rows
        padded = np.zeros((len(self.columns) * o, self.dense.shape[1]), np.int8)
        padded[:rows] = self.dense
        parts = []
        for g, columns in enumerate(self.columns):
            room = np.zeros((o, up(len(columns), 4)), np.int8)
            room[:, : len(columns)] = padded[g * o : (g + 1) * o][:, columns]
            parts.append(room.reshape(o, -1, 4).transpose(1, 0, 2).reshape(-1))
        found: dict[str, NDArray[Any]] = {
            "w.quads": np.concatenate([*parts, np.zeros(0, np.int8)]),
            "w.sums": self.sums,
            "w.multipliers": self.multipliers,
        }
        if self.coding != "none":
            found["w.count"] = np.array([len(x) for x in self.columns], np.uint16)
            flat = [i for x in self.columns for i in x]
            steps = [np.diff(x, prepend=0) for x in self.columns if x]
            index = np.array(flat) if self.coding == "u16" else np.concatenate([*steps, [0]])[:-1]
            found["w.index"] = index.astype(np.uint16 if self.coding == "u16" else np.uint8)
        return {k: v if v.size else np.zeros(1, v.dtype) for k, v in found.items()}

    def fields(self) -> dict[str, Any]:
        rows, cols = self.dense.shape
        sizes = {"rows": rows, "cols": cols, "groups": len(self.columns)}
        coding = getattr(c, f"FIL_CODING_{self.coding.upper()}")
        return {**sizes, "block_rows": self.block_rows, "coding": coding}


def weights(draw: np.random.Generator, rows: int, cols: int, o: int, coding: str) -> Weights:
    groups = -(-rows // o)
    keep = draw.random((groups, cols)) < draw.choice([0.1, 0.4, 1.0])
    if coding == "none":
        keep[:] = True
    dense = draw.integers(-128, 127, (rows, cols), endpoint=True).astype(np.int8)
    dense *= np.repeat(keep, o, axis=0)[:rows]
    columns = [np.flatnonzero(k).tolist() for k in keep]
    sums = draw.integers(-20000, 20000, groups * o).astype(np.int32)
    factors = (draw.random(groups * o) * 0.004 + 1e-6).astype(np.float32)
    return Weights(dense, columns, o, coding, sums, factors)


def rescale(draw: np.random.Generator) -> dict[str, Any]:
    lo, hi = sorted(draw.integers(-128, 127, 2, endpoint=True).tolist())
    if draw.random() < 0.5:
        lo, hi = -128, 127
    zeros = draw.integers(-128, 127, 2, endpoint=True).tolist()
    scale = float(np.float32(draw.random() * 2))
    names = ("zero", "lo", "hi", "residual_zero", "residual_scale")
    return dict(zip(names, (zeros[0], lo, hi, zeros[1], scale), strict=True))


def requantized(
    sums: NDArray[Any], w: Weights, q: dict[str, Any], residual: I8 | None
) -> NDArray[np.int8]:
    """[rows, positions] of exact sums, as native/SPEC.md says."""
    x = sums.astype(np.float32) * w.multipliers[: sums.shape[0], None]
    if residual is not None:
        y = residual.astype(np.int32) - q["residual_zero"]
        x = x + y.astype(np.float32) * np.float32(q["residual_scale"])
    x = np.clip(x, np.float32(q["lo"] - q["zero"]), np.float32(q["hi"] - q["zero"]))
    return (np.rint(x) + q["zero"]).astype(np.int8)


def spread(values: I8, pitch: int, step: int) -> I8:
    rows, n = values.shape
    grid = np.full((rows, pitch), 55, np.int8)
    grid[:, :n] = values
    return grid.reshape(-1)[: (rows - 1) * pitch + up(n, step)]


def planes(out: I8, rows: int, n: int, pitch: int, step: int) -> I8:
    whole = np.full(rows * pitch, UNTOUCHED)
    whole[: out.size] = out
    grid = whole.reshape(rows, pitch)
    assert (grid[:, up(n, step) :] == UNTOUCHED).all(), "writes past a plane's padding"
    return grid[:, :n]


def integers(draw: np.random.Generator, *shape: int) -> I8:
    return draw.integers(-128, 127, shape, endpoint=True).astype(np.int8)


def spmm(seed: int, isa: str, positions: int, rows: int, cols: int) -> None:
    draw, lanes = np.random.default_rng(seed), library.lanes(isa)
    o, coding = int(draw.choice([1, 2, 4, 8, 16])), str(draw.choice(CODINGS))
    w, q = weights(draw, rows, cols, o, coding), rescale(draw)
    pitch = up(positions, lanes) + int(draw.choice([0, lanes]))
    x, y = integers(draw, cols, positions), integers(draw, rows, positions)
    fields = {"x_pitch": pitch, "out_pitch": pitch, "residual_pitch": pitch}
    fields |= {"positions": positions, "w": w.fields(), "q": q}
    arrays = {**w.arrays(), "x": spread(x, pitch, lanes)}
    if seed % 3 == 0:
        arrays["residual"] = spread(y, pitch, lanes)
    size = (rows - 1) * pitch + up(positions, lanes)
    got = run(Case("qspmm", arrays, fields, size, untouched=UNTOUCHED), isa)
    sums = w.dense.astype(np.int64) @ x + w.sums[:rows, None]
    want = requantized(sums, w, q, y if seed % 3 == 0 else None)
    np.testing.assert_array_equal(planes(got, rows, positions, pitch, lanes), want)


@pytest.mark.parametrize(
    "positions", [*range(1, 36), 48, 49, 63, 64, 65, 80, 96, 97, 128, 129, 196]
)
def test_spmm(isa: str, positions: int) -> None:
    for seed in range(24):
        rows, cols = 1 + (seed * 7 + positions) % 19, 1 + (seed * 5) % 23
        spmm(1000 * positions + seed, isa, positions, rows, cols)


def test_spmm_of_many_columns(isa: str) -> None:
    for seed in range(6):
        spmm(seed, isa, 40, 21, 700)


def spmv(seed: int, isa: str, rows: int, cols: int, o: int) -> None:
    draw = np.random.default_rng(seed)
    w, q = weights(draw, rows, cols, o, str(CODINGS[seed % 3])), rescale(draw)
    x, y = integers(draw, cols), integers(draw, rows)
    arrays = {**w.arrays(), "x": x} | ({"residual": y} if seed % 2 else {})
    case = Case("qspmv", arrays, {"w": w.fields(), "q": q}, rows, untouched=UNTOUCHED)
    sums = w.dense.astype(np.int64) @ x + w.sums[:rows]
    want = requantized(sums[:, None], w, q, y[:, None] if seed % 2 else None)
    np.testing.assert_array_equal(run(case, isa), want[:, 0])


@pytest.mark.parametrize("o", [1, 2, 4, 8, 16])
def test_spmv(isa: str, o: int) -> None:
    for seed in range(96):
        spmv(seed, isa, 1 + (seed * 7) % 35, 1 + (seed * 11) % 150, o)


@pytest.mark.parametrize("cols", [1020, 1024, 1025, 2049, 4100])
def test_spmv_of_many_columns(isa: str, cols: int) -> None:
    for seed in range(15):
        spmv(seed, isa, 18, cols, 2 ** (seed % 5))


REDUCTIONS = {
    "along": {"outer_s": 80, "reduce_s": 1, "inner_s": 1, "inner": 1},
    "down": {"outer_s": 40 * 70, "reduce_s": 40, "inner_s": 1, "inner": 37},
    "apart": {"outer_s": 3 * 70, "reduce_s": 3, "inner_s": 210, "inner": 1},
    "planes": {"outer_s": 80 * 5, "reduce_s": 1, "inner_s": 80, "inner": 5},
}


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("fn", ["MEAN", "SUM", "MAX"])
def test_reduce(isa: str, fn: str, kind: str) -> None:
    draw = np.random.default_rng(3)
    for outer, reduce in [(1, 1), (3, 15), (66, 49), (7, 16), (17, 65)]:
        g = {"outer": outer, "reduce": reduce, **REDUCTIONS[kind]}
        inner = g["inner"]
        g |= {"outer_so": inner * 2, "inner_so": 2, "fn": getattr(c, f"FIL_REDUCE_{fn}")}
        steps = [(outer, g["outer_s"]), (reduce, g["reduce_s"]), (inner, g["inner_s"])]
        x = integers(draw, sum((n - 1) * s for n, s in steps) + 1)
        read = np.lib.stride_tricks.as_strided(x, [n for n, _ in steps], [s for _, s in steps])
        q, zero, factor = rescale(draw), int(draw.integers(-128, 128)), np.float32(0.03)
        fields = {"g": g, "q": q, "x_zero": zero, "multiplier": float(factor)}
        case = Case("qreduce", {"x": x}, fields, 2 * outer * inner - 1, untouched=UNTOUCHED)
        got = run(case, isa)
        sums = (read.astype(np.int64) - zero).sum(axis=1).astype(np.float32) * factor
        bounds = np.float32(q["lo"] - q["zero"]), np.float32(q["hi"] - q["zero"])
        want = np.rint(np.clip(sums, *bounds)) + q["zero"]
        if fn == "MAX":
            want = np.clip(read.max(axis=1), q["lo"], q["hi"])
        np.testing.assert_array_equal(got[::2], want.reshape(-1))
        assert (got[1::2] == UNTOUCHED).all()


def taps(x: I8, g: dict[str, int], zero: int) -> NDArray[np.int64]:
    """What every tap reads: [channels, kh * kw, out_h * out_w]."""
    channels = x.shape[0]
    found = np.full((channels, g["kh"] * g["kw"], g["out_h"], g["out_w"]), zero, np.int64)
    for k in range(g["kh"] * g["kw"]):
        iy = np.arange(g["out_h"]) * g["sh"] + k // g["kw"] * g["dh"] - g["pad_top"]
        ix = np.arange(g["out_w"]) * g["sw"] + k % g["kw"] * g["dw"] - g["pad_left"]
        oy, ox = (np.flatnonzero((i >= 0) & (i < n)) for i, n in ((iy, g["in_h"]), (ix, g["in_w"])))
        found[:, k, oy[:, None], ox] = x[:, iy[oy, None], ix[ox]]
    return found.reshape(channels, g["kh"] * g["kw"], -1)


def geometry(
    draw: np.random.Generator, channels: int, lanes: int, *, kind: str = "any"
) -> dict[str, int]:
    narrow = kind == "narrow"
    kh, kw = (int(k) for k in draw.integers(1, 6, 2))
    sh, sw = (int(s) for s in draw.integers(1, 4, 2))
    dh, dw = (int(d) for d in draw.choice([1, 1, 1, 2], 2))
    if narrow:
        kh, kw, sh, sw, dh, dw = 3, min(kw, 4), 1, 1, 1, 1
    if kind == "square":
        kh = kw = int(draw.choice([3, 5]))
        sh = sw = int(draw.choice([1, 2]))
        dh = dw = 1
    top, left = int(draw.integers(0, kh)), int(draw.integers(0, kw))
    h, w = int(draw.integers(1, 12)), int(draw.integers(1, 10 if narrow else 40))
    if kind == "square" and draw.random() < 0.3:  # more than one band
        h, w = int(draw.integers(30, 70)), int(draw.integers(60, 140))
    out_h = max(1, (h + 2 * top - dh * (kh - 1) - 1) // sh + 1)
    out_w = max(1, (w + 2 * left - dw * (kw - 1) - 1) // sw + 1)
    return {
        **{"channels": channels, "in_h": h, "in_w": w, "out_h": out_h, "out_w": out_w},
        **{"cs": up(h * w, lanes), "ys": w, "xs": 1, "kh": kh, "kw": kw, "sh": sh, "sw": sw},
        **{"dh": dh, "dw": dw, "pad_top": top, "pad_left": left},
    }


def scratch_bytes(kernel: str, g: dict[str, int], cols: int) -> int:
    ffi, lib = library.load()
    conv = ffi.new("fil_conv *", g)
    if kernel == "qconv":
        return int(lib.fil_qconv_scratch(conv, cols))
    return int(lib.fil_qdwconv_scratch(conv))


def window(seed: int, isa: str, kernel: str, *, kind: str = "any") -> None:
    draw, lanes = np.random.default_rng(seed), library.lanes(isa)
    channels = int(draw.integers(1, 6))
    g = geometry(draw, channels, lanes, kind=kind)
    q, zero = rescale(draw), int(draw.integers(-128, 128))
    size = g["kh"] * g["kw"]
    deep = kernel == "qconv"
    rows, cols = (int(draw.integers(1, 11)), channels * size) if deep else (channels, size)
    o, coding = (int(draw.choice([1, 4, 8])), str(draw.choice(CODINGS))) if deep else (1, "none")
    w = weights(draw, rows, cols, o, coding)
    n, pitch = g["out_h"] * g["out_w"], up(g["out_h"] * g["out_w"], lanes)
    x, y = integers(draw, channels, g["in_h"], g["in_w"]), integers(draw, rows, n)
    step = 1 if deep else lanes
    arrays = {**w.arrays(), "x": spread(x.reshape(channels, -1), g["cs"], step)}
    if seed % 3 == 0:
        arrays["residual"] = spread(y, pitch, lanes)
    fields: dict[str, Any] = {"w": w.fields(), "g": g, "q": q, "x_zero": zero, "ring": g["in_h"]}
    fields |= {"out_pitch": pitch, "residual_pitch": pitch, "first": 0}
    fields |= {"positions": n} if deep else {"rows": g["out_h"], "x_pitch": g["cs"]}
    room = ("panel" if deep else "scratch", scratch_bytes(kernel, g, cols))
    case = Case(kernel, arrays, fields, (rows - 1) * pitch + up(n, lanes), room, UNTOUCHED)
    got = planes(run(case, isa), rows, n, pitch, lanes)
    read = taps(x, g, zero)
    dense = w.dense.astype(np.int64)
    sums = dense @ read.reshape(cols, -1) if deep else np.einsum("rk,rkp->rp", dense, read)
    want = requantized(sums + w.sums[:rows, None], w, q, y if seed % 3 == 0 else None)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kernel", ["qconv", "qdwconv"])
@pytest.mark.parametrize("part", range(10))
def test_windows(isa: str, kernel: str, part: int) -> None:
    for seed in range(20):
        window(100 * part + seed, isa, kernel)


@pytest.mark.parametrize("kernel", ["qconv", "qdwconv"])
def test_narrow_windows(isa: str, kernel: str) -> None:
    for seed in range(60):
        window(seed, isa, kernel, kind="narrow")


@pytest.mark.parametrize("part", range(4))
def test_square_windows(isa: str, part: int) -> None:
    for seed in range(12):
        window(1000 + 12 * part + seed, isa, "qdwconv", kind="square")


def test_rounding_without_floats(tmp_path: Path) -> None:
    """28 million results, about half of them within two sums of a tie (soft.c)."""
    need("gcc", library.compiler() is not None, "no C compiler (apt-get install gcc)")
    made = tmp_path / "soft"
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined")
    flags = (*flags, "-fno-sanitize-recover=all", *library.includes())
    library.call(str(library.compiler()), *flags, str(SOFT), "-lm", "-o", str(made))
    done = subprocess.run([made, str(MULTIPLIERS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 100 * MULTIPLIERS
