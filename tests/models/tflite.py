"""Write a network as .tflite, with TensorFlow Lite's own sparse tensors if asked.

A sparse tensor holds the nonzeros of a 1x1 filter by rows (CSR); DENSIFY turns it into the filter.
XNNPACK runs sparse convolutions on planes where there are such filters, more than two thirds of
their weights are zero, and every layer from the 3x3 stride-2 stem to the mean can run on planes:
those of stride 2 cannot where they are padded SAME, so they get a PAD of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tflite as schema
from numpy.typing import NDArray

from tests.models.flat import File, Sparsity
from tests.models.network import F32, Layer, Network

SPARSE_FROM = 2 / 3  # share of zeros
ACTIVATIONS = {
    "": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}


def write(network: Network, target: Path, *, sparse: bool = False) -> None:
    """``sparse``: 1x1 convolutions with at least SPARSE_FROM zeros get sparse tensors."""
    writer = _Writer(network, sparse=sparse)
    for layer in network.layers:
        writer.add(layer)
    target.write_bytes(writer.finish(network.layers[-1].output))


class _Writer:
    """A file, layer by layer."""

    def __init__(self, network: Network, *, sparse: bool) -> None:
        self._sparse, self._shapes = sparse, network.shapes
        self._file = File()
        self._index = {network.input: self._file.tensor(network.input, network.shape)}
        self._file.inputs = list(self._index.values())

    def add(self, layer: Layer) -> None:
        make = {
            "conv": self._conv,
            "depthwise": self._conv,
            "dense": self._dense,
            "mean": self._mean,
            "add": self._add,
            "softmax": self._softmax,
        }[layer.kind]
        inputs = [self._index[name] for name in layer.inputs]
        self._index[layer.output] = self._file.tensor(layer.output, layer.shape)
        make(layer, inputs)

    def finish(self, output: str) -> bytes:
        self._file.outputs = [self._index[output]]
        return self._file.finish()

    def _conv(self, layer: Layer, inputs: list[int]) -> None:
        depthwise = layer.kind == "depthwise"
        padding = layer.padding(self._shapes[layer.inputs[0]][1:3])
        x = inputs[0]
        if padding == "EXPLICIT":
            x, padding = self._pad(layer, x), "VALID"
        fields: dict[str, Any] = {
            "Padding": PADDING[padding],
            "StrideH": layer.stride,
            "StrideW": layer.stride,
            "FusedActivationFunction": ACTIVATIONS[layer.activation],
        }
        axes = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        weights = self._filter(layer, np.ascontiguousarray(layer.weights.transpose(axes)))
        bias = self._file.constant(f"{layer.output}/bias", layer.bias)
        given, out = [x, weights, bias], self._index[layer.output]
        if depthwise:
            fields["DepthMultiplier"] = 1
            self._file.operator(
                "DEPTHWISE_CONV_2D", given, [out], "DepthwiseConv2DOptions", **fields
            )
        else:
            self._file.operator("CONV_2D", given, [out], "Conv2DOptions", **fields)

    def _pad(self, layer: Layer, x: int) -> int:
        name, (n, h, w, c) = f"{layer.output}/padded", self._shapes[layer.inputs[0]]
        top, left, bottom, right = layer.pads
        pairs = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        padded = self._file.tensor(name, (n, h + top + bottom, w + left + right, c))
        amounts = self._file.constant(f"{name}/amounts", pairs)
        self._file.operator("PAD", [x, amounts], [padded], "PadOptions")
        return padded

    def _filter(self, layer: Layer, weights: F32) -> int:
        name = f"{layer.output}/weights"
        point = layer.kind == "conv" and weights.shape[1:3] == (1, 1)
        if not (self._sparse and point and np.mean(weights == 0) >= SPARSE_FROM):
            return self._file.constant(name, weights)
        kept, sparsity = csr(weights)
        stored = self._file.tensor(f"{name}/sparse", weights.shape, data=kept, sparsity=sparsity)
        dense = self._file.tensor(name, weights.shape)
        self._file.operator("DENSIFY", [stored], [dense], "DensifyOptions")
        return dense

    def _dense(self, layer: Layer, inputs: list[int]) -> None:
        weights = self._file.constant(f"{layer.output}/weights", layer.weights)
        bias = self._file.constant(f"{layer.output}/bias", layer.bias)
        act = ACTIVATIONS[layer.activation]
        given, out = [*inputs, weights, bias], self._index[layer.output]
        self._file.operator(
            "FULLY_CONNECTED", given, [out], "FullyConnectedOptions", FusedActivationFunction=act
        )

    def _mean(self, layer: Layer, inputs: list[int]) -> None:
        axes = self._file.constant(f"{layer.output}/axes", np.array([1, 2], np.int32))
        out = self._index[layer.output]
        self._file.operator("MEAN", [*inputs, axes], [out], "ReducerOptions")

    def _add(self, layer: Layer, inputs: list[int]) -> None:
        act, out = ACTIVATIONS[layer.activation], self._index[layer.output]
        self._file.operator("ADD", inputs, [out], "AddOptions", FusedActivationFunction=act)

    def _softmax(self, layer: Layer, inputs: list[int]) -> None:
        out = self._index[layer.output]
        self._file.operator("SOFTMAX", inputs, [out], "SoftmaxOptions", Beta=1.0)


def csr(weights: NDArray[Any], *, dtype: str = "int32") -> tuple[NDArray[Any], Sparsity]:
    """The nonzeros, and where they are: the last axis compressed, indices of ``dtype``."""
    rows = weights.reshape(-1, weights.shape[-1]) != 0
    segments = np.concatenate([[0], np.cumsum(rows.sum(axis=1))]).astype(dtype)
    indices = np.nonzero(rows)[1].astype(dtype)
    levels = [*(int(n) for n in weights.shape[:-1]), (segments, indices)]
    return weights[weights != 0], Sparsity(range(weights.ndim), levels)
