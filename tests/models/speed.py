"""Time against ONNX Runtime and our own dense twin, at several sparsities, as a Markdown table:

    make bench
    python -m tests.models.speed --threads 2      the same with 1 thread and with 2

Each network of FILIGREE_DATA is pruned in 4x1 blocks (pointwise layers alone, classifier dense),
packed, and timed on as many pinned cores as threads in one run in which all take turns. Medians.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filigree.cli.tasks import bench
from filigree.cli.tasks.packed import random_inputs, shapes
from filigree.cli.tasks.peers import Peer, open_peer
from filigree.cli.tasks.timing import Candidate, interleave, pinned, spread
from filigree.converter import ConvertOptions, convert
from filigree.native.model import Model
from tests.conftest import DATA
from tests.models.sparsify import sparsify

NETWORKS = {
    "MobileNetV1 1.0 224": "imagenet/mobilenet_v1_1.0_224_w8.onnx",
    "MobileNetV2 1.0 224": "imagenet/mobilenet_v2_1.0_224_w8.onnx",
    "visual wake words 0.25 96": "vww/mlperf_vww_96.onnx",
}
SPARSITIES = (0.5, 0.8, 0.9)
HEADER = (
    "| network | zeros | filigree | our dense | ONNX Runtime dense | gain over it |"
    " file against float32 ONNX |"
)
THREADS_HEADER = (
    "| network | zeros | filigree, 1 thread | {threads} threads | gain |"
    " ONNX Runtime dense, 1 thread | {threads} threads | gain |"
)


@dataclass(frozen=True)
class Case:
    """A network: ``pruned`` and ``whole`` are ONNX files of the same shapes."""

    name: str
    sparsity: float
    pruned: Path
    whole: Path


def cases(folder: Path) -> Iterator[Case]:
    for name, file in NETWORKS.items():
        for sparsity in SPARSITIES:
            case = Case(name, sparsity, folder / "pruned.onnx", folder / "whole.onnx")
            sparsify(DATA / "models" / file, case.pruned, sparsity)
            sparsify(DATA / "models" / file, case.whole, 0.0)
            yield case


def row(case: Case, *, seconds: float) -> str:
    packed = convert(case.pruned).data
    twin = convert(case.pruned, options=ConvertOptions(pattern="dense")).data
    result = bench.measure(
        bench.Ours(Model.from_bytes(packed), len(packed)),
        bench.Ours(Model.from_bytes(twin), len(twin)),
        peers=[Peer("onnxruntime", case.whole)],
        seconds=seconds,
    )
    ours, dense, peer = (t.median * 1e3 for t in result.timings)
    return (
        f"| {case.name} | {case.sparsity:.0%} | {ours:.2f} ms | {dense:.2f} ms | {peer:.2f} ms"
        f" | {peer / ours:.2f}x | {len(packed) / case.whole.stat().st_size:.2f}x |"
    )


def threads_row(case: Case, *, threads: int, seconds: float) -> str:
    """One thread and several, ours and ONNX Runtime's, all taking turns."""
    packed = convert(case.pruned).data
    inputs = random_inputs(shapes(Model.from_bytes(packed)), seed=1)

    def ours(count: int) -> Callable[[], object]:
        model = Model.from_bytes(packed, threads=count)
        return lambda: model.run(*inputs)

    def peer(count: int) -> Callable[[], object]:
        return open_peer(Peer("onnxruntime", case.whole), inputs, threads=count).call

    with pinned(threads) as cores:
        calls = [ours(1), ours(threads), peer(1), peer(threads)]
        candidates = [Candidate("", call) for call in calls]
        spread(cores)
        timings = interleave(candidates, seconds=seconds, threads=threads)
    one, many, peer_one, peer_many = (t.median * 1e3 for t in timings)
    return (
        f"| {case.name} | {case.sparsity:.0%} | {one:.2f} ms | {many:.2f} ms | {one / many:.2f}x"
        f" | {peer_one:.2f} ms | {peer_many:.2f} ms | {peer_one / peer_many:.2f}x |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each candidate")
    parser.add_argument("--threads", type=int, default=1, help="more than 1: the second table")
    given = parser.parse_args()
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    header = HEADER if given.threads == 1 else THREADS_HEADER.format(threads=given.threads)
    print(header)
    print("|---" * header.count(" | ") + "|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder)):
            if given.threads == 1:
                print(row(case, seconds=given.seconds), flush=True)
            else:
                print(threads_row(case, threads=given.threads, seconds=given.seconds), flush=True)


if __name__ == "__main__":
    main()
