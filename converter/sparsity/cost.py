"""How long a layer takes in each pattern: interpolated measurements of the kernels.

A table holds nanoseconds per (stored block x vector of positions) on a small grid of shapes, for
every pattern; between grid points the logarithm is interpolated linearly along the logarithm of
each axis, outside it the nearest point counts. These are times with everything near the core;
weights that come from main memory are added by the byte. Tables of the targets are
in ``costs/``, each with its provenance; ``measure`` makes one for this machine, ``work`` predicts
whole programs.
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
from filigree.converter.lowering.program import ConvParams, Op, Weights, float_kind
from filigree.native import enums as c
from filigree.native import model as runtime

TABLES = Path(__file__).parent / "costs"
USER_TABLE = "filigree/costs.json"
VERSION = 2
CONV_POSITIONS = c.FIL_TILE  # a convolution multiplies one panel of this many positions at a time
DENSE = "dense"
SPARSE = {"1x1": 1, "2x1": 2, "4x1": 4, "8x1": 8}
"""Block rows of the patterns that ``auto`` chooses from."""

DEPTHWISE = {
    "3x3/1": (3, 1),
    "3x3/2": (3, 2),
    "5x5/1": (5, 1),
    "5x5/2": (5, 2),
    "any/1": (7, 1),
    "any/2": (7, 2),
}
"""Classes of depthwise kernels by (side, stride): those with code of their own, and the rest."""
IM2COL = {"1": 1, "2": 2, "any": 3}
"""Classes of im2col by the step between what neighbouring positions read."""
RATES = ("map", "map_apart", "pool", "reduce", "softmax", "matmul", "finish")
"""Kinds of work without weights, see ``work``; apart: elements that are not neighbours; finish:
residuals, and activations that are more than a clamp."""

_SHIPPED = {"avx512": "x86-64-avx512", "neon": "arm64-n1", "wasm": "wasm", "wasm_relaxed": "wasm"}
_OF_TARGET = {
    **{"x86-64": "x86-64-avx2", "arm64": "arm64-n1", "wasm": "wasm"},
    **dict.fromkeys(("cortex-m0plus", "cortex-m3"), "cortex-m-small"),
    **dict.fromkeys(("cortex-m4", "cortex-m7", "cortex-m33"), "cortex-m-dsp"),
    "cortex-m55": "cortex-m55",
}
_OF_CORES = "cortex-m"


@dataclass(frozen=True)
class Window:
    """What convolutions depend on beside their matrix.

    ``side`` of a square kernel without dilation, 0 for any other; ``stride`` 0 where the two
    differ; ``step``: elements between what neighbouring positions of a row read; ``channels`` of
    the input.
    """

    side: int = 1
    stride: int = 1
    step: int = 1
    channels: int = 1

    @classmethod
    def of(cls, p: ConvParams) -> Window:
        """The window of an op's params."""
        plain = p.kh == p.kw and p.dh == p.dw == 1
        stride = p.sw if p.sh == p.sw else 0
        return cls(p.kh if plain else 0, stride, p.sw * p.xs, p.channels)

    @property
    def depthwise(self) -> str:
        """The key in DEPTHWISE."""
        name = f"{self.side}x{self.side}/{self.stride}"
        return name if name in DEPTHWISE else f"any/{1 if self.stride == 1 else 2}"

    @property
    def im2col(self) -> str:
        """The key in IM2COL."""
        return str(self.step) if str(self.step) in IM2COL else "any"


