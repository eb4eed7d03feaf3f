"""Which operations compute in float16, what is put between them and the others, and on arm64 that
kernels compute what the reference does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from filigree.converter import Converted, ConvertOptions, convert, packfile, reference
from filigree.converter.errors import UsageError
from filigree.converter.lowering.check import IllegalProgram, check
from filigree.converter.lowering.halves import is_narrow, widened
from filigree.converter.lowering.program import Place, Program
from filigree.native import enums as c
from filigree.packaging import emulate
from tests.converter.graphs import random_graph, random_network
from tests.converter.small import model
from tests.packaging.conftest import need_engine

F32 = NDArray[np.float32]
SLACK = 2e-3  # of an output's range, and what UNITS in the last place of each tensor change


def narrowed(proto: onnx.ModelProto, folder: Path, **given: Any) -> Converted:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    options = {"target": "arm64", "dtype": "float16", "activations": "float16", **given}
    return convert(path, options=ConvertOptions(**options))


def dtypes(program: Program) -> list[tuple[int, str]]:
    """Kind and element type of every operation."""
    return [(op.kind, program.tensors[op.output].dtype) for op in program.ops]


def on_arm64(made: Converted, inputs: Sequence[F32], *, threads: int = 1) -> list[F32]:
    need_engine("arm64")
    return emulate.run("arm64", made.data, inputs, threads=threads)


def network(scale: float = 1.0) -> onnx.ModelProto:
    """Two convolutions, the mean, a classifier and its shares."""
    draw = np.random.default_rng(0)
    return model(
        "[wide] a = Conv<pads=[1,1,1,1]>(x, w)",
        "[clipped] b = Relu(a)",
        "[point] d = Conv(b, v)",
        "[mean] e = GlobalAveragePool(d)",
        "[flat] f = Flatten(e)",
        "[classes] g = Gemm<transB=1>(f, m)",
        "[shares] y = Softmax(g)",
        inputs={"x": [1, 3, 12, 12]},
        w=draw.normal(0, scale, (8, 3, 3, 3)).astype(np.float32),
        v=(draw.normal(0, 1, (16, 8, 1, 1)) / scale).astype(np.float32),
        m=draw.normal(0, 1, (10, 16)).astype(np.float32),
    )


def test_a_network_computes_in_float16_up_to_its_vectors(tmp_path: Path) -> None:
    made = narrowed(network(), tmp_path)
    program = made.program
    assert made.report.kept == {}
    assert dtypes(program) == [
        (c.FIL_OP_MAP, "float16"),
        (c.FIL_OP_CONV, "float16"),
        (c.FIL_OP_SPMM, "float16"),
        (c.FIL_OP_REDUCE, "float16"),
        (c.FIL_OP_MAP, "float32"),
        (c.FIL_OP_SPMV, "float32"),
        (c.FIL_OP_SOFTMAX, "float32"),
    ]
    assert all(t.dtype == "float32" for t in program.tensors.values() if t.place is not Place.ARENA)
    back = packfile.decode(made.data)
    assert {n: t.dtype for n, t in back.tensors.items()} == {
        n: t.dtype for n, t in program.tensors.items()
    }
    plain = narrowed(network(), tmp_path, activations="float32").program
    assert program.plan is not None and plain.plan is not None
    assert program.plan.arena_bytes < 0.8 * plain.plan.arena_bytes
    assert is_narrow(program) and not is_narrow(plain) and not is_narrow(widened(program))


def test_what_float16_cannot_hold_stays_float32_by_name(tmp_path: Path) -> None:
    made = narrowed(network(scale=1e4), tmp_path)
    assert list(made.report.kept) == ["wide"]
    assert made.report.kept["wide"].startswith('"b" reaches ')
    assert (c.FIL_OP_CONV, "float32") in dtypes(made.program)
    assert (c.FIL_OP_SPMM, "float16") in dtypes(made.program)
    over = narrowed(network(scale=1e6), tmp_path)
    assert "wide" in over.report.kept
    assert over.report.kept["wide"] == "its weights stay float32"


def test_real_data_says_how_large_values_become(tmp_path: Path) -> None:
    data = tmp_path / "x.npz"
    np.savez(data, x=np.full((3, 3, 12, 12), 3e4, np.float32))
    made = narrowed(network(), tmp_path, calib=data)
    assert set(made.report.kept) >= {"wide"}
    assert '"input"' not in str(made.report.kept)


def test_a_constant_that_would_become_zero_keeps_its_operation(tmp_path: Path) -> None:
    tiny = np.float32(1e-12)
    proto = model("[eps] a = Add(x, e)", "[twice] y = Mul(a, a)", inputs={"x": [1, 32]}, e=tiny)
    made = narrowed(proto, tmp_path)
    assert made.report.kept == {"eps": 'float16 cannot hold "e"'}


def test_tensors_that_several_write_have_one_type(tmp_path: Path) -> None:
    big = np.full((1, 4, 1, 1), 3e4, np.float32)
    proto = model(
        "[large] a = Mul(x, k)",
        "[small] b = Relu(x)",
        "[both] d = Concat<axis=1>(a, b)",
        "[after] y = MaxPool<kernel_shape=[2,2]>(d)",
        inputs={"x": [1, 4, 8, 8]},
        k=big,
    )
    made = narrowed(proto, tmp_path)
    assert list(made.report.kept) == ["large", "small", "after"]
    assert {t for kind, t in dtypes(made.program) if kind == c.FIL_OP_MAP} == {"float32"}


def test_types_that_do_not_fit_are_illegal(tmp_path: Path) -> None:
    program = narrowed(network(), tmp_path).program
    program.tensors["x"] = (
        widened(program)
        .tensors["x"]
        .__class__(**{**program.tensors["x"].__dict__, "dtype": "float16"})
    )
    with pytest.raises(IllegalProgram, match='tensor "x" is float16'):
        check(program, "packed")


@pytest.mark.parametrize(
    ("given", "headline"),
    [
        ({"activations": "float8"}, 'no activations of "float8"'),
        ({"dtype": "float32"}, "activations of float16 need weights of float16"),
        ({"target": "wasm"}, "activations of float16 are for arm64"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, given: dict[str, str], headline: str
) -> None:
    with pytest.raises(UsageError) as refused:
        narrowed(network(), tmp_path, **given)
    assert refused.value.headline == headline


def assert_as_the_reference(made: Converted, inputs: Sequence[F32], *, threads: int = 1) -> None:
    want = reference.run(made.program, *inputs)
    moved = reference.run(made.program, *inputs, moved=np.random.default_rng(0))
    got = on_arm64(made, inputs, threads=threads)
    for have, exact, near in zip(got, want, moved, strict=True):
        scale = max(float(np.ptp(exact)), float(np.abs(exact).max()), 1e-3)
        off = float(np.abs(have - exact).max())
        assert off <= SLACK * scale + 2 * float(np.abs(near - exact).max()), (off, scale)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_on_arm64(seed: int, tmp_path: Path) -> None:
    graph = random_graph(seed) if seed % 3 else random_network(seed)
    made = narrowed(graph.model, tmp_path, bands=("auto", "small")[seed % 2])
    inputs = [graph.inputs[port.name] for port in made.program.inputs]
    assert_as_the_reference(made, inputs, threads=1 + seed % 3)


@pytest.mark.parametrize("cols", [1, 63, 64, 65, 128, 129, 4096])
@pytest.mark.parametrize("pattern", ["dense", "1x1", "4x1"])
def test_long_sums_lose_nothing(cols: int, pattern: str, tmp_path: Path) -> None:
    """A sum of ones in float16 alone would stay at 2048."""
    w = np.ones((12, cols, 1, 1), np.float32)
    w[4:8, ::3] = 0
    proto = model("[point] y = Conv(x, w)", inputs={"x": [1, cols, 5, 3]}, w=w)
    made = narrowed(proto, tmp_path, pattern=pattern, rearrange=False)
    (got,) = on_arm64(made, [np.ones((1, cols, 5, 3), np.float32)])
    want = w.sum(axis=1).reshape(1, 12, 1, 1) * np.ones((5, 3), np.float32)
    np.testing.assert_array_equal(got, want.astype(np.float16))


@pytest.mark.parametrize("block_rows", [1, 2, 4, 8])
@pytest.mark.parametrize("width", [1, 7, 8, 9, 15, 17, 33, 56])
def test_every_tile_of_spmm(block_rows: int, width: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(width)
    rows, cols = 3 * block_rows + 1, 90
    keep = draw.random((-(-rows // block_rows), cols)) < 0.4
    mask = np.repeat(keep, block_rows, axis=0)[:rows]
    w = (draw.normal(0, 0.3, (rows, cols)) * mask).astype(np.float32)[:, :, None, None]
    proto = model(
        "[point] a = Conv(x, w, b)",
        "[sum] d = Add(a, r)",
        "[act] y = HardSwish(d)",
        inputs={"x": [1, cols, 3, width], "r": [1, rows, 3, width]},
        w=w,
        b=draw.normal(0, 1, rows).astype(np.float32),
    )
    made = narrowed(proto, tmp_path, pattern=f"{block_rows}x1", rearrange=False)
    inputs = [draw.normal(0, 1, port.shape).astype(np.float32) for port in made.program.inputs]
    assert_as_the_reference(made, inputs)


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("width", [5, 7, 8, 14, 23])
def test_depthwise_and_pooling(kernel: int, stride: int, width: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(kernel)
    sizes = f"pads=[1,1,1,1],strides=[{stride},{stride}]"
    proto = model(
        f"[deep] a = Conv<group=3,{sizes}>(x, w)",
        "[clip] y = Relu(a)",
        f"[most] z = MaxPool<kernel_shape=[{kernel},{kernel}],{sizes}>(x)",
        f"[mean] u = AveragePool<kernel_shape=[{kernel},{kernel}],{sizes}>(x)",
        inputs={"x": [1, 3, 11, width]},
        outputs=("y", "z", "u"),
        w=draw.normal(0, 1, (3, 1, kernel, kernel)).astype(np.float32),
    )
    made = narrowed(proto, tmp_path)
    assert_as_the_reference(made, [draw.normal(0, 1, (1, 3, 11, width)).astype(np.float32)])
