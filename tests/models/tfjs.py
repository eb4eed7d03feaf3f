"""Write a network as a TensorFlow.js graph model: model.json, which has the graph and the shapes of
the weights, and weights.bin beside it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.models.network import Layer, Network

FUSED = {"": (), "relu": ("Relu",), "relu6": ("Relu6",)}
WEIGHTS = "weights.bin"


def write(network: Network, target: Path) -> None:
    """``target`` is the model.json."""
    writer = _Writer(network)
    for layer in network.layers:
        writer.add(layer)
    model, weights = writer.finish()
    target.write_text(json.dumps(model), encoding="utf-8")
    (target.parent / WEIGHTS).write_bytes(weights)


class _Writer:
    """Nodes of the graph and weights, in order."""

    def __init__(self, network: Network) -> None:
        self._shapes = network.shapes
        dims = [{"size": str(dim)} for dim in network.shape]
        shape = {"shape": {"shape": {"dim": dims}}, "dtype": {"type": "DT_FLOAT"}}
        self._nodes = [{"name": network.input, "op": "Placeholder", "attr": shape}]
        self._specs: list[dict[str, Any]] = []
        self._data: list[bytes] = []

    def add(self, layer: Layer) -> None:
        if layer.kind in ("conv", "depthwise"):
            self._conv(layer)
        elif layer.kind == "dense":
            names = [self._constant(f"{layer.output}/weights", layer.weights.T)]
            names.append(self._constant(f"{layer.output}/bias", layer.bias))
            self._node(layer, "_FusedMatMul", names, fused=("BiasAdd", *FUSED[layer.activation]))
        elif layer.kind == "mean":
            axes = self._constant(f"{layer.output}/axes", np.array([1, 2], np.int32))
            self._node(layer, "Mean", [axes], keep_dims={"b": False})
        elif layer.kind == "softmax":
            self._node(layer, "Softmax", [])
        else:
            self._sum(layer)

    def finish(self) -> tuple[dict[str, Any], bytes]:
        manifest = [{"paths": [WEIGHTS], "weights": self._specs}]
        model = {
            "format": "graph-model",
            "modelTopology": {"node": self._nodes, "versions": {"producer": 1}},
            "weightsManifest": manifest,
        }
        return model, b"".join(self._data)

    def _conv(self, layer: Layer) -> None:
        depthwise = layer.kind == "depthwise"
        axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        names = [self._constant(f"{layer.output}/weights", layer.weights.transpose(axes))]
        names.append(self._constant(f"{layer.output}/bias", layer.bias))
        padding = layer.padding(self._shapes[layer.inputs[0]][1:3])
        top, left, bottom, right = layer.pads
        amounts = (0, 0, top, bottom, left, right, 0, 0) if padding == "EXPLICIT" else ()
        self._node(
            layer,
            "FusedDepthwiseConv2dNative" if depthwise else "_FusedConv2D",
            names,
            fused=("BiasAdd", *FUSED[layer.activation]),
            strides=_integers(1, layer.stride, layer.stride, 1),
            dilations=_integers(1, 1, 1, 1),
            padding={"s": _text(padding)},
            explicit_paddings=_integers(*amounts),
            data_format={"s": _text("NHWC")},
        )

    def _sum(self, layer: Layer) -> None:
        """The sum has the layer's name, or its activation has."""
        name = f"{layer.output}/sum" if layer.activation else layer.output
        kind = {"T": {"type": "DT_FLOAT"}}
        nodes = [{"name": name, "op": "AddV2", "input": list(layer.inputs), "attr": kind}]
        nodes += [
            {"name": layer.output, "op": op, "input": [name], "attr": kind}
            for op in FUSED[layer.activation]
        ]
        self._nodes += nodes

    def _node(
        self, layer: Layer, op: str, names: list[str], *, fused: tuple[str, ...] = (), **attr: Any
    ) -> None:
        attr["T"] = {"type": "DT_FLOAT"}
        if fused:
            attr["fused_ops"] = {"list": {"s": [_text(name) for name in fused]}}
            attr["num_args"] = {"i": "1"}
        inputs = [*layer.inputs, *names]
        self._nodes.append({"name": layer.output, "op": op, "input": inputs, "attr": attr})

    def _constant(self, name: str, data: NDArray[Any]) -> str:
        kind = ("DT_INT32", "int32") if data.dtype == np.int32 else ("DT_FLOAT", "float32")
        dims = [{"size": str(dim)} for dim in data.shape]
        value = {"tensor": {"dtype": kind[0], "tensorShape": {"dim": dims}}}
        attr = {"dtype": {"type": kind[0]}, "value": value}
        self._nodes.append({"name": name, "op": "Const", "attr": attr})
        self._specs.append({"name": name, "shape": list(data.shape), "dtype": kind[1]})
        self._data.append(np.ascontiguousarray(data).tobytes())
        return name


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _integers(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(value) for value in values]}}
