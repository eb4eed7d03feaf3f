"""Rearrangement of whole networks: the function stays, blocks never become more, bytes repeat."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from filigree.converter import ConvertOptions, convert, lowering, passes, reference
from filigree.converter.frontends import onnx as frontend
from filigree.converter.sparsity import axes as channel_axes
from filigree.converter.sparsity import rearrange
from filigree.converter.sparsity.axes import matrix_of, set_matrix
from tests.converter.graphs import random_network
from tests.converter.small import graph_of, model

QUICK = 0.02  # effort
SAME = 1e-9  # of the outputs' size
MODELS = (
    "ad/mlperf_ad01.onnx",
    "cifar/mlperf_resnet8.onnx",
    "cifar/mlperf_resnet8_bn.onnx",
    "imagenet/mobilenet_v1_0.25_224.onnx",
    "imagenet/mobilenet_v1_1.0_224_w8.onnx",
    "imagenet/mobilenet_v2_1.0_224_w8.onnx",
    "kws/mlperf_kws_dscnn.onnx",
    "training/mcu_mbv2_w0.35_128_w8.onnx",
    "training/mcu_proxyless_w0.3_128_w8.onnx",
    "vww/mlperf_vww_96.onnx",
    "vww/mlperf_vww_96_bn.onnx",
)


WEIGHTS = np.random.default_rng(5).standard_normal((32, 24, 1, 1)).astype(np.float32)


def cut_smallest(graph: ir.Model, share: float) -> None:
    """Unstructured magnitude pruning of every layer."""
    for node in filter(channel_axes.is_layer, list(graph.graph)):
        matrix = matrix_of(node)
        least = np.quantile(np.abs(matrix), share)
        set_matrix(graph, node, np.where(np.abs(matrix) >= least, matrix, np.float32(0)))


def outputs(graph: ir.Model) -> list[np.ndarray]:
    program = lowering.lower(graph, name="m")
    draw = np.random.default_rng(0)
    return reference.run(program, *[draw.standard_normal(p.shape) for p in program.inputs])


def gap(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    pairs = zip(before, after, strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in pairs)


def stored(graph: ir.Model, block_rows: int) -> dict[str, int]:
    found = {}
    for name, mask in rearrange.sparse_matrices(graph).items():
        starts = np.arange(0, len(mask), block_rows)
        found[name] = int(np.logical_or.reduceat(mask, starts, axis=0).sum())
    return found


@pytest.mark.parametrize("file", MODELS)
def test_real_networks(file: str, data: Path) -> None:
    graph = passes.run(frontend.load(data / "models" / file))
    cut_smallest(graph, 0.8)
    want, blocks = outputs(graph), stored(graph, 4)
    arranged = rearrange.lossless(graph, effort=QUICK)
    assert gap(want, outputs(graph)) <= SAME
    assert arranged.orders
    assert arranged.blocks_before == sum(blocks.values())
    assert arranged.blocks_after == sum(stored(graph, 4).values())
    assert arranged.blocks_after < arranged.blocks_before


@pytest.mark.parametrize("block_rows", [2, 4, 8])
@pytest.mark.parametrize("first", range(0, 60, 20))
def test_blocks_never_become_more(first: int, block_rows: int) -> None:
    """Variables that lie across the borders of blocks (concatenations, splits, groups) included."""
    fewer = 0
    for seed in range(first, first + 20):
        graph = passes.run(graph_of(random_network(seed).model))
        cut_smallest(graph, 0.7)
        want, blocks = outputs(graph), stored(graph, block_rows)
        arranged = rearrange.lossless(graph, block_rows=block_rows, effort=QUICK)
        assert gap(want, outputs(graph)) <= SAME, seed
        assert arranged.blocks_before == sum(blocks.values()), seed
        assert arranged.blocks_after == sum(stored(graph, block_rows).values()), seed
        assert arranged.blocks_after <= arranged.blocks_before, seed
        assert bool(arranged.orders) == (arranged.blocks_after < arranged.blocks_before), seed
        fewer += bool(arranged.orders)
    assert fewer


def test_a_dense_network_stays_as_it_is() -> None:
    proto = planted(32, 24)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHTS, "wa"))
    graph = passes.run(graph_of(proto))
    cut_smallest(graph, 0.2)  # below SPARSE_FROM
    before = ir.serde.serialize_model(graph).SerializeToString()
    arranged = rearrange.lossless(graph, effort=QUICK)
    assert (dict(arranged.orders), arranged.blocks_before) == ({}, arranged.blocks_after)
    assert ir.serde.serialize_model(graph).SerializeToString() == before


def planted(rows: int, cols: int) -> onnx.ModelProto:
    """Rows of one mask are far from each other: there is one best order of layer a."""
    draw = np.random.default_rng(3)
    mask = np.tile(draw.random((rows // 4, cols)) < 0.3, (4, 1))
    first = draw.standard_normal((rows, cols)).astype(np.float32) * mask
    return model(
        "[a] u = Conv(x, wa)",
        "v = Relu(u)",
        "[b] y = Conv(v, wb)",
        inputs={"x": (1, cols, 2, 2)},
        wa=first[..., None, None],
        wb=draw.standard_normal((3, rows, 1, 1)).astype(np.float32),
    )


def test_planted_blocks_are_found() -> None:
    graph = passes.run(graph_of(planted(32, 24)))
    (mask,) = rearrange.sparse_matrices(graph).values()
    arranged = rearrange.lossless(graph)
    assert arranged.blocks_after == int(mask.sum()) // 4 < arranged.blocks_before
    meta = arranged.to_meta()
    assert (meta["block_rows"], meta["blocks_after"]) == (4, arranged.blocks_after)
    assert list(meta["orders"]) == list(arranged.orders)


def test_lossy_lets_the_best_blocks_hold_more() -> None:
    graph = passes.run(graph_of(planted(32, 24)))
    node = next(n for n in graph.graph if n.name == "a")
    scores = {"a": np.abs(matrix_of(node)).astype(np.float64)}
    keep, starts = 60, np.arange(0, 32, 4)

    def held() -> float:
        blocks = np.add.reduceat(np.abs(matrix_of(node)).astype(np.float64), starts, axis=0)
        return float(np.sort(blocks.reshape(-1))[-keep:].sum())

    want, before = outputs(graph), held()
    assert rearrange.lossy(graph, scores, {"a": keep}).orders
    assert held() > 1.2 * before
    assert gap(want, outputs(graph)) <= SAME


@pytest.mark.parametrize("pattern", ["auto", "2x1", "8x1"])
def test_convert_says_what_it_did(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(planted(32, 24), path)
    meta = convert(path, options=ConvertOptions(pattern=pattern)).program.meta
    assert meta["rearranged"]["blocks_after"] < meta["rearranged"]["blocks_before"]
    off = convert(path, options=ConvertOptions(pattern=pattern, rearrange=False))
    assert off.program.meta["rearranged"] is None


@pytest.mark.parametrize("pattern", ["dense", "1x1"])
def test_patterns_that_no_order_changes(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(planted(32, 24), path)
    assert convert(path, options=ConvertOptions(pattern=pattern)).program.meta["rearranged"] is None


# --- the same bytes in every process ---

CONVERT = """
import hashlib, pathlib, sys
from filigree.converter import convert
print(hashlib.sha256(convert(pathlib.Path(sys.argv[1])).data).hexdigest())
"""
PROCESSES = int(os.environ.get("FILIGREE_PROCESSES", "3"))


def digest(source: Path, folder: Path, number: int) -> str:
    threads = str(number % 4 + 1)
    env = {
        **os.environ,
        "PYTHONHASHSEED": str(1000 * number),
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }
    given = os.path.relpath(source, folder) if number % 2 else str(source)
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, given],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.strip()


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """FILIGREE_SOURCE: a model to prune instead of a small one; FILIGREE_PROCESSES: how many."""
    source = tmp_path / "pruned.onnx"
    onnx.save(planted(64, 48), source)
    if given := os.environ.get("FILIGREE_SOURCE"):
        graph = passes.run(frontend.load(Path(given)), portable=True)
        cut_smallest(graph, 0.8)
        onnx.save(ir.serde.serialize_model(graph), source)
    found = set()
    for number in range(PROCESSES):
        folder = tmp_path / f"from here {number}"
        folder.mkdir()
        found.add(digest(source, folder, number))
    assert len(found) == 1
