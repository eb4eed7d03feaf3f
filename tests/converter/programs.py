"""Small hand-made programs for tests of what follows lowering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from filigree.converter import packfile, reference
from filigree.converter.lowering.plan import plan
from filigree.converter.lowering.program import (
    F32,
    Activation,
    ConvParams,
    MapParams,
    Op,
    Place,
    Port,
    Program,
    Tensor,
    Weights,
)
from filigree.converter.sparsity import CostTable, pack
from filigree.native import enums as c
from filigree.native.model import Model, isas

LANES = 16
COSTS = CostTable.load("arm64-n1")


def padded(positions: int) -> int:
    return -(-positions // LANES) * LANES


def vector(name: str, size: int, place: Place = Place.ARENA) -> Tensor:
    return Tensor(name, (size,), 0, padded(size) if place is Place.ARENA else size, place)


def planes(name: str, channels: int, height: int, width: int) -> Tensor:
    return Tensor(name, (channels, height, width), 1, padded(height * width))


def element_wise(
    inputs: Sequence[str], output: str, size: int, *, fn: int = c.FIL_MAP_COPY, node: str = ""
) -> Op:
    """``output[i] = fn(inputs[i])`` over ``size`` contiguous values."""
    walk, still = (0, 0, 0, 1), (0, 0, 0, 0)
    second = walk if len(inputs) > 1 else still
    params = MapParams((1, 1, 1, size), walk, second, walk)
    return Op(c.FIL_OP_MAP, node or output, tuple(inputs), output, params, fn=fn)


def program(tensors: Sequence[Tensor], ops: Sequence[Op], **weights: Weights) -> Program:
    """Ports for every INPUT and OUTPUT tensor."""
    by_place = {
        place: tuple(Port(t.name, t.name, (1, *t.shape)) for t in tensors if t.place is place)
        for place in (Place.INPUT, Place.OUTPUT)
    }
    return Program(
        name="small",
        tensors={t.name: t for t in tensors},
        ops=tuple(ops),
        weights=weights,
        inputs=by_place[Place.INPUT],
        outputs=by_place[Place.OUTPUT],
    )


def sparse(rows: int, cols: int, *, zeros: float, block: int = 4, seed: int = 0) -> F32:
    """``zeros`` of the blocks of ``block`` rows are zero."""
    draw = np.random.default_rng(seed)
    keep = np.repeat(draw.random((-(-rows // block), cols)) >= zeros, block, axis=0)[:rows]
    return np.where(keep, draw.standard_normal((rows, cols)), 0).astype(np.float32)


def two_layers(*, zeros: float = 0.8, labels: Sequence[str] = ()) -> Program:
    """x (64) -> 48 with Relu -> + a constant -> 10: two products with a vector, one MAP."""
    first = Weights("fc1", sparse(48, 64, zeros=zeros), np.arange(48, dtype=np.float32))
    second = Weights("fc2", sparse(10, 48, zeros=0), np.zeros(10, np.float32))
    shift = Tensor("shift", (48,), 0, 48, Place.CONST, np.linspace(-1, 1, 48, dtype=np.float32))
    tensors = [
        vector("x", 64, Place.INPUT),
        vector("hidden", 48),
        vector("shifted", 48),
        shift,
        vector("y", 10, Place.OUTPUT),
    ]
    spmv = c.FIL_OP_SPMV
    relu = Activation(c.FIL_ACT_CLAMP, 0.0, 6.0)
    ops = [
        Op(spmv, "fc1", ("x",), "hidden", ConvParams(64), relu, weights="w1"),
        element_wise(["hidden", "shift"], "shifted", 48, fn=c.FIL_MAP_ADD, node="add"),
        Op(spmv, "fc2", ("shifted",), "y", ConvParams(48), weights="w2"),
    ]
    return program(tensors, ops, w1=first, w2=second)


def packed(given: Program) -> Program:
    return pack(given, costs=COSTS)[0]


def assert_runs_as_reference(given: Program) -> None:
    """Packed, read back to the same bytes, and run on every instruction set."""
    data = packfile.encode(plan(given))
    back = packfile.decode(data)
    assert packfile.encode(back) == data
    draw = np.random.default_rng(1)
    x = [draw.standard_normal(port.shape).astype(np.float32) for port in given.inputs]
    want = reference.run(given, *x)
    for isa in isas():
        got = Model.from_bytes(data, isa=isa).run(*x)
        for a, b in zip(got if isinstance(got, tuple) else [got], want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@st.composite
def random_programs(draw: st.DrawFn) -> Program:
    """Straight lines of element-wise ops over arena tensors of a few sizes, written once."""
    sizes = draw(st.lists(st.integers(1, 200), min_size=1, max_size=3))
    tensors = [vector("x", max(sizes), Place.INPUT)]
    ops = []
    for i in range(draw(st.integers(1, 14))):
        size = draw(st.sampled_from(sizes))
        given = [t.name for t in tensors if t.shape[0] >= size]
        inputs = draw(st.lists(st.sampled_from(given), min_size=1, max_size=2))
        fn = c.FIL_MAP_COPY if len(inputs) == 1 else c.FIL_MAP_ADD
        tensors.append(vector(f"t{i}", size))
        ops.append(element_wise(inputs, f"t{i}", size, fn=fn))
    size = tensors[-1].shape[0]
    tensors.append(vector("y", size, Place.OUTPUT))
    ops.append(element_wise([tensors[-2].name], "y", size))
    return program(tensors, ops)
