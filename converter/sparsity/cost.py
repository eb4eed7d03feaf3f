"""How long a layer takes in each pattern: interpolated measurements of the kernels.

A table holds nanoseconds per (stored block x vector of positions) on a small grid of shapes, for
every pattern; between grid points the logarithm is interpolated linearly along the logarithm of
each axis, outside it the nearest point counts. Tables of the targets are in ``costs/``, each with
its provenance; ``measure`` makes one for this machine.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filigree.converter.errors import BadFile, UsageError
from filigree.converter.lowering.program import ConvParams, Op, Weights
from filigree.native import enums as c
from filigree.native import model as runtime

TABLES = Path(__file__).parent / "costs"
USER_TABLE = "filigree/costs.json"
VERSION = 1
CONV_POSITIONS = c.FIL_TILE  # a convolution multiplies one panel of this many positions at a time
DENSE = "dense"
SPARSE = {"1x1": 1, "2x1": 2, "4x1": 4, "8x1": 8}
"""Block rows of the patterns that ``auto`` chooses from."""

_SHIPPED = {"avx512": "x86-64-avx512", "neon": "arm64-n1", "wasm": "wasm", "wasm_relaxed": "wasm"}
_OF_TARGET = {"x86-64": "x86-64-avx2", "arm64": "arm64-n1", "wasm": "wasm"}


@dataclass(frozen=True)
class Shape:
    """What the time of a layer depends on, its pattern apart.

    ``positions``: of the output, ``width`` of them in a row of the image.
    """

    kind: int
    rows: int
    cols: int
    positions: int
    width: int

    @classmethod
    def of(cls, op: Op, weights: Weights) -> Shape:
        """The shape of an op with weights."""
        assert isinstance(op.params, ConvParams)  # lowering.check: kinds with weights
        p = op.params
        return cls(op.kind, weights.rows, weights.cols, p.out_h * p.out_w, p.out_w)

    def vectors(self, lanes: int) -> int:
        """Vectors of positions, packed."""
        return -(-self.positions // lanes)

    def row_vectors(self, lanes: int) -> int:
        """Vectors of positions if each row of the image starts one."""
        return self.positions // self.width * -(-self.width // lanes)


@dataclass(frozen=True)
class Grid:
    """Values at the crossings of ``axes``, in row-major order; all positive."""

    axes: tuple[tuple[float, ...], ...]
    values: tuple[float, ...]

    def at(self, *point: float) -> float:
        """Log-log interpolation at ``point``, one coordinate per axis."""
        sides = [_side(axis, x) for axis, x in zip(self.axes, point, strict=True)]
        total = 0.0
        for corner in itertools.product((0, 1), repeat=len(sides)):
            weight = math.prod(s if up else 1 - s for (_, s), up in zip(sides, corner, strict=True))
            if weight:
                index = [i + up for (i, _), up in zip(sides, corner, strict=True)]
                total += weight * math.log(self.values[self._flat(index)])
        return math.exp(total)

    def _flat(self, index: Sequence[int]) -> int:
        flat = 0
        for i, axis in zip(index, self.axes, strict=True):
            flat = flat * len(axis) + i
        return flat


@dataclass(frozen=True)
class CostTable:
    """Predicted times of one target.

    ``panel``: per pattern, ns per (block x vector), over (columns, positions, density);
    ``vector``: the same with one position, ns per block, over (columns, density);
    ``im2col_ns``: per (column x vector of an image row); ``depthwise_ns``: per (kernel tap x vector
    of an image row);
    ``overhead_ns``: per op. Dense grids have density 1 alone, and blocks of ``dense_rows`` rows.
    """

    name: str
    isa: str
    provenance: str
    lanes: int
    panel: Mapping[str, Grid]
    vector: Mapping[str, Grid]
    im2col_ns: float
    depthwise_ns: float
    overhead_ns: float

    @classmethod
    def load(cls, source: str | Path = "x86-64-avx512") -> CostTable:
        """A shipped table by name, or any table by path. Raises BadFile; UsageError for a name that
        no shipped table has."""
        path = source if isinstance(source, Path) else TABLES / f"{source}.json"
        if isinstance(source, str) and source not in shipped():
            raise UsageError(f'no cost table "{source}"', [f"tables: {', '.join(shipped())}"])
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadFile(
                f"{path.name} is not a cost table", [str(error)], hint="filigree calibrate"
            ) from error

    @classmethod
    def for_target(cls, target: str, *, isa: str | None = None) -> CostTable:
        """The table to convert with. ``target`` is host, x86-64, arm64 or wasm; ``isa`` narrows it.

        For the host, what ``filigree calibrate`` measured counts before the shipped table.
        """
        if target != "host":
            return cls.load(_SHIPPED.get(isa or "", _OF_TARGET[target]))
        isa = isa or runtime.isas()[-1]
        if user_table().is_file():
            measured = cls.load(user_table())
            if measured.isa == isa:
                return measured
        return cls.load(_SHIPPED.get(isa, "x86-64-avx2"))

    @classmethod
    def measure(
        cls, isa: str | None = None, *, progress: Callable[[str, float], None] | None = None
    ) -> CostTable:
        """Time the kernels of ``isa`` (default: the best here) on this machine: some seconds."""
        from filigree.converter.sparsity.measure import measure

        return measure(isa or runtime.isas()[-1], progress=progress)

    def predict(self, shape: Shape, pattern: str, *, blocks: int, block_rows: int) -> float:
        """Nanoseconds of the layer stored in ``pattern`` with ``blocks`` stored blocks."""
        row_vectors = shape.row_vectors(self.lanes)
        if shape.kind == c.FIL_OP_DWCONV:
            return self.overhead_ns + self.depthwise_ns * shape.rows * shape.cols * row_vectors
        groups = -(-shape.rows // block_rows)
        density = blocks / (groups * shape.cols)
        if shape.kind == c.FIL_OP_SPMV:
            return self.overhead_ns + blocks * self.vector[pattern].at(shape.cols, density)
        is_conv = shape.kind == c.FIL_OP_CONV
        positions = min(shape.positions, CONV_POSITIONS) if is_conv else shape.positions
        per_block = self.panel[pattern].at(shape.cols, positions, density)
        panel = self.im2col_ns * shape.cols * row_vectors if is_conv else 0.0
        return self.overhead_ns + blocks * shape.vectors(self.lanes) * per_block + panel

    def to_json(self) -> dict[str, Any]:
        """The table as it is stored."""
        return {
            "version": VERSION,
            "name": self.name,
            "isa": self.isa,
            "provenance": self.provenance,
            "lanes": self.lanes,
            "panel": {name: _grid_json(grid) for name, grid in self.panel.items()},
            "vector": {name: _grid_json(grid) for name, grid in self.vector.items()},
            "im2col_ns": self.im2col_ns,
            "depthwise_ns": self.depthwise_ns,
            "overhead_ns": self.overhead_ns,
        }

    @classmethod
    def from_json(cls, data: Any) -> CostTable:
        """The table in ``data``. Raises ValueError, KeyError or TypeError if it is malformed."""
        if data["version"] != VERSION:
            raise ValueError(f"cost table version {data['version']}, expected {VERSION}")
        return cls(
            name=str(data["name"]),
            isa=str(data["isa"]),
            provenance=str(data["provenance"]),
            lanes=_positive(data["lanes"]),
            panel={p: _grid_from(data["panel"][p], rank=3) for p in (DENSE, *SPARSE)},
            vector={p: _grid_from(data["vector"][p], rank=2) for p in (DENSE, *SPARSE)},
            im2col_ns=_positive(data["im2col_ns"]),
            depthwise_ns=_positive(data["depthwise_ns"]),
            overhead_ns=_positive(data["overhead_ns"]),
        )


def shipped() -> list[str]:
    """The names of the tables in ``costs/``."""
    return sorted(path.stem for path in TABLES.glob("*.json"))


def user_table() -> Path:
    """Where ``filigree calibrate`` keeps this machine's table."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / USER_TABLE


