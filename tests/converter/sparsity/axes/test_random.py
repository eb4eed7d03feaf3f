"""Random networks and graphs: any order of any free variable leaves the function as it was.

A case's id is its seed: ``-k 'network-17-'`` reruns it, FILIGREE_GRAPHS=5000 runs more of them.
"""

from __future__ import annotations

import os

import numpy as np
import onnx_ir as ir
import pytest

from filigree.converter import lowering, passes, reference
from filigree.converter.lowering.program import Program
from filigree.converter.sparsity import axes as channel_axes
from filigree.converter.sparsity.axes import Axes
from tests.converter.graphs import Graph, random_graph, random_network
from tests.converter.small import graph_of

GRAPHS = int(os.environ.get("FILIGREE_GRAPHS", "2000"))
FIRST = int(os.environ.get("FILIGREE_FIRST_GRAPH", "0"))
SAME = 1e-9
KINDS = {"network": random_network, "graph": random_graph}
CASES = [("network" if seed % 4 else "graph", seed) for seed in range(FIRST, FIRST + GRAPHS)]


def reorder(model: ir.Model, axes: Axes, seed: int) -> int:
    """Shuffle every variable that is not pinned; how many there are."""
    draw = np.random.default_rng(seed)
    loose = [v for v in axes.variables if v.pinned is None]
    channel_axes.permute(model, axes, {v.name: draw.permutation(v.size) for v in loose})
    return len(loose)


def run(model: ir.Model, graph: Graph) -> tuple[Program, list[np.ndarray]]:
    program = lowering.lower(model, name="graph")
    return program, reference.run(program, *graph.inputs.values())


@pytest.mark.parametrize(("kind", "seed"), CASES, ids=[f"{k}-{s}-" for k, s in CASES])
def test_any_order_computes_the_same(kind: str, seed: int) -> None:
    graph = KINDS[kind](seed)
    model = passes.run(graph_of(graph.model))
    _, before = run(model, graph)
    reorder(model, channel_axes.find(model), seed)
    _, after = run(model, graph)
    for a, b in zip(before, after, strict=True):
        assert np.abs(a - b).max(initial=0) <= SAME * max(1.0, float(np.abs(a).max(initial=0)))
