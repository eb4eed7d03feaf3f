"""Instructions of one inference on arm64, by kind of layer, as Markdown tables: sparse against
dense layers, activations of float16 against float32 ones, and int8 with and without dot products.

    make counts

The networks of ``make bench``, with 4x1 blocks zeroed in pointwise layers; counted under QEMU, so
that they repeat exactly.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from filigree.cli.tasks.counting import Counted, by_kind, count_layers, whole
from filigree.converter import ConvertOptions, convert
from filigree.packaging import count
from tests.conftest import DATA
from tests.models.mcu import int8
from tests.models.sparsify import NETWORKS, sparsify

SPARSITIES = (0.5, 0.8, 0.9)
INT8 = ("mobilenet-v1", "mobilenet-v2", "vww", "kws", "resnet8")
KINDS = ("spmm", "dwconv", "conv", "spmv")


def layers_of(source: Path, sparsity: float, folder: Path) -> list[Counted]:
    """Every layer of the network at ``source`` with that share of its blocks zero, and of its dense
    twin."""
    pruned = folder / "pruned.onnx"
    sparsify(source, pruned, sparsity)
    ours, dense = (
        convert(pruned, options=ConvertOptions(target="arm64", pattern=pattern)).data
        for pattern in ("auto", "dense")
    )
    return count_layers(ours, dense).layers


def narrow_layers_of(source: Path, sparsity: float, folder: Path) -> list[Counted]:
    """Every layer with weights and activations of float16; ``dense``: of float32."""
    pruned = folder / "pruned.onnx"
    sparsify(source, pruned, sparsity)
    narrow, wide = (
        count_layers(convert(pruned, options=_options(dtype)).data, None).layers
        for dtype in ("float16", "float32")
    )
    others = {layer.name: layer.instructions for layer in wide}
    return [replace(layer, dense=others.get(layer.name)) for layer in narrow]


def _options(dtype: str) -> ConvertOptions:
    return ConvertOptions(target="arm64", dtype=dtype, activations=dtype)


def int8_of(name: str, sparsity: float, folder: Path) -> list[int]:
    """All layers of a network of the zoo in float32, and in int8 from an input of int8 on."""
    rounded = int8(name, sparsity, folder)
    whole_of = {
        "float32": (folder / f"{name}-pruned.onnx", "neon"),
        "neon": (rounded, "neon"),
        "neon_dotprod": (rounded, "neon_dotprod"),
    }
    options = ConvertOptions(target="arm64")
    return [
        whole(count_layers(convert(path, options=options).data, None, isa=isa).layers).instructions
        for path, isa in whole_of.values()
    ]


def total_of(layers: list[Counted]) -> Counted:
    """All layers, copies that convert included: they have no other."""
    return whole([replace(layer, dense=layer.dense or 0) for layer in layers])


def row(name: str, sparsity: float, layers: list[Counted]) -> str:
    kinds = {kind.name: kind for kind in by_kind(layers)}
    cells = [_cell(total_of(layers)), *(_cell(kinds.get(kind)) for kind in KINDS)]
    return f"| {name} | {sparsity:.0%} | {' | '.join(cells)} |"


def _cell(counted: Counted | None) -> str:
    """``69.0 / 208.2 M = 0.332``."""
    if counted is None or counted.dense is None or counted.ratio is None:
        return "-"
    ours, dense = counted.instructions / 1e6, counted.dense / 1e6
    return f"{ours:.1f} / {dense:.1f} M = {counted.ratio:.3f}"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    why = count.available()
    if why or not (DATA / "models").is_dir():
        sys.exit(why or f"no real models at {DATA.name}: set FILIGREE_DATA")
    with tempfile.TemporaryDirectory() as folder:
        for title, of in (("of dense", layers_of), ("float16 of float32", narrow_layers_of)):
            print(f"\n| network, {title} | zeros | all | {' | '.join(KINDS)} |")
            print("|---" * (3 + len(KINDS)) + "|")
            for name, file in NETWORKS.items():
                for sparsity in SPARSITIES:
                    layers = of(DATA / "models" / file, sparsity, Path(folder))
                    print(row(name, sparsity, layers), flush=True)
        print("\n| network, 80% zeros | float32 | int8, NEON | int8, dot products |")
        print("|---" * 4 + "|")
        for name in INT8:
            cells = [f"{n / 1e6:.2f} M" for n in int8_of(name, 0.8, Path(folder))]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
