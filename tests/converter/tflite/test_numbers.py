"""Constants in TFLite's other forms: sparse, float16, eight bits between float32 values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from filigree.converter import convert, reference
from filigree.converter.frontends import tflite
from filigree.converter.passes.graph import constant
from filigree.native import enums as c
from filigree.native.model import Model, isas
from tests.converter.tflite.nets import Net
from tests.converter.tflite.test_operators import (
    CLOSE,
    in_litert,
    in_onnx_runtime,
    inputs_of,
    program_outputs,
    saved,
)
from tests.models.flat import File, Scales, Sparsity
from tests.models.tflite import csr

Array = NDArray[Any]
ROWS, COLS = 8, 12


def sparse_weights(seed: int = 0) -> Array:
    """[ROWS, COLS] with an empty row, an empty column and a full row."""
    draw = np.random.default_rng(seed)
    weights = draw.standard_normal((ROWS, COLS)).astype(np.float32)
    weights[draw.random((ROWS, COLS)) < 0.7] = 0
    weights[1], weights[:, 4], weights[5] = 0, 0, 1
    return weights


def blocks(weights: Array, sizes: tuple[int, int], dtype: str) -> tuple[Array, Sparsity]:
    """Blocks of ``sizes`` that hold any nonzero, by rows of blocks."""
    (h, w), (rows, cols) = sizes, weights.shape
    tiles = weights.reshape(rows // h, h, cols // w, w).transpose(0, 2, 1, 3)
    kept = tiles.any(axis=(2, 3))
    segments = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(dtype)
    indices = np.nonzero(kept)[1].astype(dtype)
    levels = [rows // h, (segments, indices), h, w]
    return tiles[kept].reshape(-1), Sparsity((0, 1, 2, 3), levels, (0, 1))


def rows_in_blocks(weights: Array, dtype: str) -> tuple[Array, Sparsity]:
    """Blocks of 1x4: one block axis alone."""
    rows, cols = weights.shape
    tiles = weights.reshape(rows, cols // 4, 4)
    kept = tiles.any(axis=2)
    segments = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(dtype)
    levels = [rows, (segments, np.nonzero(kept)[1].astype(dtype)), 4]
    return tiles[kept].reshape(-1), Sparsity((0, 1, 2), levels, (1,))


def columns_first(weights: Array, dtype: str) -> tuple[Array, Sparsity]:
    turned, found = csr(weights.T.copy(), dtype=dtype)
    return turned, Sparsity((1, 0), found.levels)


def both_compressed(weights: Array, dtype: str) -> tuple[Array, Sparsity]:
    """Rows that are empty are left out, too."""
    full = np.nonzero(weights.any(axis=1))[0]
    kept, found = csr(weights[full], dtype=dtype)
    outer = (np.array([0, len(full)], dtype), full.astype(dtype))
    return kept, Sparsity((0, 1), [outer, found.levels[-1]])


def all_dense(weights: Array, dtype: str) -> tuple[Array, Sparsity]:
    return weights.T.reshape(-1), Sparsity((1, 0), [COLS, ROWS])


FORMS = {
    "rows": lambda w, dtype: csr(w, dtype=dtype),
    "columns": columns_first,
    "blocks-4x1": lambda w, dtype: blocks(w, (4, 1), dtype),
    "blocks-2x3": lambda w, dtype: blocks(w, (2, 3), dtype),
    "blocks-1x4": rows_in_blocks,
    "both-compressed": both_compressed,
    "dense-columns": all_dense,
}


def dense_layer(
    stored: Array,
    sparsity: Sparsity | None,
    *,
    densify: bool = False,
    dtype: str = "float32",
    scales: Scales | None = None,
) -> bytes:
    """[1, COLS] through weights [ROWS, COLS]."""
    file = File()
    x, y = file.tensor("x", (1, COLS)), file.tensor("y", (1, ROWS))
    shape = (ROWS, COLS)
    w = file.tensor("w", shape, dtype=dtype, data=stored, sparsity=sparsity, scales=scales)
    if densify:
        dense = file.tensor("dense", shape, dtype=dtype, scales=scales)
        file.operator("DENSIFY", [w], [dense], "DensifyOptions")
        w = dense
    if dtype == "float16":
        wide = file.tensor("wide", shape)
        file.operator("DEQUANTIZE", [w], [wide], "DequantizeOptions")
        w = wide
    bias = file.constant("bias", np.arange(ROWS, dtype=np.float32))
    file.operator("FULLY_CONNECTED", [x, w, bias], [y], "FullyConnectedOptions")
    file.inputs, file.outputs = [x], [y]
    return file.finish()


def outputs(data: bytes, folder: Path) -> tuple[Array, Array]:
    """Seeded noise, and what ONNX Runtime and our program make of it."""
    path = saved(data, folder)
    model = tflite.load(path)
    inputs = inputs_of(model)
    (want,) = in_onnx_runtime(model, inputs).values()
    (got,) = program_outputs(path, inputs)
    np.testing.assert_allclose(got, want, atol=CLOSE, rtol=CLOSE)
    return inputs[0], want


@pytest.mark.parametrize("dtype", ["int32", "uint16", "uint8"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("densify", [True, False])
def test_sparse_tensor(form: str, dtype: str, densify: bool, tmp_path: Path) -> None:
    weights = sparse_weights()
    stored, sparsity = FORMS[form](weights, dtype)
    x, y = outputs(dense_layer(stored, sparsity, densify=densify), tmp_path)
    want = x @ weights.T + np.arange(ROWS, dtype=np.float32)
    np.testing.assert_allclose(y, want, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("form", ["rows", "blocks-1x4"])
def test_litert_reads_the_same_sparse_tensor(form: str, tmp_path: Path) -> None:
    data = dense_layer(*FORMS[form](sparse_weights(), "int32"), densify=True)
    x, y = outputs(data, tmp_path)
    np.testing.assert_allclose(y, in_litert(data, [x])[0], atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("sparse", [True, False])
def test_float16_weights(sparse: bool, tmp_path: Path) -> None:
    weights = sparse_weights().astype(np.float16)
    stored, sparsity = csr(weights) if sparse else (weights, None)
    data = dense_layer(stored, sparsity, densify=sparse, dtype="float16")
    x, y = outputs(data, tmp_path)
    want = x @ weights.astype(np.float32).T + np.arange(ROWS, dtype=np.float32)
    np.testing.assert_allclose(y, want, atol=CLOSE, rtol=CLOSE)
    if not sparse:
        np.testing.assert_allclose(y, in_litert(data, [x])[0], atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("per_row", [True, False])
def test_eight_bit_weights_of_float32_layers(per_row: bool, tmp_path: Path) -> None:
    """They stay integers behind a DequantizeLinear, which conversion unfolds."""
    q = np.round(sparse_weights() * 30).astype(np.int8)
    scale: Sequence[float] = np.linspace(0.01, 0.03, ROWS) if per_row else [0.02]
    scales = Scales(scale, [0] * len(scale))
    data = dense_layer(q, None, dtype="int8", scales=scales)
    x, y = outputs(data, tmp_path)
    real = q * np.reshape(np.float32(scale), (-1, 1))
    np.testing.assert_allclose(y, x @ real.T + np.arange(ROWS), atol=CLOSE, rtol=CLOSE)
    stored = tflite.load(saved(data, tmp_path)).graph.initializers["w"]
    assert np.array_equal(constant(stored), q)


def test_pixels_are_cast(tmp_path: Path) -> None:
    """An input of uint8 that CAST reads: conversion makes one operation of it and the turn."""
    net = Net("pixels")
    x = net.input(1, 8, 8, 3)
    net.file.tensors[x].kind = 3
    y = net.op("CAST", [x], (1, 8, 8, 3), "CastOptions", InDataType=3, OutDataType=0)
    y = net.op("MUL", [y, net.floats(1)], (1, 8, 8, 3), "MulOptions")
    net.file.outputs = [net.conv(y, 4, (8, 8))]
    data = net.file.finish()
    path = saved(data, tmp_path)
    model = tflite.load(path)
    inputs = inputs_of(model)
    (want,) = in_onnx_runtime(model, inputs).values()
    (got,) = program_outputs(path, inputs)
    np.testing.assert_allclose(got, want, atol=1e-3, rtol=CLOSE)
    first = convert(path).program.ops[0]
    assert first.kind == c.FIL_OP_PIXELS
    np.testing.assert_allclose(want, in_litert(data, inputs)[0], atol=1e-3, rtol=CLOSE)


@dataclass(frozen=True)
class Step:
    """QUANTIZE or DEQUANTIZE to a type with scale and zero point."""

    dtype: str
    scale: float = 0.0
    zero: int = 0


CHAINS = {
    "there-and-back": (Step("int8", 0.05, 3), Step("float32")),
    "to-other-scales": (Step("int8", 0.02, -5), Step("uint8", 0.03, 120), Step("float32")),
    "ends-in-integers": (Step("uint8", 0.04, 100),),
}


@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (2, 7)], ids=["image", "rows"])
@pytest.mark.parametrize("chain", CHAINS)
def test_quantise_and_dequantise(chain: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    file = File()
    x = last = file.tensor("x", shape)
    for i, step in enumerate(CHAINS[chain]):
        real = step.dtype == "float32"
        scales = None if real else Scales([step.scale], [step.zero])
        made = file.tensor(f"t{i}", shape, dtype=step.dtype, scales=scales)
        kind = "DEQUANTIZE" if real else "QUANTIZE"
        file.operator(kind, [last], [made], f"{kind.title()}Options")
        last = made
    file.inputs, file.outputs = [x], [last]
    data = file.finish()
    model = tflite.load(saved(data, tmp_path))
    inputs = inputs_of(model)
    (got,) = in_onnx_runtime(model, inputs).values()
    (want,) = in_litert(data, inputs)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    step = 1 if want.dtype != np.float32 else 0.051
    gap = np.abs(got.astype(np.float64) - want.astype(np.float64))
    assert np.mean(gap < 1e-6) >= 0.95 and gap.max() <= step


def test_means_of_int8_round_ties_as_tflite_does(tmp_path: Path) -> None:
    """Of the integers as they are, away from zero, whatever they stand for."""
    file, scales = File(), Scales([0.1], [-128])
    x = file.tensor("x", (1, 4, 6, 5), dtype="int8", scales=scales)
    y = file.tensor("y", (1, 2, 3, 5), dtype="int8", scales=scales)
    fields = {"Padding": 1, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    file.operator("AVERAGE_POOL_2D", [x], [y], "Pool2DOptions", **fields)
    file.inputs, file.outputs = [x], [y]
    made = convert(saved(file.finish(), tmp_path))
    given = np.random.default_rng(2).integers(-128, 128, (1, 4, 6, 5)).astype(np.int8)
    sums = given.astype(int).reshape(2, 2, 3, 2, 5).sum(axis=(1, 3))[None]
    want = np.sign(sums) * ((np.abs(sums) + 2) // 4)
    assert (sums % 4 == 2).sum() > 3
    for isa in isas():
        np.testing.assert_array_equal(Model.from_bytes(made.data, isa=isa).run(given), want)
    np.testing.assert_array_equal(reference.run(made.program, given)[0], want)
