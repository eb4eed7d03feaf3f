"""A graph in PyTorch: the same numbers as ONNX Runtime, gradients, any batch, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from filigree.converter import passes  # noqa: E402  PyTorch first, or a skip
from filigree.converter.calibration import Runner  # noqa: E402
from filigree.converter.errors import UnsupportedModel  # noqa: E402
from filigree.converter.finetune.graph import Network  # noqa: E402
from filigree.converter.finetune.operators import OPERATORS  # noqa: E402
from filigree.converter.frontends import onnx as frontend  # noqa: E402
from filigree.converter.lowering import supported_ops  # noqa: E402
from tests.converter.finetune import tiny  # noqa: E402
from tests.converter.small import model, simplified  # noqa: E402
from tests.models.zoo import ZOO, Entry, sample_inputs  # noqa: E402

TOLERANCE = 1e-5  # of an output's largest value, where that is over 1


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def assert_same(graph: ir.Model, x: np.ndarray) -> None:
    expected = Runner(graph).run(x)[0]
    with torch.no_grad():
        found = Network(graph)(torch.from_numpy(x)).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.parametrize("entry", ZOO, ids=[entry.name for entry in ZOO])
def test_real_networks(entry: Entry, data: Path) -> None:
    graph = passes.run(frontend.load(data / "models" / entry.file), batch=2, portable=True)
    assert_same(graph, sample_inputs(entry, data, 2))


@pytest.mark.parametrize("name", ["digits_dense.onnx", "digits_sparse80.onnx"])
def test_embedded_networks(name: str, digits: Path) -> None:
    graph = passes.run(frontend.load(digits / name), portable=True)
    with np.load(digits / "digits_test.npz") as file:
        assert_same(graph, file["x"][:1])


def test_every_supported_operator_can_be_trained() -> None:
    """But for rounding: networks are trained before they are quantised."""
    rounding = {"QuantizeLinear", "DequantizeLinear"}
    assert supported_ops().keys() - rounding == OPERATORS.keys()


FORMS = {
    "conv, uneven padding": "y = Conv<pads=[0,1,2,1], strides=[2,1]>(x, w)",
    "conv, same lower": 'y = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w)',
    "conv, dilated": "y = Conv<dilations=[2,2], pads=[1,1,1,1]>(x, w)",
    "average": "y = AveragePool<kernel_shape=[3,3], pads=[1,0,1,2], strides=[2,2]>(x)",
    "average, padding counts": "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], "
    "count_include_pad=1, strides=[2,2]>(x)",
    "average, over the end": "y = AveragePool<kernel_shape=[2,3], strides=[3,2], ceil_mode=1>(x)",
    "largest": "y = MaxPool<kernel_shape=[3,2], pads=[1,0,1,1], strides=[2,2]>(x)",
    "largest, over the end": "y = MaxPool<kernel_shape=[2,2], strides=[2,3], ceil_mode=1>(x)",
    "leaky": "y = LeakyRelu<alpha=0.3>(x)",
    "hard sigmoid": "y = HardSigmoid<alpha=0.3, beta=0.4>(x)",
    "hard swish": "y = HardSwish(x)",
    "slope": "y = PRelu(x, s)",
    "norm": "y = BatchNormalization<epsilon=0.01>(x, c, c, c, c)",
    "transpose": "y = Transpose<perm=[0,2,3,1]>(x)",
    "mean": "y = ReduceMean<axes=[2,3], keepdims=0>(x)",
    "softmax": "y = Softmax<axis=1>(x)",
    "slice": "y = Slice(x, one, two, one)",
    "pad": "y = Pad(x, pads, half)",
    "split": "y = Concat<axis=1>(b, a)",
    "reshape": "y = Reshape(x, shape)",
    "squared": "y = Pow(x, square)",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    draw = np.random.default_rng(2)
    before = ["a, b = Split<axis=1>(x, sizes)"] if form == "split" else []
    proto = model(
        *before,
        FORMS[form],
        inputs={"x": ["N", 4, 7, 8]},
        w=draw.standard_normal((5, 4, 3, 3)).astype(np.float32),
        s=draw.standard_normal((4, 1, 1)).astype(np.float32),
        c=draw.random(4).astype(np.float32) + 0.5,
        one=np.array([1]),
        two=np.array([3]),
        pads=np.array([0, 0, 1, 2, 0, 0, 2, 0]),
        half=np.float32(0.5),
        sizes=np.array([1, 3]),
        shape=np.array([0, 8, -1]),
        square=np.float32(2),
    )
    graph = simplified(proto, batch=3, portable=True)
    assert_same(graph, draw.standard_normal((3, 4, 7, 8)).astype(np.float32))


def test_any_batch(tmp_path: Path) -> None:
    path = tiny.saved(tmp_path)
    x = tiny.samples(5).x
    with torch.no_grad():
        found = Network(tiny.graph(path))(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, Runner(tiny.graph(path, 5)).run(x)[0], atol=1e-5)


def test_gradients_are_finite_differences(tmp_path: Path) -> None:
    network = Network(tiny.graph(tiny.saved(tmp_path))).double()
    network.constants = {
        k: v.double() if v.is_floating_point() else v for k, v in network.constants.items()
    }
    data = tiny.samples(4)
    x, y = torch.from_numpy(data.x).double(), torch.from_numpy(data.y)

    def loss() -> torch.Tensor:
        scores = network.values(x, [network.logits])[0]
        return torch.nn.functional.cross_entropy(scores, y)

    loss().backward()
    draw = np.random.default_rng(3)
    assert set(network.weights) == {"w0", "b0", "w1", "b1", "w2", "b2", "w3", "b3"}
    for name, weight in network.weights.items():
        flat, step = weight.data.reshape(-1), 1e-6
        for i in draw.integers(0, flat.numel(), 4).tolist():
            kept = float(flat[i])
            with torch.no_grad():
                flat[i] = kept + step
                up = float(loss())
                flat[i] = kept - step
                down = float(loss())
                flat[i] = kept
            difference = (up - down) / (2 * step)
            assert difference == pytest.approx(float(weight.grad.reshape(-1)[i]), abs=1e-6), name


def test_values_stop_where_they_can(tmp_path: Path) -> None:
    network = Network(tiny.graph(tiny.saved(tmp_path)))
    x = torch.zeros(2, 3, 6, 6)
    first, last = network.values(x, ["a", "d"])
    assert first.shape == (2, 16, 6, 6)
    assert last.shape == (2, 16, 6, 6)


def test_weights_go_back_under_their_names(tmp_path: Path) -> None:
    graph = tiny.graph(tiny.saved(tmp_path))
    network = Network(graph)
    with torch.no_grad():
        network.weights["w1"].add_(1.0)
    names = list(graph.graph.initializers)
    network.store(graph)
    assert list(graph.graph.initializers) == names
    assert_same(graph, tiny.samples(1).x)


MIXING = {
    "Reshape": "y = Reshape(x, flat)",
    "Transpose": "y = Transpose<perm=[1,0]>(x)",
    "ReduceSum": "y = ReduceSum<keepdims=0>(x, first)",
}


@pytest.mark.parametrize("op", MIXING)
def test_networks_that_mix_samples_are_refused(op: str) -> None:
    proto = model(
        f"[bad] {MIXING[op]}", inputs={"x": ["N", 4]}, flat=np.array([-1]), first=np.array([0])
    )
    with pytest.raises(UnsupportedModel) as caught:
        Network(simplified(proto, batch=3, portable=True))
    assert [(p.op, p.node) for p in caught.value.problems] == [(op, "bad")]
