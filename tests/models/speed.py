"""Time against other runtimes and our own dense twin, at several sparsities, as a Markdown table:

    make bench
    python -m tests.models.speed --threads 2      the same with 1 thread and with 2

Each network of FILIGREE_DATA is pruned in 4x1 blocks, or unstructured (pointwise layers alone,
classifier dense), packed, and timed on as many pinned cores as threads in one run in which all take
turns. Every peer that is installed runs the same network with the same zeros, with ReLU6 and with
ReLU, and the faster of the two counts. Medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filigree.cli.tasks import bench
from filigree.cli.tasks.packed import random_inputs
from filigree.cli.tasks.peers import Peer, open_peer
from filigree.cli.tasks.timing import Candidate, interleave, pinned, spread
from filigree.converter import ConvertOptions, convert
from filigree.native.model import Model
from tests.conftest import DATA
from tests.models import network, tflite
from tests.models.sparsify import NETWORKS, sparsify

ZEROS = ((0.0, 4), (0.5, 4), (0.8, 4), (0.8, 1), (0.9, 4))  # share of zeros, rows of a block
PEERS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}
HEADER = (
    "| network | zeros | filigree | our dense | ONNX Runtime | OpenVINO | LiteRT |"
    " gain over the best | file against float32 ONNX |"
)
THREADS_HEADER = (
    "| network | zeros | filigree, 1 thread | {threads} threads | gain |"
    " ONNX Runtime, 1 thread | {threads} threads | gain |"
)


@dataclass(frozen=True)
class Case:
    """A network pruned: ``pruned`` as it is, ``relu`` with ReLU in place of ReLU6."""

    name: str
    zeros: str
    folder: Path

    @property
    def pruned(self) -> Path:
        return self.folder / "relu6.onnx"

    @property
    def relu(self) -> Path:
        return self.folder / "relu.onnx"

    def peers(self) -> list[Peer]:
        """What is installed, with both activations where they differ."""
        sources = [self.pruned]
        if self.relu.read_bytes() != self.pruned.read_bytes():
            sources.append(self.relu)
        found = []
        for name in installed():
            for source in sources:
                model = source
                if name == "litert":
                    model = source.with_suffix(".tflite")
                    tflite.write(network.read(source), model)
                found.append(Peer(name, model))
        return found


def installed() -> list[str]:
    return [name for name, package in PEERS.items() if importlib.util.find_spec(package)]


def cases(folder: Path, names: list[str], zeros: list[float] | None) -> Iterator[Case]:
    for name in names:
        for sparsity, rows in ZEROS:
            if zeros and sparsity not in zeros:
                continue
            share = f"{sparsity:.0%}" if sparsity else "none"
            case = Case(name, share if rows > 1 else f"{share} unstructured", folder)
            sparsify(DATA / "models" / NETWORKS[name], case.pruned, sparsity, rows=rows)
            network.with_relu(case.pruned, case.relu)
            yield case


def row(case: Case, *, seconds: float) -> tuple[str, dict[str, Any]]:
    """A row of the table, and the figures behind it."""
    packed = convert(case.pruned).data
    twin = convert(case.pruned, options=ConvertOptions(pattern="dense")).data
    result = bench.measure(
        bench.Ours(Model.from_bytes(packed), len(packed)),
        bench.Ours(Model.from_bytes(twin), len(twin)),
        peers=case.peers(),
        seconds=seconds,
    )
    medians = {t.name: t.median * 1e3 for t in result.timings}
    ours, dense = medians["filigree"], medians["filigree dense"]
    theirs = {
        peer: min((ms for name, ms in medians.items() if name.split(" ")[0] == peer), default=None)
        for peer in PEERS
    }
    cells = ["-" if ms is None else f"{ms:.2f} ms" for ms in theirs.values()]
    best = min(ms for ms in theirs.values() if ms is not None)
    size = len(packed) / case.pruned.stat().st_size
    line = (
        f"| {case.name} | {case.zeros} | {ours:.2f} ms | {dense:.2f} ms | {' | '.join(cells)}"
        f" | {best / ours:.2f}x | {size:.2f}x |"
    )
    return line, {"network": case.name, "zeros": case.zeros, **bench.as_json(result)}


def threads_row(case: Case, *, threads: int, seconds: float) -> str:
    """One thread and several, ours and ONNX Runtime's, all taking turns."""
    packed = convert(case.pruned).data
    inputs = random_inputs(Model.from_bytes(packed).inputs, seed=1)

    def ours(count: int) -> Callable[[], object]:
        model = Model.from_bytes(packed, threads=count)
        return lambda: model.run(*inputs)

    def peer(count: int) -> Callable[[], object]:
        return open_peer(Peer("onnxruntime", case.pruned), inputs, threads=count).call

    with pinned(threads) as cores:
        calls = [ours(1), ours(threads), peer(1), peer(threads)]
        candidates = [Candidate("", call) for call in calls]
        spread(cores)
        timings = interleave(candidates, seconds=seconds, threads=threads)
    one, many, peer_one, peer_many = (t.median * 1e3 for t in timings)
    return (
        f"| {case.name} | {case.zeros} | {one:.2f} ms | {many:.2f} ms | {one / many:.2f}x"
        f" | {peer_one:.2f} ms | {peer_many:.2f} ms | {peer_one / peer_many:.2f}x |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each candidate")
    parser.add_argument("--threads", type=int, default=1, help="more than 1: the second table")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--zeros", nargs="+", type=float, help="only these shares, e.g. 0 0.8")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    header = HEADER if given.threads == 1 else THREADS_HEADER.format(threads=given.threads)
    print(header)
    print("|---" * header.count(" | ") + "|---|")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder), given.networks, given.zeros):
            if given.threads == 1:
                line, facts = row(case, seconds=given.seconds)
                rows.append(facts)
                print(line, flush=True)
            else:
                print(threads_row(case, threads=given.threads, seconds=given.seconds), flush=True)
    if rows:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "results.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