def _side(axis: tuple[float, ...], x: float) -> tuple[int, float]:
    """Grid cell of ``x`` and how far it is along that cell, 0 to 1; ends are held."""
    if x <= axis[0] or len(axis) == 1:
        return 0, 0.0
    if x >= axis[-1]:
        return len(axis) - 2, 1.0
    i = int(np.searchsorted(axis, x, side="right")) - 1
    return i, math.log(x / axis[i]) / math.log(axis[i + 1] / axis[i])


def _grid_json(grid: Grid) -> dict[str, Any]:
    return {"axes": [list(axis) for axis in grid.axes], "ns": list(grid.values)}


def _grid_from(data: Any, *, rank: int) -> Grid:
    axes = tuple(tuple(_positive(x) for x in axis) for axis in data["axes"])
    values = tuple(_positive(x) for x in data["ns"])
    if len(axes) != rank or len(values) != math.prod(len(axis) for axis in axes) or not values:
        raise ValueError(f"a grid of {len(values)} values over {len(axes)} axes")
    if any(list(axis) != sorted(set(axis)) for axis in axes):
        raise ValueError("the axes of a grid must increase")
    return Grid(axes, values)


def _positive(x: Any) -> Any:
    if isinstance(x, bool) or not isinstance(x, int | float) or not 0 < x < math.inf:
        raise ValueError(f"{x!r} is not a positive number")
    return x
