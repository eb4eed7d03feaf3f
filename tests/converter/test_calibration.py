"""Calibration data from files, and what layers see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from filigree.converter import calibration
from filigree.converter.calibration import Data, columns_of, load, moments, prepared
from filigree.converter.errors import BadFile, UsageError
from filigree.converter.sparsity.axes import matrix_of
from tests.converter.small import F32, inferred, model, onnx_runtime

NUMBERS = np.random.default_rng(0)


def floats(*shape: int) -> F32:
    return NUMBERS.standard_normal(shape).astype(np.float32)


# --- columns ---

PLANE = [
    "",
    "strides=[2, 1]",
    "strides=[2, 3], pads=[1, 0, 2, 1]",
    "dilations=[2, 1], pads=[2, 1, 2, 1]",
    "strides=[3, 2], dilations=[1, 2], pads=[0, 2, 1, 2]",
    'auto_pad="SAME_UPPER"',
    'auto_pad="SAME_LOWER"',
    'auto_pad="SAME_UPPER", strides=[2, 3]',
    'auto_pad="SAME_LOWER", strides=[3, 2]',
    'auto_pad="VALID", strides=[2, 2]',
]
LINE = ["", "strides=[2], pads=[1, 2]", 'auto_pad="SAME_LOWER", strides=[2]', "dilations=[3]"]


def assert_columns(graph: ir.Model, x: F32, groups: int = 1) -> None:
    """W times the columns is the convolution, each group by its rows."""
    (node,) = [n for n in graph.graph if n.op_type in ("Conv", "Gemm", "MatMul")]
    (want,) = onnx_runtime(ir.serde.serialize_model(graph), {"x": x})
    channels = want.shape[1] if node.op_type == "Conv" else want.shape[-1]
    wanted = np.moveaxis(want, 1 if node.op_type == "Conv" else -1, 0).reshape(channels, -1)
    matrix, columns = matrix_of(node), columns_of(node, x)
    samples = len(x) if node.op_type == "Conv" else 1
    sides = columns.reshape(matrix.shape[1], samples, groups, -1)
    got = np.concatenate(
        [w @ sides[:, :, g].reshape(len(sides), -1) for g, w in enumerate(np.split(matrix, groups))]
    )
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-4


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("window", PLANE)
def test_columns_of_a_plane(window: str, groups: int) -> None:
    attributes = ", ".join(part for part in (f"group={groups}", window) if part)
    weight, x = floats(8, 4 // groups, 3, 2), floats(2, 4, 7, 9)
    graph = inferred(model(f"y = Conv<{attributes}>(x, w)", inputs={"x": x.shape}, w=weight))
    assert_columns(graph, x, groups)


@pytest.mark.parametrize("window", LINE)
def test_columns_of_a_line(window: str) -> None:
    node = f"y = Conv<{window}>(x, w)" if window else "y = Conv(x, w)"
    x = floats(2, 3, 11)
    assert_columns(inferred(model(node, inputs={"x": x.shape}, w=floats(5, 3, 3))), x)


@pytest.mark.parametrize(
    ("node", "shape", "weight"),
    [
        ("y = Gemm(x, w)", (5, 3), (3, 4)),
        ("y = Gemm<transB=1>(x, w)", (5, 3), (4, 3)),
        ("y = Gemm<transA=1, transB=1>(x, w)", (3, 5), (4, 3)),
        ("y = MatMul(x, w)", (5, 3), (3, 4)),
        ("y = MatMul(x, w)", (2, 5, 3), (3, 4)),
    ],
)
def test_columns_of_fully_connected(
    node: str, shape: tuple[int, ...], weight: tuple[int, ...]
) -> None:
    x = floats(*shape)
    assert_columns(inferred(model(node, inputs={"x": shape}, w=floats(*weight))), x)


def test_large_planes_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = inferred(model("y = Conv(x, w)", inputs={"x": (1, 2, 12, 12)}, w=floats(3, 2, 3, 3)))
    (node,), x = graph.graph, floats(1, 2, 12, 12)
    whole = columns_of(node, x)
    monkeypatch.setattr(calibration, "MOST_COLUMNS", 30)
    assert np.array_equal(columns_of(node, x), whole[:, ::4])


# --- moments ---

NETWORK = ["[a] u = Conv<pads=[1, 1, 1, 1]>(x, wa)", "v = Relu(u)", "[b] w = Conv(v, wb)"]


def network(batch: int, *, scale: float = 1.0) -> ir.Model:
    draw = np.random.default_rng(1)
    proto = model(
        *(*NETWORK, "y = GlobalAveragePool(w)"),
        inputs={"x": (batch, 2, 5, 4)},
        wa=draw.standard_normal((4, 2, 3, 3)).astype(np.float32) * np.float32(scale),
        wb=draw.standard_normal((6, 4, 1, 1)).astype(np.float32),
    )
    return inferred(proto)


def seen_by_b(x: F32, *, scale: float = 1.0) -> NDArray[np.float64]:
    """The columns of layer b."""
    graph = inferred(
        model(
            *NETWORK[:2],
            inputs={"x": x.shape},
            outputs=("v",),
            wa=network(1, scale=scale).graph.initializers["wa"].const_value.numpy(),
        )
    )
    (v,) = onnx_runtime(ir.serde.serialize_model(graph), {"x": x})
    return np.moveaxis(v, 1, 0).reshape(4, -1).astype(np.float64)


def test_moments_are_means_over_all_columns() -> None:
    x = floats(6, 2, 5, 4)
    found = moments(network(2), ["a", "b"], Data(x))
    columns = seen_by_b(x)
    assert np.allclose(found["b"].gram, columns @ columns.T / columns.shape[1], rtol=1e-4)
    assert np.allclose(found["b"].mean, columns.mean(axis=1), rtol=1e-4)
    assert found["b"].cross is None
    assert found["a"].gram.shape == (18, 18)  # the layer that reads the input, too


def test_moments_beside_another_network() -> None:
    x = floats(4, 2, 5, 4)
    found = moments(network(2), ["b"], Data(x), other=network(2, scale=0.5))["b"]
    mine, theirs = seen_by_b(x), seen_by_b(x, scale=0.5)
    assert found.cross is not None and found.other_mean is not None
    assert np.allclose(found.cross, theirs @ mine.T / mine.shape[1], rtol=1e-4)
    assert np.allclose(found.other_mean, theirs.mean(axis=1), rtol=1e-4)


def test_a_part_of_a_batch_is_left_out() -> None:
    x = floats(5, 2, 5, 4)
    some, all_ = (moments(network(2), ["b"], Data(d))["b"].gram for d in (x[:4], x))
    assert np.array_equal(some, all_)


def test_progress_ends_at_1() -> None:
    seen: list[float] = []
    moments(network(2), ["b"], Data(floats(6, 2, 5, 4)), progress=lambda _, f: seen.append(f))
    assert seen == [1 / 3, 2 / 3, 1]


def test_less_than_one_batch() -> None:
    with pytest.raises(UsageError) as raised:
        moments(network(4), ["b"], Data(floats(3, 2, 5, 4)))
    assert str(raised.value) == "the model takes 4 samples at once, the data has 3"


def test_two_inputs() -> None:
    graph = inferred(model("y = Add(x, z)", inputs={"x": (1, 2), "z": (1, 2)}))
    with pytest.raises(UsageError) as raised:
        calibration.Runner(graph)
    assert str(raised.value) == 'data can be given to models of one input only\n  "x"\n  "z"'


def test_what_onnx_runtime_cannot_run() -> None:
    node = 'y = Conv<auto_pad="SAME_UPPER", dilations=[2, 2]>(x, w)'
    graph = inferred(model(node, inputs={"x": (1, 2, 8, 8)}, w=floats(3, 2, 3, 3)))
    with pytest.raises(UsageError, match=r"^ONNX Runtime cannot run the model\n  .*Dilation"):
        calibration.Runner(graph).run(floats(1, 2, 8, 8))


def test_accuracy_fills_up_the_last_batch() -> None:
    graph = inferred(model("y = Relu(x)", inputs={"x": (4, 3)}))
    x = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    assert calibration.accuracy(graph, Data(x, np.array([0, 1, 2, 0, 1, 1]))) == 100 * 5 / 6
    assert calibration.accuracy(graph, Data(x, np.array([0, 1, 2, 0, 1, 2]) - 1), offset=1) == 100
    with pytest.raises(UsageError, match="no labels"):
        calibration.accuracy(graph, Data(x))


# --- files ---


def saved(folder: Path, **arrays: NDArray[Any]) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_npz_with_labels(tmp_path: Path) -> None:
    x, y = floats(5, 3, 4, 6), np.arange(5, dtype=np.uint8)
    found = load(saved(tmp_path, names=np.arange(7), x=x, y=y), shape=(3, 4, 6))
    assert np.array_equal(found.x, x)
    assert found.y is not None and found.y.dtype == np.int64 and found.y.tolist() == [0, 1, 2, 3, 4]
    assert len(found) == 5


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        ({"y": np.arange(5)}, True),
        ({"labels": np.arange(5)}, True),
        ({"label": np.arange(5)}, True),
        ({"y": np.arange(5.0)}, False),
        ({"y": np.arange(4)}, False),
        ({"y": np.arange(5)[:, None]}, False),
        ({"z": np.arange(5)}, False),
    ],
)
def test_what_counts_as_labels(labels: dict[str, Any], known: bool, tmp_path: Path) -> None:
    found = load(saved(tmp_path, x=floats(5, 3), **labels), shape=(3,))
    assert (found.y is not None) == known


@pytest.mark.parametrize(
    "shape", [(5, 4, 6, 3), (5, 3, 4, 6), (5, 72), (5, 12, 6)], ids=lambda s: "x".join(map(str, s))
)
def test_layouts(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = NUMBERS.integers(0, 256, shape, dtype=np.uint8)
    found = load(saved(tmp_path, x=array), shape=(3, 4, 6)).x
    want = array.transpose(0, 3, 1, 2) if shape[-1] == 3 else array.reshape(5, 3, 4, 6)
    assert found.dtype == np.float32 and np.array_equal(found, want)


def test_planes_for_a_model_of_pixels(tmp_path: Path) -> None:
    array = NUMBERS.integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
    found = load(saved(tmp_path, x=array), shape=(4, 6, 3)).x
    assert np.array_equal(found, array.transpose(0, 2, 3, 1))


def test_npy_and_the_first_so_many(tmp_path: Path) -> None:
    x = floats(5, 3)
    np.save(tmp_path / "x.npy", x)
    assert np.array_equal(load(tmp_path / "x.npy", shape=(3,), most=2).x, x[:2])
    found = load(saved(tmp_path, x=x, y=np.arange(5)), shape=(3,), most=2)
    assert found.y is not None and found.y.tolist() == [0, 1]


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    x = np.ones((4, 3))
    x[1, 0], x[2, 2], x[2, 1] = np.nan, np.inf, 1e300
    with pytest.raises(UsageError) as raised:
        load(saved(tmp_path, x=x), shape=(3,))
    assert str(raised.value) == (
        "data.npz cannot be used as data\n  2 of 4 samples hold values that are not finite"
    )


@pytest.mark.parametrize("shape", [(0, 3), (0, 1, 3)])
def test_no_samples(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        load(saved(tmp_path, x=np.zeros(shape)), shape=(3,))
    assert str(raised.value) == "data.npz cannot be used as data\n  it has no samples"


def test_nothing_that_fits(tmp_path: Path) -> None:
    arrays = {"a": np.zeros((4, 5), np.float32), "b": np.zeros((2, 3), bool), "c": np.zeros(3)}
    path = saved(tmp_path, **arrays, d=np.array("text"), e=np.zeros((0, 7)))
    with pytest.raises(UsageError) as raised:
        load(path, shape=(3, 1, 1))
    assert str(raised.value) == (
        "no array in data.npz has samples of 3x1x1\n"
        "  a: 4x5 float32\n  b: 2x3 bool\n  c: 3 float64\n  d: scalar <U4\n  e: 0x7 float64"
    )


@pytest.mark.parametrize("content", [b"", b"not numbers", b"PK\x03\x04 cut off", b"\x93NUMPY\x01"])
def test_files_of_another_kind(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"^data.npz is not an .npz or .npy file of numbers\n  \S"):
        load(path, shape=(3,))


def test_every_truncation_and_flip(tmp_path: Path) -> None:
    whole = bytearray(saved(tmp_path, x=floats(2, 3)).read_bytes())
    path = tmp_path / "broken.npz"
    cut = [bytes(whole[:n]) for n in range(0, len(whole), 7)]
    flipped = [
        bytes(whole[:n]) + bytes([whole[n] ^ 0x55]) + bytes(whole[n + 1 :])
        for n in range(0, len(whole), 3)
    ]
    for content in [*cut, *flipped]:
        path.write_bytes(content)
        try:
            load(path, shape=(3,))
        except (BadFile, UsageError):
            continue


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(BadFile):
        load(path, shape=(3,))


def test_prepared() -> None:
    data = Data(np.full((2, 3, 1, 2), 10, np.float32), np.array([1, 2]))
    assert prepared(data, mean=(), scale=()) is data
    assert (prepared(data, mean=(5,), scale=(2,)).x == 2.5).all()
    found = prepared(data, mean=(1, 2, 3), scale=())
    assert found.x[:, :, 0, 0].tolist() == [[9, 8, 7]] * 2
    assert found.y is data.y
    assert prepared(Data(floats(2, 3)), mean=(1, 2, 3), scale=(4,)).x.shape == (2, 3)
    last = prepared(Data(np.full((2, 4, 4, 3), 10, np.float32)), mean=(1, 2, 3), scale=(2,))
    assert last.x[0, 0, 0].tolist() == [4.5, 4, 3.5]


def test_normalisation_that_does_not_fit() -> None:
    with pytest.raises(UsageError) as raised:
        prepared(Data(floats(2, 3, 1, 1)), mean=(1, 2), scale=(1, 0, 1, 1))
    assert str(raised.value) == (
        "the data cannot be normalised like that\n  --mean has 2 values, the data 3 channels\n"
        "  --scale has 4 values, the data 3 channels\n  --scale must not be 0"
    )
