"""fold_affine: what folds into the layer before it, what does not, and what it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from filigree.converter.passes import fold_affine
from tests.converter.small import assert_same_numbers, constant_of, inferred, model, ops

NUMBERS = np.random.default_rng(0)
CONV = {"w": NUMBERS.standard_normal((4, 3, 3, 3)).astype(np.float32)}
CONV |= {"b": NUMBERS.standard_normal(4).astype(np.float32)}
DENSE = {"w": NUMBERS.standard_normal((3, 4)).astype(np.float32), "b": CONV["b"]}
IMAGE, ROWS = (1, 3, 5, 6), (2, 3)
LAYERS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "conv": ("v = Conv(x, w)", IMAGE, {"w": CONV["w"]}),
    "conv-bias": ("v = Conv(x, w, b)", IMAGE, CONV),
    "conv-1d": ("v = Conv(x, w)", (1, 3, 7), {"w": CONV["w"][..., 0]}),
    "gemm": ("v = Gemm(x, w)", ROWS, {"w": DENSE["w"]}),
    "gemm-bias": ("v = Gemm<beta=-2.0>(x, w, b)", ROWS, DENSE),
    "gemm-transposed": ("v = Gemm<transB=1>(x, w, b)", ROWS, DENSE | {"w": DENSE["w"].T.copy()}),
    "gemm-scalar-bias": ("v = Gemm(x, w, b)", ROWS, DENSE | {"b": np.float32(2)}),
    "matmul": ("v = MatMul(x, w)", ROWS, {"w": DENSE["w"]}),
    "matmul-rank-4": ("v = MatMul(x, w)", (2, 2, 5, 3), {"w": DENSE["w"]}),
}
AFFINES = {
    "add": "y = Add(v, s)",
    "add-first": "y = Add(s, v)",
    "sub": "y = Sub(v, s)",
    "sub-from": "y = Sub(s, v)",
    "mul": "y = Mul(v, s)",
    "mul-first": "y = Mul(s, v)",
    "div": "y = Div(v, s)",
}
STATISTICS = {n: NUMBERS.random(4).astype(np.float32) + 0.5 for n in ("g", "o", "m", "va")}
NORM = "y = BatchNormalization<epsilon=0.01>(v, g, o, m, va)"


def per_channel(shape: tuple[int, ...], layer: str) -> np.ndarray:
    """A constant that varies along the output channels of ``layer``."""
    values = NUMBERS.random(4).astype(np.float32) + 0.5
    return values.reshape(4, *(1,) * (len(shape) - 2)) if layer.startswith("conv") else values


def affine_model(layer: str, affine: str, **constants: np.ndarray) -> onnx.ModelProto:
    node, shape, weights = LAYERS[layer]
    return model(node, affine, inputs={"x": shape}, **weights, **constants)


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("layer", LAYERS)
def test_arithmetic_folds_into_every_layer(layer: str, affine: str) -> None:
    proto = affine_model(layer, AFFINES[affine], s=per_channel(LAYERS[layer][1], layer))
    graph = inferred(proto)
    assert fold_affine.apply(graph)
    assert len(ops(graph)) == 1
    assert_same_numbers(proto, graph)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 4), (4,)])
def test_every_shape_of_a_constant_along_the_channels(shape: tuple[int, ...]) -> None:
    scale = NUMBERS.random(shape).astype(np.float32) + 0.5
    proto = affine_model("gemm-bias", AFFINES["mul"], s=scale)
    graph = inferred(proto)
    assert fold_affine.apply(graph)
    assert_same_numbers(proto, graph)


@pytest.mark.parametrize("layer", ["conv", "conv-bias", "conv-1d", "gemm", "gemm-bias", "matmul"])
def test_batch_normalization_folds(layer: str) -> None:
    proto = affine_model(layer, NORM, **STATISTICS)
    graph = inferred(proto)
    assert fold_affine.apply(graph)
    assert len(ops(graph)) == 1
    assert_same_numbers(proto, graph)


def test_a_chain_folds_as_a_whole() -> None:
    nodes = ["v = Conv(x, w)", "n = BatchNormalization(v, g, o, m, va)", "a = Mul(n, s)"]
    constants = {"w": CONV["w"], "s": np.float32(3), **STATISTICS}
    proto = model(*nodes, "y = Add(a, s)", inputs={"x": IMAGE}, **constants)
    graph = inferred(proto)
    assert fold_affine.apply(graph)
    assert ops(graph) == ["Conv"]
    assert_same_numbers(proto, graph)


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param(["v = Conv(x, w)", "u = Mul(v, s)", "y = Add(u, v)"], id="read-twice"),
        pytest.param(["v = Conv(x, w)", "y = Mul(v, v)"], id="by-itself"),
        pytest.param(["v = Conv(x, w)", "r = Relu(v)", "y = Mul(r, s)"], id="not-right-after"),
        pytest.param(["v = Conv(x, w)", "y = Mul(v, x1)"], id="not-constant"),
        pytest.param(["v = Conv(x, w)", "y = Mul(v, wide)"], id="along-another-axis"),
        pytest.param(["v = Conv(x, w)", "y = Add(v, full)"], id="along-every-axis"),
        pytest.param(["v = Conv(x, w)", "y = Mul(v, more)"], id="adds-an-axis"),
        pytest.param(["v = Conv(x, w)", "y = Div(s, v)"], id="divided-by-it"),
        pytest.param(["v = Conv(x, w)", "y = Div(v, zeros)"], id="divided-by-zero"),
        pytest.param(["v = Conv(x, w)", "y = Max(v, s)"], id="not-affine"),
        pytest.param(["v = Conv(x, w, x2)", "y = Mul(v, s)"], id="bias-not-constant"),
        pytest.param(["v = Gemm<alpha=0.5>(x3, d)", "y = Mul(v, s)"], id="gemm-with-alpha"),
        pytest.param(["v = Gemm(x3, d, full_bias)", "y = Mul(v, s)"], id="gemm-with-a-full-bias"),
        pytest.param(["v = MatMul(x3, d3)", "y = Add(v, s)"], id="matmul-of-rank-3"),
        pytest.param(["v = MatMul(x3, d1)", "y = Add(v, s)"], id="matmul-by-a-vector"),
        pytest.param(["v = MatMul(x4, d)", "y = Add(v, s)"], id="matmul-of-a-vector"),
    ],
)
def test_what_does_not_fold(nodes: list[str]) -> None:
    constants = {
        "w": CONV["w"],
        "s": np.float32(2),
        "wide": np.arange(1, 5, dtype=np.float32),
        "full": np.ones((1, 4, 3, 4), np.float32),
        "more": np.ones((1,) * 5, np.float32),
        "zeros": np.zeros((4, 1, 1), np.float32),
        "d": DENSE["w"],
        "d3": np.ones((2, 3, 4), np.float32),
        "d1": np.ones(3, np.float32),
        "full_bias": np.ones((2, 4), np.float32),
    }
    shapes = {"x": IMAGE, "x1": (1, 4, 3, 4), "x2": (4,), "x3": (2, 3), "x4": (3,)}
    text = " ".join(nodes)
    used = {n: a for n, a in constants.items() if f"{n})" in text or f"{n}," in text}
    proto = model(
        *nodes,
        inputs={n: s for n, s in shapes.items() if f"{n})" in text or f"{n}," in text},
        **used,
    )
    graph = inferred(proto)
    before = ops(graph)
    assert not fold_affine.apply(graph)
    assert ops(graph) == before
    if "x2" not in text and "zeros" not in text:
        assert_same_numbers(proto, graph)


def test_not_when_the_layer_is_an_output() -> None:
    proto = model(
        "v = Conv(x, w)",
        "y = Mul(v, s)",
        inputs={"x": IMAGE},
        outputs=("y", "v"),
        w=CONV["w"],
        s=np.float32(2),
    )
    graph = inferred(proto)
    assert not fold_affine.apply(graph)
    assert_same_numbers(proto, graph)


def test_not_in_training_mode() -> None:
    node = "y, a, c = BatchNormalization<training_mode=1>(v, g, o, m, va)"
    graph = inferred(affine_model("conv", node, **STATISTICS))
    assert not fold_affine.apply(graph)


def test_zeros_stay_zeros() -> None:
    weight = np.where(NUMBERS.random((4, 3, 3, 3)) < 0.7, 0, CONV["w"])
    proto = model("v = Conv(x, w)", NORM, inputs={"x": IMAGE}, w=weight, **STATISTICS)
    graph = inferred(proto)
    assert fold_affine.apply(graph)
    assert np.array_equal(constant_of(graph, "Conv", 1) == 0, weight == 0)


def test_shared_weights_fold_each_on_its_own() -> None:
    proto = model(
        "v = Conv(x, w)",
        "u = Conv(x, w)",
        "a = Mul(v, s)",
        "y = Add(a, u)",
        inputs={"x": IMAGE},
        w=CONV["w"],
        s=np.float32(2),
    )
    graph = inferred(proto)
    assert fold_affine.apply(graph)
    assert_same_numbers(proto, graph)


def test_names_of_new_constants_are_free() -> None:
    proto = model(
        "v = Conv(r, w)", "y = Mul(v, s)", inputs={"r": IMAGE}, w=CONV["w"], s=np.float32(2)
    )
    proto.graph.input[0].name = proto.graph.node[0].input[0] = "w.0"
    graph = inferred(proto)
    assert fold_affine.apply(graph)
    assert "w.0" not in graph.graph.initializers
    assert_same_numbers(proto, graph)


def test_a_scale_that_is_not_finite_is_refused_later() -> None:
    from filigree.converter import lowering
    from filigree.converter.errors import UnsupportedModel

    bad = STATISTICS | {"va": np.full(4, -1, np.float32)}
    graph = inferred(affine_model("conv", NORM, **bad))
    fold_affine.apply(graph)
    with pytest.raises(UnsupportedModel, match="not finite"):
        lowering.lower(graph, name="bad")
