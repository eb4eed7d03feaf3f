"""Passes over the graph, in order. Each is one file and one function ``apply(model, ...)`` that
changes the model in place and says whether it did.

What holds after all of them, and what ``lowering`` relies on:
1. every dim of every value is a positive number within the format's caps;
2. no node has constants alone as inputs, unless folding it would unpack a small file to a large
   model; every constant is an initializer;
3. a node's operator is in ``lowering.supported_ops`` or is one of the internal forms: Swish with
   attribute ``alpha`` at any opset, MatMul with a third input (bias), Conv and Gemm with a bias of
   any constant shape [rows], Conv, Gemm and MatMul with a fourth input (the scale of each row);
4. values may be marked as int8 (``quantize.marks``); all of them are float32 as far as types go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir
import onnx_ir.passes.common as common

from filigree.converter.passes import (
    activations,
    bind_shapes,
    cut_outputs,
    dequantize,
    drop_identity,
    fold_affine,
    fold_constants,
    fold_pad,
    infer_shapes,
    nine_bits,
    qoperator,
    quantized,
    supported,
)


def run(
    model: ir.Model,
    *,
    batch: int = 1,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    outputs: Sequence[str] = (),
    portable: bool = False,
) -> ir.Model:
    """``model``, simplified in place and returned; ``portable``: without the internal forms, still
    ONNX.

    Raises UsageError for shapes or outputs that do not fit the model, BadFile for one that
    contradicts itself, UnsupportedModel with every operator that is not supported.
    """
    cut_outputs.apply(model, outputs)
    common.RemoveInitializersFromInputsPass()(model)
    bind_shapes.apply(model, batch=batch, shapes=shapes or {})
    _lift_constants(model)
    common.RemoveUnusedNodesPass()(model)
    qoperator.apply(model)
    dequantize.apply(model)
    if fold_constants.apply(model):
        _lift_constants(model)
    supported.apply(model, portable=portable)
    infer_shapes.apply(model)
    if not portable:
        quantized.apply(model)
        nine_bits.apply(model)
    drop_identity.apply(model)
    fold_pad.apply(model)
    if not portable:
        activations.apply(model)
    fold_affine.apply(model, layers=fold_affine.ONNX_LAYERS if portable else fold_affine.LAYERS)
    common.RemoveUnusedNodesPass()(model)
    return model


def _lift_constants(model: ir.Model) -> None:
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
