"""What pruning costs, training-free, on the real networks and data of FILIGREE_DATA:

    make quality

Every other sample calibrates, the rest judges (CIFAR has a set of its own for calibration). On
ImageNet there is one image a class, so that the classes judged are not those calibrated on.
One Markdown table a network; accuracy in per cent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from filigree.cli.tasks.pruning import halves
from filigree.converter import calibration, passes, prune
from filigree.converter.calibration import Data
from filigree.converter.frontends import onnx
from filigree.converter.prune import Pattern, PruneOptions
from tests.conftest import DATA
from tests.models.zoo import ZOO, Entry, dataset

SPARSITIES = (0.5, 0.6, 0.7, 0.8)
PLAIN = {"rearrange": False}
FULL = {"method": "obs", "refine": ("least_squares",), "reconstruct": True}
WAYS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("unstructured, magnitude", "1x1", PLAIN),
    ("4x1, magnitude, rows as they are", "4x1", PLAIN),
    ("4x1, magnitude, rearranged", "4x1", {}),
    ("unstructured, compensated", "1x1", {**FULL, "budget": "erk"}),
    ("4x1, compensated, rows as they are", "4x1", {**FULL, **PLAIN, "budget": "erk"}),
    ("4x1, compensated, rearranged", "4x1", {**FULL, "budget": "erk"}),
)
"""Compensated: obs, least squares, each layer on what the pruned ones before it hand on."""


@dataclass(frozen=True)
class Judged:
    """A network, and data to calibrate and to judge with."""

    entry: Entry
    calib: Data
    test: Data


def _pair(entry: Entry, names: tuple[str, ...]) -> tuple[Data, Data] | None:
    found = [dataset(DATA, name) for name in names]
    if any(f is None for f in found):
        return None
    x = np.concatenate([entry.inputs(f[0]) for f in found if f is not None])
    y = np.concatenate([f[1] for f in found if f is not None]) + entry.class_offset
    return halves(Data(x, y.astype(np.int64)))


def _cifar(entry: Entry, most: int = 500) -> tuple[Data, Data] | None:
    path = DATA / "restricted/cifar/cifar10_train2000.npz"
    test = dataset(DATA, "cifar")
    if test is None or not path.exists():
        return None
    with np.load(path, allow_pickle=False) as z:
        train = Data(entry.inputs(z["x"][:most]), z["y"][:most].astype(np.int64))
    return train, Data(entry.inputs(test[0]), test[1])


SOURCES: dict[str, Callable[[Entry], tuple[Data, Data] | None]] = {
    "kws": lambda e: _pair(e, ("speech",)),
    "vww": lambda e: _pair(e, ("vww_mit54", "vww_coco_dev")),
    "resnet8": _cifar,
    "mobilenet-v1": lambda e: _pair(e, ("imagenet224",)),
    "mobilenet-v2": lambda e: _pair(e, ("imagenet224",)),
}


def judged(name: str) -> Judged | None:
    entry = next(e for e in ZOO if e.name == name)
    pair = SOURCES[name](entry)
    return None if pair is None else Judged(entry, *pair)


def accuracy(given: Judged, source: Path, sparsity: float, pattern: str, way: object) -> str:
    assert isinstance(way, dict)
    options = PruneOptions(sparsity=sparsity, pattern=Pattern.parse(pattern), **way)
    pruned = prune.prune(source, options, data=given.calib)
    return f"{calibration.accuracy(pruned.graph, given.test):.1f}"


def table(given: Judged, sparsities: tuple[float, ...]) -> None:
    source = DATA / "models" / given.entry.file
    batch = min(prune.MOST_BATCH, len(given.test))
    dense = passes.run(onnx.load(source), batch=batch, portable=True)
    print(
        f"\n{given.entry.name}: dense {calibration.accuracy(dense, given.test):.1f} on "
        f"{len(given.test)} samples, calibrated on {len(given.calib)}\n"
    )
    print(f"| zeros | {' | '.join(f'{s:.0%}' for s in sparsities)} |")
    print("|---" * (len(sparsities) + 1) + "|", flush=True)
    for name, pattern, way in WAYS:
        cells = [accuracy(given, source, s, pattern, way) for s in sparsities]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=list(SOURCES), help="names of the zoo")
    parser.add_argument("--sparsity", type=float, nargs="*", default=list(SPARSITIES))
    asked = parser.parse_args()
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    for name in asked.networks:
        given = judged(name)
        if given is None:
            print(f"\n{name}: its data is not here")
            continue
        table(given, tuple(asked.sparsity))


if __name__ == "__main__":
    main()
