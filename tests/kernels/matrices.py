"""Weight matrices as kernels see them: the test's own encoder, independent of the converter's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.native import enums as c
from tests.kernels.harness import F32, paint

CODINGS = ("none", "d8", "u16")


@dataclass(frozen=True)
class Matrix:
    """``dense`` is rows x cols, with zeros where ``coding`` stores nothing; ``half``: stored as
    float16, which ``dense`` then is in."""

    dense: F32
    bias: F32
    block_rows: int
    coding: str
    half: bool = False

    @property
    def groups(self) -> int:
        return -(-self.dense.shape[0] // self.block_rows)

    def fields(self) -> dict[str, Any]:
        rows, cols = self.dense.shape
        return {
            "rows": rows,
            "cols": cols,
            "groups": self.groups,
            "block_rows": self.block_rows,
            "coding": getattr(c, f"FIL_CODING_{self.coding.upper()}"),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The stored streams, at exactly their size."""
        lists = [self._columns(g) for g in range(self.groups)]
        padded = np.zeros((self.groups * self.block_rows, self.dense.shape[1]), np.float32)
        padded[: self.dense.shape[0]] = self.dense
        groups = padded.reshape(self.groups, self.block_rows, -1)
        values = [groups[g][:, columns].T.reshape(-1) for g, columns in enumerate(lists)]
        bias = np.zeros(self.groups * self.block_rows, np.float32)
        bias[: self.bias.size] = self.bias
        found: dict[str, NDArray[Any]] = {**self._values(np.concatenate(values)), "w.bias": bias}
        if self.coding == "none":
            return found
        found["w.count"] = np.array([len(x) for x in lists], np.uint16)
        if self.coding == "u16":
            found["w.index"] = np.array([i for x in lists for i in x], np.uint16)
        else:
            steps = [np.diff(x, prepend=0) for x in lists if x]
            found["w.index"] = np.concatenate([*steps, np.zeros(0, np.int64)]).astype(np.uint8)
        return {name: x if x.size else np.zeros(1, x.dtype) for name, x in found.items()}

    def _values(self, values: F32) -> dict[str, NDArray[Any]]:
        if not self.half:
            return {"w.values": values}
        group = self.dense.shape[1] * self.block_rows
        return halves(values, widened=min(values.size, max(group, c.FIL_WIDE)))

    def _columns(self, group: int) -> list[int]:
        rows = self.dense[group * self.block_rows : (group + 1) * self.block_rows]
        if self.coding == "none":
            return list(range(self.dense.shape[1]))
        columns: list[int] = []
        for column in np.flatnonzero(rows.any(axis=0)).tolist():
            while self.coding == "d8" and column - (columns[-1] if columns else 0) > 255:
                columns.append((columns[-1] if columns else 0) + 255)  # a bridge of zeros
            columns.append(column)
        return columns


def halves(values: F32, *, widened: int) -> dict[str, NDArray[Any]]:
    """Weights as float16, and room to widen as many as a kernel may at a time."""
    bits = values.astype(np.float16).view(np.uint16).reshape(-1)
    return {"w.halves": bits, "w.wide": np.full(widened, np.nan, np.float32)}


def both(w: Matrix) -> tuple[Matrix, Matrix]:
    """The matrix rounded to float16, in float32 and in halves."""
    exact = replace(w, dense=w.dense.astype(np.float16).astype(np.float32))
    return exact, replace(exact, half=True)


def four_bits(w: Matrix) -> tuple[Matrix, dict[str, NDArray[Any]]]:
    """int4 weights where ``w`` has weights: in float32, exactly, and as they are stored."""
    dense, o = np.zeros_like(w.dense), w.block_rows
    padded = np.zeros((w.groups * o, w.dense.shape[1]), bool)
    padded[: w.dense.shape[0]] = w.dense != 0
    nibbles, scales = [], []
    for g in range(w.groups):
        columns = w._columns(g)
        kept = padded[g * o : (g + 1) * o, columns].T
        n, runs = len(columns), -(-len(columns) // c.FIL_RUN)
        q = (np.arange(n * o) * 11 + g) % 17 % 16 - 8
        q = np.where(kept, np.where(q == 0, 5, q).reshape(n, o), 0)
        scale = paint(runs, o, seed=g).astype(np.float16)
        values = q * np.repeat(scale.astype(np.float32), c.FIL_RUN, axis=0)[:n]
        rows = dense[g * o : (g + 1) * o]
        rows[:, columns] = values.T[: rows.shape[0]]
        flat = np.concatenate([q.reshape(-1), np.zeros(-n * o % 16, np.int64)]) & 15
        nibbles.append((flat[::2] | flat[1::2] << 4).astype(np.uint8))
        scales.append(scale.view(np.uint16).reshape(-1))
    exact = replace(w, dense=dense)
    arrays: dict[str, NDArray[Any]] = exact.arrays()
    del arrays["w.values"]
    for name, parts in (("w.nibbles", nibbles), ("w.scales", scales)):
        found = np.concatenate(parts)
        arrays[name] = found if found.size else np.zeros(1, found.dtype)
    return exact, arrays


def matrix(rows: int, cols: int, block_rows: int, coding: str, *, density: float = 0.3) -> Matrix:
    """Painted weights; unless dense, about ``density`` of the blocks, one group storing none."""
    dense = paint(rows, cols, seed=3)
    if coding != "none":
        groups = -(-rows // block_rows)
        draw = np.random.default_rng([rows, cols, block_rows])
        keep = draw.random((groups, cols)) < density
        keep[:1] = groups == 1
        keep[-1, -1] = True
        dense = dense * np.repeat(keep, block_rows, axis=0)[:rows]
    return Matrix(dense.astype(np.float32), paint(rows, seed=5), block_rows, coding)


def every_half() -> F32:
    """Every finite float16."""
    values = np.arange(2**16, dtype=np.uint32).astype(np.uint16).view(np.float16)
    return values[np.isfinite(values)].astype(np.float32)
