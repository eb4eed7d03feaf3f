"""The lowered program: a straight line of runtime operations over planned buffers.

This is the host-side twin of ``native/include/filigree/format.h``; the enums come from there.
A ``Program`` passes through four stages, each adding one thing:

1. *lowered*: ops and tensors, dense weights (``Weights.packing`` is None), no offsets;
2. *packed*: every ``Weights`` has a ``Packing``;
3. *planned*: arena tensors and scratch have offsets and lifetimes;
4. written by ``packfile.write``.

``check`` states what is legal and is run between the stages.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter.quantize.marks import Quant
from filigree.native import enums as c

F16 = NDArray[np.float16]
F32 = NDArray[np.float32]
I8 = NDArray[np.int8]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

INT4 = "int4"  # of weights; numpy has no name for it
LANES = 16  # of the widest vectors: what planes in the arena are padded to
SET_VECTORS = 8  # planes this many vectors apart fall into the same cache sets


def padded_pitch(positions: int, lanes: int = LANES) -> int:
    """Elements from plane to plane: whole vectors, one more where planes would share cache sets (of
    float32, of narrower types all the more). Fewer lanes are for cores without such caches."""
    vectors = -(-positions // lanes)
    if lanes < LANES:
        return lanes * vectors
    return LANES * (vectors + (vectors % SET_VECTORS == 0 and vectors > SET_VECTORS))


INT8_KINDS = {
    c.FIL_OP_SPMM: c.FIL_OP_QSPMM,
    c.FIL_OP_CONV: c.FIL_OP_QCONV,
    c.FIL_OP_DWCONV: c.FIL_OP_QDWCONV,
    c.FIL_OP_SPMV: c.FIL_OP_QSPMV,
    c.FIL_OP_POOL: c.FIL_OP_QPOOL,
    c.FIL_OP_MAP: c.FIL_OP_QMAP,
    c.FIL_OP_REDUCE: c.FIL_OP_QREDUCE,
    c.FIL_OP_SOFTMAX: c.FIL_OP_QSOFTMAX,
}
"""The kind that does on int8 what a kind does on floats."""
FLOAT_KINDS = {int8: kind for kind, int8 in INT8_KINDS.items()}
INT4_KINDS = {c.FIL_OP_SPMM: c.FIL_OP_SPMM4, c.FIL_OP_SPMV: c.FIL_OP_SPMV4}
"""The kind that does with weights of int4 what a kind does on floats."""
_LIKE = {**FLOAT_KINDS, **{four: kind for kind, four in INT4_KINDS.items()}}


def float_kind(kind: int) -> int:
    """The kind on floats, weights included, that an op kind is, or is like."""
    return _LIKE.get(kind, kind)


class Place(enum.IntEnum):
    """Where a tensor lives at run time (``fil_place``)."""

    ARENA = c.FIL_PLACE_ARENA
    INPUT = c.FIL_PLACE_INPUT
    OUTPUT = c.FIL_PLACE_OUTPUT
    CONST = c.FIL_PLACE_CONST


@dataclass(frozen=True)
class Tensor:
    """A planar buffer: ``planes`` rows of ``positions`` elements, ``pitch`` elements apart.

    ``shape`` is in storage order; ``planes = prod(shape[:split])``.
    ``data`` holds a CONST tensor's values, shape ``shape``, float32, rounded to ``dtype``, which is
    the elements' type by numpy's name; of int8 the integers, which ``quant`` explains.
    """

    name: str
    shape: tuple[int, ...]
    split: int
    pitch: int
    place: Place = Place.ARENA
    data: F32 | None = None
    dtype: str = "float32"
    quant: Quant | None = None  # of int8 and uint8

    @property
    def planes(self) -> int:
        return math.prod(self.shape[: self.split])

    @property
    def positions(self) -> int:
        return math.prod(self.shape[self.split :])

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Storage in bytes, padding included."""
        return self.itemsize * self.planes * self.pitch


@dataclass(frozen=True)
class Activation:
    """Applied to an op's result; ``lo``/``hi`` mean what ``act.def`` says."""

    kind: int = c.FIL_ACT_NONE
    lo: float = 0.0
    hi: float = 0.0


@dataclass(frozen=True)
class Packing:
    """A weight matrix in its stored form (see ``fil_weights``)."""

    block_rows: int
    coding: int
    blocks: int
    # [blocks * block_rows]; int8: [quads * block_rows * 4]; int4: two a byte, 8 bytes at a time
    values: F32 | F16 | I8 | U8
    index: NDArray[np.uint8] | NDArray[np.uint16] | None  # [blocks]
    counts: NDArray[np.uint16] | None  # [groups]
    bias: F32 | I32  # [groups * block_rows]
    bridges: int = 0  # blocks of zeros that only bridge a step over 255
    multipliers: F32 | None = None  # int8: [groups * block_rows]
    scales: F16 | None = None  # int4: [runs * block_rows]

    @property
    def dtype(self) -> str:
        """Of the values: float32, float16, int8 or int4."""
        return self.values.dtype.name if self.scales is None else INT4

    @property
    def nbytes(self) -> int:
        """Stored bytes: values, scales, index list and counts (not the bias)."""
        return (
            self.values.nbytes
            + (0 if self.scales is None else self.scales.nbytes)
            + (0 if self.index is None else self.index.nbytes)
            + (0 if self.counts is None else self.counts.nbytes)
        )


