"""What int4 weights cost and save: every real network of FILIGREE_DATA, as a Markdown table.

    make int4

Accuracy is top-1 in per cent over all samples with float32, float16 and int4 weights (those of
fully connected and 1x1 layers; the others are float16 then), of int4 without and with biases that
make up for the means of CALIBRATED samples spread over the first data set. Output: how far the
float32 outputs are over their difference to the latter's, in decibel. Files: the packed models'
sizes beside float32's. Weights: those of layers that are int4, indices and scales included, with
PRUNED of their convolutions pruned in 4x1 blocks (by magnitude; accuracy is not looked at).
Instructions: of those layers on arm64 under QEMU, to what they are with float32 weights.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from filigree.cli.tasks.counting import count_layers
from filigree.converter import Converted, ConvertOptions, convert
from filigree.packaging import count
from tests.conftest import DATA
from tests.models.halves import F32, outputs, samples
from tests.models.markdown import print_table
from tests.models.sparsify import sparsify
from tests.models.zoo import ZOO, Entry

DTYPES = ("float32", "float16", "int4")
CALIBRATED = 16
PRUNED = 0.8


def packed(source: Path, pattern: str = "auto") -> list[Converted]:
    """The same network in every one of DTYPES."""
    options = [ConvertOptions(dtype=dtype, pattern=pattern) for dtype in DTYPES]
    return [convert(source, options=option) for option in options]


def calibrated(source: Path, x: F32) -> Converted:
    """In int4, with biases by the means of some of ``x``."""
    step = max(1, len(x) // CALIBRATED)
    with tempfile.TemporaryDirectory() as folder:
        calib = Path(folder) / "x.npz"
        np.savez(calib, x=x[::step][:CALIBRATED])
        return convert(source, options=ConvertOptions(dtype="int4", calib=calib))


def sizes(bytes_: list[int]) -> str:
    """``1,234 KB, 0.51x, 0.18x``."""
    first, *others = bytes_
    return ", ".join([f"{round(first / 1000):,} KB", *(f"{n / first:.2f}x" for n in others)])


def pruned(source: Path) -> list[int]:
    """Bytes of the layers that are int4, in every one of DTYPES."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.name
        sparsify(source, path, PRUNED)
        made = packed(path, "4x1")
    four = {layer.node for layer in made[-1].report.layers if layer.dtype == "int4"}
    return [
        sum(layer.stored_bytes for layer in one.report.layers if layer.node in four) for one in made
    ]


def instructions(source: Path) -> str:
    """What the int4 layers execute on arm64, of what they do with float32 weights: convolutions and
    fully connected ones."""
    if count.available():
        return "-"
    plain, four = (
        convert(source, options=ConvertOptions(target="arm64", dtype=dtype))
        for dtype in ("float32", "int4")
    )
    ours, theirs = (
        {layer.name: layer.instructions for layer in count_layers(made.data, None).layers}
        for made in (four, plain)
    )
    found = []
    for kind in ("spmm4", "spmv4"):
        nodes = [layer.node for layer in four.report.layers if layer.kind == kind]
        total = sum(theirs[node] for node in nodes)
        found.append(f"{sum(ours[node] for node in nodes) / total:.2f}x" if total else "-")
    return ", ".join(found)


def decibel(want: F32, got: F32) -> float:
    error = np.square(want.astype(np.float64) - got).sum()
    return float(10 * np.log10(np.square(want.astype(np.float64)).sum() / error))


def row(entry: Entry) -> list[str]:
    source = DATA / "models" / entry.file
    sets, texts, levels = list(samples(entry)), [], []
    made = [*packed(source), calibrated(source, sets[0][1])]
    for name, x, labels in sets:
        scores = [outputs(one, x) for one in made]
        levels.append(decibel(scores[0], scores[-1]))
        if labels.size:
            right = [100 * float((y.argmax(1) == labels).mean()) for y in scores]
            texts.append(" -> ".join([f"{name} {right[0]:.1f}", *(f"{y:.1f}" for y in right[1:])]))
    layers = made[-1].report.layers
    four = sum(layer.dtype == "int4" for layer in layers)
    level = f"{min(levels):.1f} dB" if levels else "-"
    counts = f"{four} of {len(layers)}"
    files = sizes([len(one.data) for one in made[:-1]])
    cells = [entry.name, counts, ", ".join(texts) or "-", level, files, sizes(pruned(source))]
    return [*cells, instructions(source)]


def main() -> None:
    columns = ("network", "layers", "accuracy, %, float32 -> float16 -> int4 -> with biases")
    columns += ("output", "file", f"weights, {PRUNED:.0%} pruned", "instructions, 1x1 and FC")
    print_table(columns, map(row, ZOO))


if __name__ == "__main__":
    main()
