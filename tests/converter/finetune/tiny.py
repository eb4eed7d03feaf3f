"""A small network with a residual, its data, and short runs on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter import passes
from filigree.converter.calibration import Data
from filigree.converter.finetune import FinetuneOptions
from filigree.converter.frontends import onnx as frontend
from filigree.converter.prune import Pattern, PruneOptions
from tests.converter.small import model

F32 = NDArray[np.float32]
CLASSES = 4


def network(seed: int = 0) -> onnx.ModelProto:
    """Nx3x6x6 -> 3x3 convolution -> two 1x1 convolutions with a residual -> mean -> 4 classes."""
    draw = np.random.default_rng(seed)

    def weights(*shape: int) -> F32:
        return (draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    proto = model(
        "[stem] a = Conv<pads=[1,1,1,1], kernel_shape=[3,3]>(x, w0, b0)",
        "a1 = Relu(a)",
        "[mid] c = Conv(a1, w1, b1)",
        "c1 = Relu(c)",
        "[last] d = Conv(c1, w2, b2)",
        "e = Add(d, a1)",
        "e1 = Relu(e)",
        "g = GlobalAveragePool(e1)",
        "f = Flatten(g)",
        "[head] l = Gemm<transB=1>(f, w3, b3)",
        "y = Softmax<axis=1>(l)",
        inputs={"x": ["N", 3, 6, 6]},
        w0=weights(16, 3, 3, 3),
        b0=weights(16),
        w1=weights(24, 16, 1, 1),
        b1=weights(24),
        w2=weights(16, 24, 1, 1),
        b2=weights(16),
        w3=weights(CLASSES, 16),
        b3=weights(CLASSES),
    )
    proto.graph.output[0].type.tensor_type.shape.CopyFrom(
        onnx.helper.make_tensor_type_proto(1, ["N", CLASSES]).tensor_type.shape
    )
    return proto


def saved(folder: Path, seed: int = 0) -> Path:
    path = folder / "small.onnx"
    onnx.save(network(seed), path)
    return path


def graph(path: Path, batch: int = 1) -> ir.Model:
    return passes.run(frontend.load(path), batch=batch, portable=True)


def samples(count: int, seed: int = 1) -> Data:
    """Images of which one corner is brighter: the label says which."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, CLASSES, count)
    x = draw.standard_normal((count, 3, 6, 6)).astype(np.float32) * np.float32(0.5)
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 2)
        image[label % 3, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 1.5
    return Data(x, y.astype(np.int64))


def options(pattern: str = "4x1", sparsity: float = 0.5, **more: object) -> FinetuneOptions:
    prune = PruneOptions(sparsity=sparsity, pattern=Pattern.parse(pattern))
    given: dict[str, object] = {"epochs": 3, "batch": 16, **more}
    return FinetuneOptions(prune=prune, **given)  # type: ignore[arg-type]
