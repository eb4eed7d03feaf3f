"""Stored 4x1 blocks of magnitude-pruned real networks in three orders of their rows:

    make blocks

Every layer but the first and the last loses ``--sparsity`` of its weights by magnitude,
unstructured. As they are; every layer's rows sorted by L1 norm (1xN's order, which ignores that
layers share channels); and rearranged as a whole network, without changing its function.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir

from filigree.converter import passes
from filigree.converter.calibration import layers_of
from filigree.converter.frontends import onnx
from filigree.converter.lowering.program import F32
from filigree.converter.sparsity import axes, grouping, rearrange
from tests.conftest import DATA
from tests.models.zoo import ZOO

ROWS = 4
NETWORKS = ("vww", "kws", "resnet8", "mobilenet-v1", "mobilenet-v2", "mcu-mbv2", "mcu-proxyless")


def pruned(source: Path, sparsity: float) -> tuple[ir.Model, dict[str, ir.Node]]:
    """The graph with each inner layer's smallest weights zero, and those layers."""
    model = passes.run(onnx.load(source))
    nodes = {node.name or "": node for node in layers_of(model)[1:-1]}
    for node in nodes.values():
        matrix = axes.matrix_of(node)
        cut = np.sort(np.abs(matrix), axis=None)[int(sparsity * matrix.size)]
        axes.set_matrix(model, node, np.where(np.abs(matrix) >= cut, matrix, 0).astype(np.float32))
    return model, nodes


def stored(matrix: F32, order: np.ndarray) -> int:
    return grouping.stored_blocks(matrix != 0, order, ROWS)


def row(name: str, sparsity: float) -> str:
    entry = next(e for e in ZOO if e.name == name)
    model, nodes = pruned(DATA / "models" / entry.file, sparsity)
    matrices = [axes.matrix_of(node) for node in nodes.values()]
    total = sum(-(-m.shape[0] // ROWS) * m.shape[1] for m in matrices)
    naive = sum(stored(m, np.arange(len(m))) for m in matrices)
    by_norm = sum(stored(m, np.argsort(-np.abs(m).sum(axis=1), kind="stable")) for m in matrices)
    start = time.perf_counter()
    rearrange.lossless(model, block_rows=ROWS)
    seconds = time.perf_counter() - start
    ours = sum(stored(m, np.arange(len(m))) for m in map(axes.matrix_of, nodes.values()))
    return (
        f"| {name} | {naive / total:.3f} | {by_norm / total:.3f} | {ours / total:.3f}"
        f" | {1 - ours / naive:.1%} | {seconds:.1f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sparsity", type=float, default=0.8)
    sparsity = parser.parse_args().sparsity
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    print("| network | as they are | sorted by L1 norm | rearranged | fewer blocks | time |")
    print("|---|---|---|---|---|---|")
    for name in NETWORKS:
        print(row(name, sparsity), flush=True)


if __name__ == "__main__":
    main()
