"""Lowering against ONNX Runtime: random graphs, in float64 as lowered and on every ISA as packed.

A case's id is its seed: ``-k 'seed-17-'`` reruns it, ``python -m tests.converter.graphs 17`` prints
it, FILIGREE_GRAPHS=5000 runs more of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from filigree.converter import lowering, packfile, passes, reference
from filigree.converter.frontends import onnx as frontend
from filigree.converter.lowering import plan as planner
from filigree.converter.lowering.check import check
from filigree.converter.lowering.program import Program
from filigree.converter.sparsity import CostTable, pack
from filigree.native.model import Model, isas
from tests.converter.graphs import Graph, random_graph
from tests.converter.small import F32, assert_close, onnx_runtime

GRAPHS = int(os.environ.get("FILIGREE_GRAPHS", "320"))
FIRST = int(os.environ.get("FILIGREE_FIRST_GRAPH", "0"))
COSTS = CostTable.load("x86-64-avx2")
PATTERNS = ("auto", "dense", "1x1", "4x1")


@pytest.fixture(autouse=True)
def _quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "SEARCH_STEPS", 2000)


def lowered(graph: Graph, folder: Path, layout: str) -> Program:
    path = folder / "graph.onnx"
    onnx.save(graph.model, path)
    model = passes.run(frontend.load(path))
    program = lowering.lower(model, name="graph", input_layout=layout)
    check(program, "lowered")
    return program


def given(graph: Graph, layout: str) -> list[F32]:
    """The inputs as the caller has them."""
    own = graph.nhwc_inputs()
    found = []
    for name, array in graph.inputs.items():
        swap = array.ndim == 4 and (layout == "NHWC") != (name in own)
        axes = (0, 2, 3, 1) if layout == "NHWC" else (0, 3, 1, 2)
        found.append(np.ascontiguousarray(array.transpose(axes)) if swap else array)
    return found


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("seed", range(FIRST, FIRST + GRAPHS), ids=lambda s: f"seed-{s}")
def test_random_graph(seed: int, layout: str, tmp_path: Path) -> None:
    graph = random_graph(seed)
    want = onnx_runtime(graph.model, graph.inputs)
    program = lowered(graph, tmp_path, layout)
    inputs = given(graph, layout)
    for got, expected in zip(reference.run(program, *inputs), want, strict=True):
        assert_close(got, expected, "reference")
    packed, _ = pack(program, costs=COSTS, pattern=PATTERNS[seed % len(PATTERNS)])
    data = packfile.encode(planner.plan(packed))
    for isa in isas():
        found = Model.from_bytes(data, isa=isa).run(*inputs)
        outputs = found if isinstance(found, tuple) else (found,)
        for got, expected in zip(outputs, want, strict=True):
            assert_close(got, expected, isa)
