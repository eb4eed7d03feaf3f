"""Small packed models of one operation, to time it or to count its instructions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filigree.converter.lowering.program import (
    F32,
    Activation,
    ConvParams,
    MapParams,
    Op,
    Packing,
    Place,
    Port,
    Program,
    Tensor,
    Weights,
    padded_pitch,
)
from filigree.converter.sparsity import pattern as patterns
from filigree.converter.sparsity.cost import DENSE, SPARSE, Shape
from filigree.native import enums as c


@dataclass(frozen=True)
class Case:
    """One op to time: a convolution of ``params`` over planes, or a product with a vector."""

    kind: int
    params: ConvParams
    weights: Weights

    @property
    def positions(self) -> int:
        return self.params.out_h * self.params.out_w


def shape_of(case: Case) -> Shape:
    """What a cost table asks about the case's layer."""
    rows, cols = case.weights.matrix.shape
    return Shape(case.kind, rows, cols, case.positions, case.params.out_w)


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


def plane_params(channels: int, side: int, *, k: int) -> ConvParams:
    """A k x k window over square planes, as many outputs as inputs."""
    return ConvParams(
        channels=channels,
        in_h=side,
        in_w=side,
        out_h=side,
        out_w=side,
        cs=padded_pitch(side * side),
        ys=side,
        kh=k,
        kw=k,
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
        packing = patterns.encode_dense(matrix, bias, block_rows=patterns.dense_block_rows(kind))
    else:
        packing = patterns.encode(matrix, bias, block_rows=SPARSE[pattern])
    return Weights("layer", matrix, bias, packing)


def program(case: Case, repeats: int) -> Program:
    """Fill the input, run the op ``repeats`` times, hand one value out."""
    positions_in = case.params.in_h * case.params.in_w
    x = _tensor("x", case.params.channels, positions_in)
    y = _tensor("y", case.weights.rows, case.positions)
    out = Tensor("out", (1,), 0, 1, Place.OUTPUT)
    fill = _map(x.planes, x.pitch, c.FIL_MAP_FILL, (), "x", Activation(lo=0.5))
    op = Op(case.kind, "case", ("x",), "y", case.params, weights="w")
    copy = _map(1, 1, c.FIL_MAP_COPY, ("y",), "out", Activation())
    return Program(
        name="case",
        tensors={t.name: t for t in (x, y, out)},
        ops=(fill, *[op] * repeats, copy),
        weights={"w": case.weights},
        inputs=(),
        outputs=(Port("out", "out", (1,)),),
    )


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
