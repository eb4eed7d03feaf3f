"""Write a network as .tflite, with TensorFlow Lite's own sparse tensors if asked.

A sparse tensor holds the nonzeros of a 1x1 filter by rows (CSR); DENSIFY turns it into the filter.
XNNPACK runs sparse convolutions on planes where there are such filters, more than two thirds of
their weights are zero, and every layer from the 3x3 stride-2 stem to the mean can run on planes:
those of stride 2 cannot where they are padded SAME, so they get a PAD of their own.

Quantised files are int8 as TFLite's converter makes them, between ports of float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tflite as schema
from numpy.typing import NDArray

from tests.models.flat import File, Scales, Sparsity
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
    target.write_bytes(_Writer(network, sparse=sparse).all_of(network))


def write_int8(network: Network, ranges: Mapping[str, tuple[float, float]], target: Path) -> None:
    """int8, weights per channel; ``ranges``: least and greatest of every value (network.ranges)."""
    target.write_bytes(_Quantised(network, ranges).all_of(network))


class _Writer:
    """A file, layer by layer."""

    def __init__(self, network: Network, *, sparse: bool) -> None:
        self._sparse, self._shapes = sparse, network.shapes
        self._file = File()
        self._index = {network.input: self._file.tensor(network.input, network.shape)}
        self._file.inputs = list(self._index.values())

    def all_of(self, network: Network) -> bytes:
        for layer in network.layers:
            self.add(layer)
        return self.finish(network.layers[-1].output)

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
        self._index[layer.output] = self._value(layer.output, layer.shape)
        make(layer, inputs)

    def finish(self, output: str) -> bytes:
        self._file.outputs = [self._index[output]]
        return self._file.finish()

    def _value(self, name: str, shape: tuple[int, ...], like: str = "") -> int:
        """A tensor for activations, of the numbers of the value ``like``, if that has a name."""
        return self._file.tensor(name, shape)

    def _bias(self, layer: Layer) -> int:
        return self._file.constant(f"{layer.output}/bias", layer.bias)

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
        given, out = [x, weights, self._bias(layer)], self._index[layer.output]
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
        padded = self._value(name, (n, h + top + bottom, w + left + right, c), layer.inputs[0])
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
        weights = self._filter(layer, layer.weights)
        act = ACTIVATIONS[layer.activation]
        given, out = [*inputs, weights, self._bias(layer)], self._index[layer.output]
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


class _Quantised(_Writer):
    def __init__(self, network: Network, ranges: Mapping[str, tuple[float, float]]) -> None:
        super().__init__(network, sparse=False)
        self._scales = {name: _scales(*bounds) for name, bounds in ranges.items()}
        for layer in network.layers:
            if layer.kind == "softmax":  # as TFLite wants it
                self._scales[layer.output] = Scales((1 / 256,), (-128,))
        given = self._index[network.input]
        self._index[network.input] = self._value(f"{network.input}/int8", network.shape)
        self._file.operator("QUANTIZE", [given], [self._index[network.input]], "QuantizeOptions")

    def finish(self, output: str) -> bytes:
        made = self._file.tensor(f"{output}/float", self._shapes[output])
        self._file.operator("DEQUANTIZE", [self._index[output]], [made], "DequantizeOptions")
        self._file.outputs = [made]
        return self._file.finish()

    def _value(self, name: str, shape: tuple[int, ...], like: str = "") -> int:
        scales = self._scales[like or name.removesuffix("/int8")]
        return self._file.tensor(name, shape, dtype="int8", scales=scales)

    def _filter(self, layer: Layer, weights: F32) -> int:
        axis = 3 if layer.kind == "depthwise" else 0
        shape = [1] * weights.ndim
        shape[axis] = -1
        steps = _steps(layer)
        q = np.rint(weights / steps.reshape(shape)).astype(np.int8)
        scales = Scales(steps.tolist(), [0] * len(steps), axis)
        return self._file.constant(f"{layer.output}/weights", q, scales=scales)

    def _bias(self, layer: Layer) -> int:
        steps = _steps(layer) * self._scales[layer.inputs[0]].scale[0]
        q = np.rint(layer.bias / steps).astype(np.int32)
        scales = Scales(steps.tolist(), [0] * len(steps))
        return self._file.constant(f"{layer.output}/bias", q, scales=scales)


def _steps(layer: Layer) -> F32:
    """A scale for each row of weights, so large that its bias is an int32 whatever goes in."""
    most = np.abs(layer.weights).reshape(len(layer.weights), -1).max(axis=1)
    return np.asarray(np.maximum(most, 1e-6 + 1e-4 * np.abs(layer.bias)) / 127, np.float32)


def _scales(lo: float, hi: float) -> Scales:
    lo, hi = min(lo, 0.0), max(hi, 0.0, 1e-6)
    scale = (hi - lo) / 255
    return Scales((scale,), (int(np.rint(-128 - lo / scale)),))


def csr(weights: NDArray[Any], *, dtype: str = "int32") -> tuple[NDArray[Any], Sparsity]:
    """The nonzeros, and where they are: the last axis compressed, indices of ``dtype``."""
    rows = weights.reshape(-1, weights.shape[-1]) != 0
    segments = np.concatenate([[0], np.cumsum(rows.sum(axis=1))]).astype(dtype)
    indices = np.nonzero(rows)[1].astype(dtype)
    levels = [*(int(n) for n in weights.shape[:-1]), (segments, indices)]
    return weights[weights != 0], Sparsity(range(weights.ndim), levels)