@dataclass(frozen=True)
class Shape:
    """What the time of a layer depends on, its pattern apart.

    ``positions``: of the output, ``width`` of them in a row of the image; ``late``: it ends with
    more than a clamp; ``band``: rows of the output made at a time, 0: all.
    """

    kind: int
    rows: int
    cols: int
    positions: int
    width: int
    window: Window = Window()
    late: bool = False
    band: int = 0

    @classmethod
    def of(cls, op: Op, weights: Weights) -> Shape:
        """The shape of an op with weights."""
        assert isinstance(op.params, ConvParams)  # lowering.check: kinds with weights
        p = op.params
        positions = p.out_h * p.out_w
        late = len(op.inputs) > 1 or op.act.kind > c.FIL_ACT_CLAMP
        return cls(op.kind, weights.rows, weights.cols, positions, p.out_w, Window.of(p), late)

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
    ``im2col``: per class, ns per (column x vector of an image row), over (channels, image width);
    ``depthwise``: per class, ns per (kernel tap x vector of an image row), over (image height,
    image width);
    ``rates``: ns per vector of other work;
    ``overhead_ns``: per op. Dense grids have density 1 alone, and blocks of ``dense_rows`` rows.
    ``near_bytes`` stay near the core; a byte of weights from main memory costs ``far_ns`` more.
    ``int8``: the table of int8 layers, where they are not like those of floats.
    """

    name: str
    isa: str
    provenance: str
    lanes: int
    panel: Mapping[str, Grid]
    vector: Mapping[str, Grid]
    im2col: Mapping[str, Grid]
    depthwise: Mapping[str, Grid]
    rates: Mapping[str, float]
    overhead_ns: float
    near_bytes: int
    far_ns: float
    int8: CostTable | None = None

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
        """The table to convert with. ``target`` is host, x86-64, arm64, wasm or a Cortex-M; ``isa``
        narrows it.

        For the host, what ``filigree calibrate`` measured counts before the shipped table.
        """
        if target != "host":
            return cls.load(_SHIPPED.get(isa or "", _OF_TARGET.get(target, _OF_CORES)))
        isa = isa or runtime.isas()[-1]
        return cls.calibrated(isa) or cls.load(_SHIPPED.get(isa, "x86-64-avx2"))

    @classmethod
    def calibrated(cls, isa: str) -> CostTable | None:
        """What ``filigree calibrate`` measured of ``isa`` on this machine, if it did."""
        measured = cls.load(user_table()) if user_table().is_file() else None
        return measured if measured is not None and measured.isa == isa else None

    @classmethod
    def measure(
        cls, isa: str | None = None, *, progress: Callable[[str, float], None] | None = None
    ) -> CostTable:
        """Time the kernels of ``isa`` (default: the best here) on this machine: some seconds."""
        from filigree.converter.sparsity.measure import measure

        return measure(isa or runtime.isas()[-1], progress=progress)

    def predict(
        self, shape: Shape, pattern: str, *, blocks: int, block_rows: int, cold: float = 0.0
    ) -> float:
        """Nanoseconds of the layer stored in ``pattern`` with ``blocks`` stored blocks; ``cold``:
        share of its weights that are not near, as those of the whole network do not fit there."""
        if self.int8 is not None and float_kind(shape.kind) != shape.kind:
            return self.int8.predict(
                shape, pattern, blocks=blocks, block_rows=block_rows, cold=cold
            )
        near = self._near_ns(shape, pattern, blocks, block_rows)
        if shape.late:
            near += self.rates["finish"] * shape.rows * shape.vectors(self.lanes)
        weights = blocks * (4 * block_rows + (pattern != DENSE))
        return self.overhead_ns + near + self.far_ns * cold * weights

    def _near_ns(self, shape: Shape, pattern: str, blocks: int, block_rows: int) -> float:
        row_vectors = shape.row_vectors(self.lanes)
        if float_kind(shape.kind) == c.FIL_OP_DWCONV:
            height = shape.band or shape.positions / shape.width
            per_tap = self.depthwise[shape.window.depthwise].at(height, shape.width)
            return per_tap * shape.rows * shape.cols * row_vectors
        density = blocks / (-(-shape.rows // block_rows) * shape.cols)
        if float_kind(shape.kind) == c.FIL_OP_SPMV:
            return blocks * self.vector[pattern].at(shape.cols, density)
        is_conv = float_kind(shape.kind) == c.FIL_OP_CONV
        positions = shape.band * shape.width or shape.positions
        if is_conv:
            positions = min(positions, CONV_POSITIONS)
        per_block = self.panel[pattern].at(shape.cols, positions, density)
        product = blocks * shape.vectors(self.lanes) * per_block
        if not is_conv:
            return product
        per_column = self.im2col[shape.window.im2col].at(shape.window.channels, shape.width)
        return product + per_column * shape.cols * row_vectors

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
            "im2col": {name: _grid_json(grid) for name, grid in self.im2col.items()},
            "depthwise": {name: _grid_json(grid) for name, grid in self.depthwise.items()},
            "rates": dict(self.rates),
            "overhead_ns": self.overhead_ns,
            "near_bytes": self.near_bytes,
            "far_ns": self.far_ns,
            **({"int8": self.int8.to_json()} if self.int8 is not None else {}),
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
            im2col={name: _grid_from(data["im2col"][name], rank=2) for name in IM2COL},
            depthwise={name: _grid_from(data["depthwise"][name], rank=2) for name in DEPTHWISE},
            rates={name: _positive(data["rates"][name]) for name in RATES},
            overhead_ns=_positive(data["overhead_ns"]),
            near_bytes=_positive(data["near_bytes"]),
            far_ns=_positive(data["far_ns"]),
            int8=cls.from_json(data["int8"]) if "int8" in data else None,
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
