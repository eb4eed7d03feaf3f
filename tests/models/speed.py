"""Time against ONNX Runtime and our own dense twin, at several sparsities, as a Markdown table:

    make bench

Each network of FILIGREE_DATA is pruned in 4x1 blocks (pointwise layers alone, classifier dense),
packed, and timed on one pinned core in one run in which all take turns. Medians.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from filigree.cli.tasks import bench
from filigree.cli.tasks.peers import Peer
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


def row(name: str, source: Path, sparsity: float, *, folder: Path, seconds: float) -> str:
    pruned, whole = folder / "pruned.onnx", folder / "whole.onnx"
    sparsify(source, pruned, sparsity)
    sparsify(source, whole, 0.0)
    packed = convert(pruned).data
    twin = convert(pruned, options=ConvertOptions(pattern="dense")).data
    result = bench.measure(
        bench.Ours(Model.from_bytes(packed), len(packed)),
        bench.Ours(Model.from_bytes(twin), len(twin)),
        peers=[Peer("onnxruntime", whole)],
        seconds=seconds,
    )
    ours, dense, peer = (t.median * 1e3 for t in result.timings)
    return (
        f"| {name} | {sparsity:.0%} | {ours:.2f} ms | {dense:.2f} ms | {peer:.2f} ms"
        f" | {peer / ours:.2f}x | {len(packed) / whole.stat().st_size:.2f}x |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each candidate")
    seconds = parser.parse_args().seconds
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    print(HEADER)
    print("|---" * HEADER.count(" | ") + "|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, file in NETWORKS.items():
            for sparsity in SPARSITIES:
                source = DATA / "models" / file
                print(row(name, source, sparsity, folder=Path(folder), seconds=seconds), flush=True)


if __name__ == "__main__":
    main()
