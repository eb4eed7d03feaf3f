"""Networks for tests and benchmarks: weights folded to float32, layers zeroed in blocks.

The architecture and the kept weights are the real network's; accuracy is not the point here
(``filigree prune`` is for that).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

F32 = NDArray[np.float32]
NETWORKS = {
    "MobileNetV1 1.0 224": "imagenet/mobilenet_v1_1.0_224_w8.onnx",
    "MobileNetV2 1.0 224": "imagenet/mobilenet_v2_1.0_224_w8.onnx",
    "visual wake words 0.25 96": "vww/mlperf_vww_96.onnx",
}
"""Those of the benchmarks, by name, in FILIGREE_DATA."""


def block_mask(weight: F32, sparsity: float, rows: int) -> NDArray[np.bool_]:
    """Keep the blocks (``rows`` neighbouring outputs x one input) of largest L1 norm.

    weight [O, I] -> bool [O, I]; ``sparsity`` is the share of blocks cut, per layer.
    """
    padded = np.zeros((-(-weight.shape[0] // rows) * rows, weight.shape[1]), np.float32)
    padded[: weight.shape[0]] = np.abs(weight)
    norms = padded.reshape(-1, rows, weight.shape[1]).sum(axis=1)
    cut = round(sparsity * norms.size)
    keep = np.ones(norms.size, bool)
    keep[np.argsort(norms, axis=None, kind="stable")[:cut]] = False
    return np.repeat(keep.reshape(norms.shape), rows, axis=0)[: weight.shape[0]]


def _dequantized(model: onnx.ModelProto) -> dict[str, F32]:
    """Outputs of DequantizeLinear on constants, as float32 arrays."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        q, scale, zero = (values[i] for i in node.input)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [1] * q.ndim
        if scale.ndim:
            shape[axis] = -1
        shifted = q.astype(np.float32) - zero.astype(np.float32).reshape(shape if zero.ndim else ())
        found[node.output[0]] = (shifted * scale.reshape(shape if scale.ndim else ())).astype(
            np.float32
        )
    return found


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with float32 initializers in place of DequantizeLinear."""
    folded = _dequantized(model)
    nodes = [n for n in model.graph.node if n.op_type != "DequantizeLinear"]
    used = {i for n in nodes for i in n.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    out = onnx.ModelProto()
    out.CopyFrom(model)
    del out.graph.node[:]
    del out.graph.initializer[:]
    out.graph.node.extend(nodes)
    out.graph.initializer.extend(kept)
    out.graph.initializer.extend(numpy_helper.from_array(w, name) for name, w in folded.items())
    return out


def sparsify(
    source: Path, target: Path, sparsity: float, *, rows: int = 4, inner: bool = False
) -> None:
    """Write ``source`` with that share of each pointwise convolution's blocks zeroed.

    The stem, depthwise layers and the classifier (last 1x1 or Gemm) stay dense. ``inner``: every
    layer but depthwise ones, the first and the last instead, k x k convolutions and Gemm included.
    """
    model = fold(onnx.load(source))
    values = {t.name: t for t in model.graph.initializer}
    for name, turned in _inner(model, values) if inner else _pointwise(model, values):
        weight = numpy_helper.to_array(values[name]).copy()
        matrix = weight.T if turned else weight
        mask = block_mask(matrix.reshape(len(matrix), -1), sparsity, rows).reshape(matrix.shape)
        weight[~(mask.T if turned else mask)] = 0
        values[name].CopyFrom(numpy_helper.from_array(weight, name))
    onnx.save(model, target)


Named = list[tuple[str, bool]]
"""Initializers of weights, and whether rows and columns are swapped: [inputs, outputs]."""


def _pointwise(model: onnx.ModelProto, values: dict[str, onnx.TensorProto]) -> Named:
    return [
        (n.input[1], False)
        for n in model.graph.node
        if n.op_type == "Conv"
        and tuple(values[n.input[1]].dims[2:]) == (1, 1)
        and values[n.input[1]].dims[0] not in (1000, 1001)
    ]


def _inner(model: onnx.ModelProto, values: dict[str, onnx.TensorProto]) -> Named:
    found = []
    for n in model.graph.node:
        if n.op_type not in ("Conv", "Gemm", "MatMul") or n.input[1] not in values:
            continue
        number = {a.name: a.i for a in n.attribute}
        if number.get("group", 1) == 1:
            turned = n.op_type == "MatMul" or (n.op_type == "Gemm" and not number.get("transB", 0))
            found.append((n.input[1], turned))
    return found[1:-1]