@dataclass(frozen=True)
class Weights:
    """rows x cols float32 weights with a bias per row; if packed as float16 or int4, rounded to it.
    Those of int8 are whole numbers and have a multiplier per row (``fil_weights``).

    SPMM/SPMV: cols are input channels. CONV: cols run over (channel, ky, kx), kx fastest.
    DWCONV: rows are channels, cols ky*kw + kx. ``layer`` is the user's node name.
    """

    layer: str
    matrix: F32  # [rows, cols]
    bias: F32 | I32  # [rows]
    packing: Packing | None = None
    multipliers: F32 | None = None  # [rows]

    @property
    def rows(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def cols(self) -> int:
        return int(self.matrix.shape[1])


@dataclass(frozen=True)
class ConvParams:
    """``fil_conv``: geometry of SPMM, CONV, DWCONV and SPMV."""

    channels: int
    in_h: int = 1
    in_w: int = 1
    out_h: int = 1
    out_w: int = 1
    cs: int = 1
    ys: int = 1
    xs: int = 1
    kh: int = 1
    kw: int = 1
    sh: int = 1
    sw: int = 1
    dh: int = 1
    dw: int = 1
    pad_top: int = 0
    pad_left: int = 0
    band_ops: int = 0
    band_rows: int = 0
    x_ring: int = 0
    y_ring: int = 0
    out_ring: int = 0


@dataclass(frozen=True)
class PoolParams:
    """``fil_pool``."""

    channels: int
    in_h: int
    in_w: int
    out_h: int
    out_w: int
    kh: int
    kw: int
    sh: int = 1
    sw: int = 1
    dh: int = 1
    dw: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    mode: int = c.FIL_POOL_MAX


@dataclass(frozen=True)
class MapParams:
    """``fil_map``: always four dims (pad in front with 1, strides 0)."""

    dim: tuple[int, int, int, int]
    sa: tuple[int, int, int, int]
    sb: tuple[int, int, int, int]
    so: tuple[int, int, int, int]


@dataclass(frozen=True)
class ReduceParams:
    """``fil_reduce``."""

    outer: int
    reduce: int
    inner: int
    outer_s: int
    reduce_s: int
    inner_s: int
    outer_so: int
    inner_so: int
    fn: int = c.FIL_REDUCE_MEAN


@dataclass(frozen=True)
class SoftmaxParams:
    """``fil_softmax``."""

    outer: int
    axis: int
    inner: int
    outer_s: int
    axis_s: int
    inner_s: int


@dataclass(frozen=True)
class MatmulParams:
    """``fil_matmul``."""

    batch: int
    m: int
    n: int
    k: int
    ab: int
    am: int
    ak: int
    bb: int
    bk: int
    cb: int
    cm: int


Params = ConvParams | PoolParams | MapParams | ReduceParams | SoftmaxParams | MatmulParams


@dataclass(frozen=True)
class Op:
    """One runtime operation. Tensors are named; ``weights`` is a key of ``Program.weights``.

    ``node`` is the user's node name(s) this op came from, for reports and errors.
    Offsets are in elements (see ``fil_op``).
    """

    kind: int
    node: str
    inputs: tuple[str, ...]
    output: str
    params: Params
    act: Activation = Activation()
    fn: int = 0
    weights: str | None = None
    x_offset: int = 0
    y_offset: int = 0
    out_offset: int = 0

    @property
    def is_plain_copy(self) -> bool:
        """A MAP that copies and does nothing else: it may convert."""
        is_copy = self.kind == c.FIL_OP_MAP and self.fn == c.FIL_MAP_COPY
        return is_copy and self.act.kind == c.FIL_ACT_NONE

    @property
    def converts(self) -> bool:
        """What it reads and what it writes may be of two types."""
        return self.is_plain_copy or self.kind == c.FIL_OP_PIXELS


@dataclass(frozen=True)
class Port:
    """A program input or output as the caller sees it: contiguous, row-major ``shape``."""

    name: str
    tensor: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Where everything lies in the arena, in bytes, and who is to blame for its size."""

    arena_bytes: int
    offsets: dict[str, int]  # arena tensors
    lifetimes: dict[str, tuple[int, int]]  # first and last op, inclusive
    scratch: tuple[tuple[int, int], ...]  # per op: offset, bytes
    lower_bound: int  # bytes of the largest live set
    peak_op: int  # op at which that set is live


@dataclass(frozen=True)
class Program:
    """Everything the packed model holds; frozen, so passes return a new one."""

    name: str
    tensors: dict[str, Tensor]
    ops: tuple[Op, ...]
    weights: dict[str, Weights]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    lanes: int = LANES
    plan: Plan | None = None
    meta: dict[str, Any] = field(default_factory=dict)
