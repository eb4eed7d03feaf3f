"""Pruning from end to end: what is in the file that it writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from filigree.converter import calibration, passes, prune
from filigree.converter.calibration import Data
from filigree.converter.errors import UsageError
from filigree.converter.frontends import onnx as frontend
from filigree.converter.prune import Override, Pattern, PruneOptions, most_blocks
from filigree.converter.sparsity.cost import CostTable
from filigree.converter.sparsity.timing import Timer, shape_of
from tests.converter.small import F32, model, onnx_runtime

QUICK = PruneOptions(effort=0.02)
DENSE = Override(sparsity=0.0)


def options(**changes: Any) -> PruneOptions:
    return dataclasses.replace(QUICK, **changes)


def network(batch: int | str = "N", *, rows: int = 24, seed: int = 0) -> onnx.ModelProto:
    """stem -> a -> depthwise -> b, added to a -> c -> mean -> classifier; flattened by Shape."""
    draw = np.random.default_rng(seed)

    def weights(*shape: int) -> F32:
        return (draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    return model(
        "[stem] s = Conv<pads=[1, 1, 1, 1]>(x, w0, b0)",
        "s1 = Relu(s)",
        "[a] u = Conv(s1, w1, b1)",
        "u1 = Relu(u)",
        "[dw] d = Conv<group=GROUPS, pads=[1, 1, 1, 1]>(u1, w2)".replace("GROUPS", str(rows)),
        "[b] v = Conv(d, w3)",
        "r = Add(v, u1)",
        "[c] t = Conv<pads=[1, 1, 1, 1]>(r, w4, b4)",
        "t1 = Relu(t)",
        "m = GlobalAveragePool(t1)",
        "size = Shape(m)",
        "first = Gather(size, zero)",
        "one = Unsqueeze(first, axis)",
        "shape = Concat<axis=0>(one, rest)",
        "f = Reshape(m, shape)",
        "[last] y = Gemm<transB=1>(f, w5, b5)",
        inputs={"x": (batch, 3, 6, 6)},
        w0=weights(16, 3, 3, 3),
        b0=weights(16),
        w1=weights(rows, 16, 1, 1),
        b1=weights(rows),
        w2=weights(rows, 1, 3, 3),
        w3=weights(rows, rows, 1, 1),
        w4=weights(20, rows, 3, 3),
        b4=weights(20),
        w5=weights(5, 20),
        b5=weights(5),
        zero=np.array(0),
        axis=np.array([0]),
        rest=np.array([20]),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(network(), path)
    return path


def samples(count: int, *, seed: int = 1) -> Data:
    draw = np.random.default_rng(seed)
    return Data(draw.standard_normal((count, 3, 6, 6)).astype(np.float32))


def written(pruned: prune.Pruned) -> dict[str, F32]:
    """Every layer of the file as [rows, cols]."""
    graph = onnx.load_from_string(pruned.proto.SerializeToString()).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) > 1:
            found[node.name] = arrays[node.input[1]].reshape(len(arrays[node.input[1]]), -1)
        elif node.op_type == "Gemm":
            found[node.name] = arrays[node.input[1]]
    return found


def blocks(matrix: F32, rows: int) -> np.ndarray:
    return np.logical_or.reduceat(matrix != 0, np.arange(0, len(matrix), rows), axis=0)


# --- what is in the file ---


@pytest.mark.parametrize("pattern", ["1x1", "2x1", "4x1", "8x1", "16x1", "2:4", "4x1+2:4"])
@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_blocks_of_the_pattern_are_in_the_file(pattern: str, sparsity: float, source: Path) -> None:
    how = Pattern.parse(pattern)
    pruned = prune.prune(source, options(sparsity=sparsity, pattern=how), data=None)
    onnx.checker.check_model(pruned.proto, full_check=True)
    assert [layer.name for layer in pruned.layers] == ["a", "b", "c"]
    for layer in pruned.layers:
        matrix = written(pruned)[layer.name]
        kept = blocks(matrix, how.block_rows)
        assert (layer.rows, layer.cols) == matrix.shape
        assert (layer.blocks, layer.of) == (kept.sum(), kept.size)
        assert layer.sparsity == np.mean(matrix == 0) >= sparsity - 1e-9
        assert layer.error is None
        full = np.repeat(kept, how.block_rows, axis=0)[: len(matrix)]
        assert np.array_equal(matrix != 0, full)
        if how.n_of_m is None:
            step = how.block_rows / len(matrix) / matrix.shape[1]
            assert layer.sparsity < sparsity + step + 1e-9 or len(matrix) % how.block_rows
        else:
            assert kept.reshape(len(kept), -1, 4).sum(axis=2).max() <= 2
    assert pruned.sparsity >= sparsity - 1e-9


def test_first_and_last_layer_and_depthwise_stay_dense(source: Path) -> None:
    pruned = written(prune.prune(source, QUICK, data=None))
    assert all((pruned[name] != 0).all() for name in ("stem", "dw", "last"))


@pytest.mark.parametrize("rows", [1, 3, 4, 10, 17])
@pytest.mark.parametrize("block_rows", [1, 4, 8])
@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 0.97, 1.0])
def test_most_blocks(rows: int, block_rows: int, density: float) -> None:
    cols = 6
    sizes = [min(block_rows, rows - i) for i in range(0, rows, block_rows) for _ in range(cols)]
    found = most_blocks(rows, cols, block_rows, density=density)
    largest = np.cumsum(sorted(sizes, reverse=True))
    assert found == max(1, int(np.count_nonzero(largest <= density * rows * cols + 1e-6)))


def test_the_file_runs_in_onnx_runtime(source: Path) -> None:
    pruned = prune.prune(source, options(sparsity=0.0), data=samples(8))
    x = samples(5, seed=3).x
    (want,) = onnx_runtime(onnx.load(source), {"x": x})
    (got,) = onnx_runtime(pruned.proto, {"x": x})  # channels moved, nothing cut
    assert pruned.sparsity == 0 and np.abs(got - want).max() < 1e-5
    assert pruned.rearranged is not None


@pytest.mark.parametrize("count", [0, 1, 8, 40])
def test_an_open_batch_is_open_again(count: int, source: Path) -> None:
    """Though pruning ran with a batch of its own, and a Reshape knows the batch by Shape."""
    pruned = prune.prune(source, QUICK, data=samples(count) if count else None)
    graph = pruned.proto.graph
    dims = [v.type.tensor_type.shape.dim[0].dim_param for v in (*graph.input, *graph.output)]
    assert dims == ["N", "N"]
    onnx.checker.check_model(pruned.proto, full_check=True)
    x = samples(7).x
    whole = onnx_runtime(pruned.proto, {"x": x})[0]
    parts = [onnx_runtime(pruned.proto, {"x": x[i : i + 1]})[0] for i in range(7)]
    assert np.abs(whole - np.concatenate(parts)).max() < 1e-5


def test_a_fixed_batch_stays(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    onnx.save(network(2), path)
    graph = prune.prune(path, QUICK, data=samples(8)).proto.graph
    values = (*graph.input, *graph.output)
    assert [v.type.tensor_type.shape.dim[0].dim_value for v in values] == [2, 2]


def test_constants_listed_as_inputs(tmp_path: Path) -> None:
    """As files did before IR version 4."""
    proto = network()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    path = tmp_path / "old.onnx"
    onnx.save(proto, path)
    pruned = prune.prune(path, QUICK, data=None)
    assert [v.name for v in pruned.proto.graph.input] == ["x"]
    assert pruned.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_the_same_file_each_time(source: Path) -> None:
    how = options(method="random", seed=3)
    first, second, other = (
        prune.prune(source, o, data=None).proto.SerializeToString(deterministic=True)
        for o in (how, how, options(method="random", seed=4))
    )
    assert first == second != other


# --- overrides and budgets ---


def test_overrides(source: Path) -> None:
    overrides = {
        "stem": Override(sparsity=0.5, pattern=Pattern(1)),
        "a": DENSE,
        "b": Override(pattern=Pattern(8)),
        "c": Override(sparsity=0.25),
    }
    pruned = prune.prune(source, options(overrides=overrides), data=None)
    found = {layer.name: layer for layer in pruned.layers}
    assert list(found) == ["stem", "b", "c"]
    assert [layer.pattern for layer in pruned.layers] == ["1x1", "8x1", "4x1"]
    assert found["stem"].sparsity == pytest.approx(0.5, abs=0.003)
    assert found["c"].sparsity == pytest.approx(0.25, abs=0.003)
    assert found["b"].sparsity == pytest.approx(0.8, abs=0.02)
    assert (written(pruned)["a"] != 0).all()


def test_nothing_left_to_prune(source: Path) -> None:
    overrides = dict.fromkeys(("a", "b", "c"), DENSE)
    pruned = prune.prune(source, options(overrides=overrides), data=None)
    assert (pruned.layers, pruned.sparsity, pruned.rearranged) == ((), 0.0, None)


@pytest.mark.parametrize("unit", ["weights", "work"])
@pytest.mark.parametrize("budget", ["uniform", "erk", "global", "sensitivity"])
def test_budgets_are_met(budget: str, unit: str, source: Path) -> None:
    how = options(sparsity=0.7, budget=budget, unit=unit)
    pruned = prune.prune(source, how, data=samples(8))
    cost = [la.rows * la.cols * (la.positions if unit == "work" else 1) for la in pruned.layers]
    kept = sum(c * (1 - la.sparsity) for c, la in zip(cost, pruned.layers, strict=True))
    slack = 0.02 if budget != "sensitivity" else 0.1  # it chooses among a few densities
    assert 0.3 - slack <= kept / sum(cost) <= 0.3 + 1e-6


# --- methods ---


@pytest.mark.parametrize("method", ["random", "wanda", "wgsef", "obs"])
@pytest.mark.parametrize("refine", [(), ("dsnot", "least_squares")], ids=["", "refined"])
def test_methods_reach_the_sparsity_too(method: str, refine: tuple[str, ...], source: Path) -> None:
    how = options(method=method, refine=refine, sparsity=0.75)
    pruned = prune.prune(source, how, data=samples(32))
    for layer in pruned.layers:
        kept = blocks(written(pruned)[layer.name], 4)
        assert layer.blocks == kept.sum() == most_blocks(layer.rows, layer.cols, 4, density=0.25)
        assert layer.error is not None and (0 < layer.error < 1 or method == "random")


def output_error(source: Path, pruned: prune.Pruned, data: Data) -> float:
    dense = passes.run(frontend.load(source), portable=True)
    runs = [calibration.Runner(graph) for graph in (dense, pruned.graph)]
    want, got = (np.concatenate([r.run(x)[0] for x in data.batches(r.batch)]) for r in runs)
    return float(np.square(got - want).sum() / np.square(want).sum())


def test_reconstruction_on_real_data(digits: Path) -> None:
    """Less error at the outputs, on samples that were not seen."""
    source = digits / "digits_dense.onnx"
    shape = prune.sample_shape(source)
    data = calibration.load(digits / "digits_test.npz", shape=shape)
    calib, test = Data(data.x[0:120:2]), Data(data.x[1:120:2])
    how = options(sparsity=0.7, method="obs", refine=("least_squares",))
    plain, again = (
        output_error(source, prune.prune(source, o, data=calib), test)
        for o in (how, dataclasses.replace(how, reconstruct=True))
    )
    magnitude = output_error(source, prune.prune(source, options(sparsity=0.7), data=calib), test)
    assert again < 0.9 * plain and plain < magnitude


def test_reconstruction_keeps_a_bias_that_is_no_constant(tmp_path: Path) -> None:
    """And one that is scaled: only a plain bias makes up for the mean."""
    draw = np.random.default_rng(0)
    w = [draw.standard_normal((8, 8)).astype(np.float32) for _ in range(4)]
    proto = model(
        "[first] a = Gemm(x, w0)",
        "r = Relu(a)",
        "[moving] b = Gemm(r, w1, x)",
        "[scaled] c = Gemm<alpha=0.5, beta=2.0>(b, w2, bias)",
        "[last] y = Gemm(c, w3)",
        inputs={"x": (4, 8)},
        **{f"w{i}": a for i, a in enumerate(w)},
        bias=np.arange(8, dtype=np.float32),
    )
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    how = options(reconstruct=True, rearrange=False, sparsity=0.5)
    found = prune.prune(path, how, data=Data(draw.standard_normal((8, 8)).astype(np.float32)))
    nodes = {node.name: node for node in found.proto.graph.node}
    assert nodes["moving"].input[2] == "x"
    bias = next(t for t in found.proto.graph.initializer if t.name == nodes["scaled"].input[2])
    assert numpy_helper.to_array(bias).reshape(-1).tolist() == list(range(8))


# --- what is refused ---


def test_every_problem_at_once(source: Path) -> None:
    how = options(
        sparsity=1.0,
        method="obs",
        refine=("least_squares", "prayer"),
        reconstruct=True,
        budget="sensitivity",
        unit="grams",
        overrides={
            "a": Override(sparsity=-0.1),
            "nowhere": DENSE,
            "dw": DENSE,
            "b": Override(sparsity=float("nan")),
        },
    )
    with pytest.raises(UsageError) as raised:
        prune.prune(source, how, data=None)
    assert str(raised.value).splitlines() == [
        "net.onnx cannot be pruned like that",
        "  sparsity 1.0 is not in [0, 1)",
        '  no refinement "prayer": dsnot, least_squares',
        '  no unit "grams": weights, work, time',
        '  layer "a": sparsity -0.1 is not in [0, 1)',
        '  no layer "nowhere"',
        '  no layer "dw"',
        '  layer "b": sparsity nan is not in [0, 1)',
        "  method obs needs calibration data",
        "  refinement least_squares needs calibration data",
        "  reconstruction needs calibration data",
        "  the budget sensitivity needs calibration data",
        "  next: filigree inspect net.onnx --layers",
    ]


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_sparsity_outside(sparsity: float, source: Path) -> None:
    with pytest.raises(UsageError, match=r"sparsity .+ is not in \[0, 1\)"):
        prune.prune(source, options(sparsity=sparsity), data=None)


def test_unknown_method_and_budget(source: Path) -> None:
    with pytest.raises(UsageError) as raised:
        prune.prune(source, options(method="luck", budget="none"), data=None)
    assert raised.value.lines == [
        'no method "luck": magnitude, obs, random, wanda, wgsef',
        'no budget "none": uniform, erk, global, sensitivity',
    ]


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    proto = network()
    for name, value in (("w1", np.nan), ("w4", np.inf)):
        tensor = next(t for t in proto.graph.initializer if t.name == name)
        array = numpy_helper.to_array(tensor).copy()
        array.flat[3] = value
        tensor.CopyFrom(numpy_helper.from_array(array, name))
    path = tmp_path / "bad.onnx"
    onnx.save(proto, path)
    with pytest.raises(UsageError) as raised:
        prune.prune(path, QUICK, data=None)
    assert raised.value.lines == [
        'layer "a": weights that are not finite',
        'layer "c": weights that are not finite',
    ]


def test_no_layer(tmp_path: Path) -> None:
    path = tmp_path / "relu.onnx"
    onnx.save(model("y = Relu(x)", inputs={"x": (1, 3)}), path)
    with pytest.raises(UsageError, match="it has no layer that can be pruned") as raised:
        prune.prune(path, QUICK, data=None)
    assert raised.value.hint is None


def test_fewer_samples_than_a_fixed_batch(tmp_path: Path) -> None:
    path = tmp_path / "four.onnx"
    onnx.save(network(4), path)
    with pytest.raises(UsageError, match="takes 4 samples at once, the data has 3"):
        prune.prune(path, options(method="obs"), data=samples(3))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "x1",
        "4x2",
        "3x1",
        "0x1",
        "32x1",
        "3:2",
        "0:4",
        "2:0",
        "4x1+",
        "4x12:4",
        "+2:4",
        "2:4+4x1",
        "-4x1",
        "4X1",
        "4x1 ",
    ],
)
def test_patterns_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="^" + '"' + text.replace("+", r"\+")):
        Pattern.parse(text)


@pytest.mark.parametrize("text", ["1x1", "2x1", "4x1", "8x1", "16x1", "4x1+2:4", "1x1+1:16"])
def test_patterns_come_back(text: str) -> None:
    assert str(Pattern.parse(text)) == text
    assert Pattern.parse("2:4") == Pattern(1, (2, 4))


# --- averages ---


def checkpoints(folder: Path, *, cut: tuple[float, float]) -> list[Path]:
    """One network twice, trained apart; the share of w1 that is zero in each."""
    found = []
    for i, share in enumerate(cut):
        proto = network(seed=i)
        tensor = next(t for t in proto.graph.initializer if t.name == "w1")
        array = numpy_helper.to_array(tensor).copy()
        array[: int(share * len(array))] = 0
        tensor.CopyFrom(numpy_helper.from_array(array, "w1"))
        found.append(folder / f"{i}.onnx")
        onnx.save(proto, found[-1])
    return found


def test_average(tmp_path: Path) -> None:
    paths = checkpoints(tmp_path, cut=(0.5, 0.5))
    proto = prune.average(paths)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(proto))
    tensors = [
        {t.name: numpy_helper.to_array(t) for t in p.graph.initializer}
        for p in (*map(onnx.load, paths), proto)
    ]
    for name, array in tensors[2].items():
        if array.dtype == np.float32:
            assert np.allclose(array, (tensors[0][name] + tensors[1][name]) / 2, atol=1e-7)
    assert np.array_equal(tensors[2]["w1"] == 0, tensors[0]["w1"] == 0)
    ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_an_average_of_other_zeros(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        prune.average(checkpoints(tmp_path, cut=(0.5, 0.25)))
    assert raised.value.headline == "these models cannot be averaged"
    assert raised.value.lines == [
        'tensor "w1": checkpoint 1 has another mask than checkpoint 0 (96 of 384 weights differ)'
    ]


def test_an_automatic_pattern_fits_the_time(digits: Path) -> None:
    source = digits / "digits_dense.onnx"
    options = PruneOptions(sparsity=0.6, pattern=None, unit="time", target="x86-64")
    layers = prune.prune(source, options, data=None).layers
    assert all(layer.pattern in ("1x1", "2x1", "4x1", "8x1") for layer in layers)
    timer = timer_of(source, [layer.name for layer in layers], target="x86-64")
    dense = sum(timer.dense(layer.name) for layer in layers)
    taken = sum(
        timer.at(layer.name, layer.blocks / layer.of, block_rows=int(layer.pattern[0]))
        for layer in layers
    )
    assert taken <= 0.4 * dense * 1.001


def test_a_time_budget_with_one_pattern(digits: Path) -> None:
    source = digits / "digits_dense.onnx"
    options = PruneOptions(sparsity=0.5, unit="time", budget="erk", target="arm64")
    layers = prune.prune(source, options, data=None).layers
    timer = timer_of(source, [layer.name for layer in layers], target="arm64")
    taken = sum(timer.at(x.name, x.blocks / x.of, block_rows=4) for x in layers)
    assert taken <= 0.5 * sum(timer.dense(x.name) for x in layers) * 1.001


def timer_of(source: Path, names: list[str], *, target: str) -> Timer:
    model = passes.run(frontend.load(source), portable=True)
    nodes = {n.name or "": n for n in model.graph}
    return Timer(CostTable.for_target(target), {name: shape_of(nodes[name]) for name in names})


def test_an_automatic_pattern_needs_time(digits: Path) -> None:
    with pytest.raises(UsageError, match="needs the unit time"):
        prune.prune(digits / "digits_dense.onnx", PruneOptions(pattern=None), data=None)
