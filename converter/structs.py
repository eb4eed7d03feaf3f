"""C structs of the packed model to the program's dataclasses and back, field by field, by name.

The C definitions (``native/include/filigree/format.h``, read through cffi) are the only ones: a
params dataclass has the field names of the struct it stands for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from filigree.converter.errors import UnsupportedModel
from filigree.converter.lowering.program import (
    INT4,
    Activation,
    ConvParams,
    MapParams,
    MatmulParams,
    Op,
    Params,
    PoolParams,
    Port,
    ReduceParams,
    SoftmaxParams,
    Tensor,
    Weights,
)
from filigree.native import enums as c
from filigree.native._ffi import ffi
from filigree.native.model import DTYPES

PARAMS: Mapping[int, type[Params]] = {
    c.FIL_OP_SPMM: ConvParams,
    c.FIL_OP_CONV: ConvParams,
    c.FIL_OP_DWCONV: ConvParams,
    c.FIL_OP_SPMV: ConvParams,
    c.FIL_OP_POOL: PoolParams,
    c.FIL_OP_MAP: MapParams,
    c.FIL_OP_REDUCE: ReduceParams,
    c.FIL_OP_SOFTMAX: SoftmaxParams,
    c.FIL_OP_MATMUL: MatmulParams,
    c.FIL_OP_PIXELS: ConvParams,
    c.FIL_OP_SPMM4: ConvParams,
    c.FIL_OP_SPMV4: ConvParams,
    c.FIL_OP_QSPMM: ConvParams,
    c.FIL_OP_QCONV: ConvParams,
    c.FIL_OP_QDWCONV: ConvParams,
    c.FIL_OP_QSPMV: ConvParams,
    c.FIL_OP_QPOOL: PoolParams,
    c.FIL_OP_QMAP: MapParams,
    c.FIL_OP_QREDUCE: ReduceParams,
    c.FIL_OP_QSOFTMAX: SoftmaxParams,
}
"""Which parameters an op kind takes (the third column of ``op.def``)."""


def member(params: type[Params]) -> str:
    """The member of ``fil_op``'s union that ``params`` stands for: ConvParams -> conv."""
    return params.__name__.removesuffix("Params").lower()


WEIGHT_DTYPES: Mapping[str, int] = {**DTYPES, INT4: c.FIL_S4}
"""Element types of stored weights."""

FEATURES: Mapping[str, int] = {"float16": c.FIL_NEEDS_F16}
"""The feature that a reader must have for tensors of an element type (``fil_feature``)."""


def bare_op(op: Op) -> Any:
    """A ``fil_op`` with kind and parameters alone: enough for ``fil_op_scratch``."""
    fields = {f.name: getattr(op.params, f.name) for f in dataclasses.fields(op.params)}
    values = {"kind": op.kind, "p": {member(type(op.params)): fields}}
    try:
        return ffi.new("fil_op *", values)
    except OverflowError as error:
        raise _over_cap(op.node, error) from error


def bare_weights(weights: Weights) -> Any:
    """A ``fil_weights`` without offsets: enough for ``fil_op_scratch``; float32 until packed."""
    if weights.packing is not None:
        return weights_struct(weights, {})
    dtype = c.FIL_F32 if weights.multipliers is None else c.FIL_S8
    return ffi.new("fil_weights *", {"dtype": dtype, "cols": weights.cols})


def op_struct(
    op: Op, tensors: Mapping[str, int], *, weights: Mapping[str, int], scratch: tuple[int, int]
) -> Any:
    """``fil_op``; ``tensors`` and ``weights`` number the names, ``scratch`` is offset and bytes."""
    s = bare_op(op)
    s.act, s.act_lo, s.act_hi = op.act.kind, op.act.lo, op.act.hi
    s.fn = op.fn
    ids = [tensors[name] for name in op.inputs]
    setattr(s, "in", [*ids, c.FIL_NONE, c.FIL_NONE][:2])
    s.out = tensors[op.output]
    s.weights = c.FIL_NONE if op.weights is None else weights[op.weights]
    s.x_offset, s.y_offset, s.out_offset = op.x_offset, op.y_offset, op.out_offset
    s.scratch_offset, s.scratch_bytes = scratch
    return s


def op_from(s: Any, tensors: list[str], *, weights: list[str], node: str) -> Op:
    """The op that a valid ``fil_op`` describes."""
    cls = PARAMS[s.kind]
    inputs = tuple(tensors[i] for i in getattr(s, "in") if i != c.FIL_NONE)
    return Op(
        kind=s.kind,
        node=node,
        inputs=inputs,
        output=tensors[s.out],
        params=_params_from(getattr(s.p, member(cls)), cls),
        act=Activation(s.act, s.act_lo, s.act_hi),
        fn=s.fn,
        weights=None if s.weights == c.FIL_NONE else weights[s.weights],
        x_offset=s.x_offset,
        y_offset=s.y_offset,
        out_offset=s.out_offset,
    )


def tensor_struct(tensor: Tensor, *, offset: int, lifetime: tuple[int, int]) -> Any:
    """``fil_tensor``; ``lifetime`` is (0, 0) outside the arena."""
    return ffi.new(
        "fil_tensor *",
        {
            "dtype": DTYPES[tensor.dtype],
            "place": int(tensor.place),
            "rank": len(tensor.shape),
            "split": tensor.split,
            "pitch": tensor.pitch,
            "dim": _dims(tensor.shape),
            "offset": offset,
            "bytes": tensor.nbytes,
            "first_op": lifetime[0],
            "last_op": lifetime[1],
            "scale": tensor.quant.scale if tensor.quant else 0.0,
            "zero": tensor.quant.zero if tensor.quant else 0,
        },
    )


def weights_struct(weights: Weights, offsets: Mapping[str, int]) -> Any:
    """``fil_weights`` of packed weights; ``offsets`` are its ``*_offset`` fields."""
    packing = weights.packing
    assert packing is not None  # lowering.check: every weights is packed
    return ffi.new(
        "fil_weights *",
        {
            "dtype": WEIGHT_DTYPES[packing.dtype],
            "block_rows": packing.block_rows,
            "coding": packing.coding,
            "rows": weights.rows,
            "cols": weights.cols,
            "groups": -(-weights.rows // packing.block_rows),
            "blocks": packing.blocks,
            **offsets,
        },
    )


def io_struct(port: Port, tensor: int, *, is_output: bool, name: bytes) -> Any:
    """``fil_io``; ``name`` is UTF-8, shorter than FIL_NAME_BYTES."""
    return ffi.new(
        "fil_io *",
        {
            "tensor": tensor,
            "is_output": is_output,
            "rank": len(port.shape),
            "dim": _dims(port.shape),
            "name": name,
        },
    )


def _dims(shape: tuple[int, ...]) -> list[int]:
    return [*shape, *[1] * (c.FIL_MAX_RANK - len(shape))]


def _params_from(s: Any, cls: type[Params]) -> Params:
    fields = {f.name: getattr(s, f.name) for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {k: v if isinstance(v, int) else tuple(v) for k, v in fields.items()}
    return cls(**values)


def _over_cap(node: str, error: OverflowError) -> UnsupportedModel:
    return UnsupportedModel(
        "a dimension is over the packed model's limit", [f'node "{node}": {error}']
    )
