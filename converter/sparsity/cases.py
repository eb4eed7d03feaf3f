"""Small packed models of one operation, to time it or to count its instructions."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from filigree.converter.lowering.program import (
    F32,
    INT8_KINDS,
    Activation,
    ConvParams,
    MapParams,
    MatmulParams,
    Op,
    Packing,
    Params,
    Place,
    PoolParams,
    Port,
    Program,
    ReduceParams,
    SoftmaxParams,
    Tensor,
    Weights,
    padded_pitch,
)
from filigree.converter.quantize.marks import Quant
from filigree.converter.sparsity import pattern as patterns
from filigree.converter.sparsity.cost import DENSE, SPARSE, Shape, Window
from filigree.native import enums as c

PLANES, PLANE = 16, 1024  # of what operations without weights read and write


@dataclass(frozen=True)
class Case:
    """One op to time: a convolution of ``params`` over planes, or a product with a vector."""

    kind: int
    params: ConvParams
    weights: Weights
    residual: bool = False

    @property
    def positions(self) -> int:
        return self.params.out_h * self.params.out_w


def shape_of(case: Case) -> Shape:
    """What a cost table asks about the case's layer."""
    rows, cols = case.weights.matrix.shape
    p = case.params
    return Shape(case.kind, rows, cols, case.positions, p.out_w, Window.of(p))


def product(
    kind: int, rows: int, cols: int, *, positions: int, pattern: str, density: float
) -> Case:
    """A pointwise layer (SPMM) or a product with a vector (SPMV, one position)."""
    params = ConvParams(channels=cols, ys=1)
    if kind == c.FIL_OP_SPMM:
        params = ConvParams(
            channels=cols,
            in_w=positions,
            out_w=positions,
            in_h=1,
            out_h=1,
            cs=padded_pitch(positions),
            ys=positions,
        )
    return Case(kind, params, packed(random_matrix(rows, cols, density, pattern), kind, pattern))


def window(channels: int, out: tuple[int, int], *, k: int, stride: int = 1) -> ConvParams:
    """A k x k window over planes, to ``out`` rows and columns."""
    height, width = (stride * side for side in out)
    return ConvParams(
        channels=channels,
        in_h=height,
        in_w=width,
        out_h=out[0],
        out_w=out[1],
        cs=padded_pitch(height * width),
        ys=width,
        kh=k,
        kw=k,
        sh=stride,
        sw=stride,
        pad_top=k // 2,
        pad_left=k // 2,
    )


