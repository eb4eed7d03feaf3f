"""Convolutions of awkward shapes on every engine, against scalar code on the host: what the kernel
tests check on this machine's own instruction sets."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from filigree.converter import ConvertOptions, convert
from filigree.native.model import Model
from filigree.packaging import emulate, targets

SIZES = ((3, 5), (7, 7), (5, 13), (14, 14), (9, 23), (30, 6))
DEPTHWISE = (  # kernel, stride, dilation, pads
    ((3, 3), 1, 1, (1, 1, 1, 1)),
    ((3, 3), 2, 1, (0, 0, 1, 1)),
    ((3, 3), 2, 1, (1, 1, 1, 1)),
    ((5, 5), 1, 1, (2, 2, 2, 2)),
    ((5, 5), 2, 1, (1, 2, 2, 1)),
    ((3, 1), 1, 1, (1, 0, 1, 0)),
    ((3, 3), 3, 1, (1, 1, 1, 1)),
    ((3, 3), 1, 2, (2, 2, 2, 2)),
    ((3, 3), 1, 1, (3, 3, 3, 3)),
)
CHANNELS, ROWS = 5, 19


def model(size: tuple[int, int]) -> onnx.ModelProto:
    """One input, and an output for each of ``DEPTHWISE``, a stem and a sparse pointwise layer."""
    draw = np.random.default_rng(size)
    nodes, weights = [], {}

    def conv(name: str, weight: np.ndarray, **attributes: object) -> None:
        weights[f"{name}_w"] = weight.astype(np.float32)
        weights[f"{name}_b"] = draw.standard_normal(len(weight)).astype(np.float32)
        inputs = ["x", f"{name}_w", f"{name}_b"]
        nodes.append(helper.make_node("Conv", inputs, [name], name, **attributes))

    for i, (kernel, stride, dilation, pads) in enumerate(DEPTHWISE):
        conv(
            f"depthwise{i}",
            draw.standard_normal((CHANNELS, 1, *kernel)),
            group=CHANNELS,
            strides=[stride] * 2,
            dilations=[dilation] * 2,
            pads=list(pads),
        )
    conv("stem", draw.standard_normal((ROWS, CHANNELS, 3, 3)), strides=[2, 2], pads=[1, 1, 1, 1])
    dense = draw.standard_normal((ROWS, CHANNELS, 1, 1))
    conv("pointwise", dense * (draw.random((ROWS, CHANNELS, 1, 1)) < 0.4))
    graph = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, *size])],
        [helper.make_tensor_value_info(n.name, TensorProto.FLOAT, None) for n in nodes],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: "x".join(map(str, size)))
def packed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The model of one size in every pattern."""
    path = tmp_path_factory.mktemp("shapes") / "shapes.onnx"
    onnx.save(model(request.param), path)
    patterns = ("dense", "1x1", "2x1", "4x1", "8x1")
    return {p: convert(path, options=ConvertOptions(pattern=p)).data for p in patterns}


def test_agrees_with_the_host(packed: dict[str, bytes], engine: str) -> None:
    for pattern, fil in packed.items():
        host = Model.from_bytes(fil, isa=targets.SCALAR)
        draw = np.random.default_rng(0)
        x = draw.standard_normal(host.inputs[0].shape).astype(np.float32)
        outputs = zip(host.run(x), emulate.run(engine, fil, [x]), host.outputs, strict=True)
        for want, got, port in outputs:
            message = f"{pattern} {port.name}"
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=message)