def random_matrix(rows: int, cols: int, density: float, pattern: str = DENSE) -> F32:
    """A matrix with ``density`` of its blocks present."""
    draw = np.random.default_rng(rows * 31 + cols)
    height = SPARSE.get(pattern, 1)
    keep = draw.random((-(-rows // height), cols)) < density
    keep[0, 0] = True
    values = draw.uniform(0.5, 1.0, (rows, cols))
    return np.where(np.repeat(keep, height, axis=0)[:rows], values, 0).astype(np.float32)


def packed(matrix: F32, kind: int, pattern: str) -> Weights:
    """``matrix`` as a layer of ``kind`` stores it in ``pattern``, without bias."""
    bias = np.zeros(len(matrix), np.float32)
    packing: Packing
    if pattern == DENSE:
        height = patterns.dense_block_rows(kind, len(matrix))
        packing = patterns.encode_dense(matrix, bias, block_rows=height)
    else:
        packing = patterns.encode(matrix, bias, block_rows=SPARSE[pattern])
    return Weights("layer", matrix, bias, packing)


def weightless(kind: str) -> Op:
    """An op of a kind in RATES that reads "x" and writes "y", PLANES planes of PLANE values."""
    n, walk = PLANES * PLANE, (0, 0, PLANE, 1)
    if kind in ("map", "map_apart"):
        read = walk if kind == "map" else (0, 0, 1, PLANES)
        params: Params = MapParams((1, 1, PLANES, PLANE), read, (0, 0, 0, 0), walk)
        return Op(c.FIL_OP_MAP, "case", ("x",), "y", params, Activation(), c.FIL_MAP_COPY)
    if kind == "pool":
        side = math.isqrt(PLANE)
        params = PoolParams(PLANES, side, side, side - 2, side - 2, 3, 3)
        return Op(c.FIL_OP_POOL, "case", ("x",), "y", params)
    if kind == "reduce":
        params = ReduceParams(1, PLANE, PLANES, 0, 1, PLANE, 0, 1)
        return Op(c.FIL_OP_REDUCE, "case", ("x",), "y", params)
    if kind == "softmax":
        params = SoftmaxParams(PLANES, PLANE, 1, PLANE, 1, 0)
        return Op(c.FIL_OP_SOFTMAX, "case", ("x",), "y", params)
    side = math.isqrt(n) // 2
    params = MatmulParams(1, side, side, side, 0, side, 1, 0, side, 0, side)
    return Op(c.FIL_OP_MATMUL, "case", ("x", "x"), "y", params)


def program(case: Case | Op, repeats: int) -> Program:
    """Fill the input, run the op ``repeats`` times, hand one value out."""
    weights: dict[str, Weights] = {}
    if isinstance(case, Op):
        x, y, op = _tensor("x", PLANES, PLANE), _tensor("y", PLANES, PLANE), case
    else:
        x = _tensor("x", case.params.channels, case.params.in_h * case.params.in_w)
        y = _tensor("y", case.weights.rows, case.positions)
        inputs = ("x", "r") if case.residual else ("x",)
        op = Op(case.kind, "case", inputs, "y", case.params, weights="w")
        weights = {"w": case.weights}
    out = Tensor("out", (1,), 0, 1, Place.OUTPUT)
    read = [x, dataclasses.replace(y, name="r")] if "r" in op.inputs else [x]
    fills = [_map(t.planes, t.pitch, c.FIL_MAP_FILL, (), t.name, Activation(lo=0.5)) for t in read]
    copy = _map(1, 1, c.FIL_MAP_COPY, ("y",), "out", Activation())
    return Program(
        name="case",
        tensors={t.name: t for t in (*read, y, out)},
        ops=(*fills, *[op] * repeats, copy),
        weights=weights,
        inputs=(),
        outputs=(Port("out", "out", (1,)),),
    )


def in_int8(program: Program) -> Program:
    """What ``program`` makes, with integers for floats."""
    quant = Quant(float(np.float32(0.05)), 3)
    functions = {c.FIL_MAP_FILL: c.FIL_QMAP_FILL, c.FIL_MAP_COPY: c.FIL_QMAP_COPY}
    return dataclasses.replace(
        program,
        tensors={
            name: dataclasses.replace(t, dtype="int8", quant=quant)
            for name, t in program.tensors.items()
        },
        ops=tuple(
            dataclasses.replace(
                op,
                kind=INT8_KINDS[op.kind],
                fn=functions[op.fn] if op.kind == c.FIL_OP_MAP else op.fn,
                act=dataclasses.replace(op.act, lo=float(np.ceil(op.act.lo))),
            )
            for op in program.ops
        ),
        weights={
            name: dataclasses.replace(w, packing=_int8_packing(w))
            for name, w in program.weights.items()
        },
    )


def _int8_packing(w: Weights) -> Packing:
    assert w.packing is not None  # cases.packed
    matrix, bias = np.ceil(w.matrix * 100), np.zeros(w.rows, np.int32)
    pack = patterns.encode_dense if w.packing.counts is None else patterns.encode
    packing = pack(matrix, bias, block_rows=w.packing.block_rows, dtype="int8")
    return patterns.with_multipliers(packing, np.full(w.rows, 1e-4, np.float32))


def _tensor(name: str, planes: int, positions: int) -> Tensor:
    if positions == 1:
        return Tensor(name, (planes,), 0, -(-planes // 16) * 16)
    return Tensor(name, (planes, positions), 1, padded_pitch(positions))


def _map(
    planes: int, pitch: int, fn: int, inputs: tuple[str, ...], out: str, act: Activation
) -> Op:
    walk = (0, 0, pitch, 1)
    params = MapParams((1, 1, planes, pitch), walk if inputs else (0, 0, 0, 0), (0, 0, 0, 0), walk)
    return Op(c.FIL_OP_MAP, "case", inputs, out, params, act, fn)
