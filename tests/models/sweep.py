"""Is a converted network ever slower than our own dense plan? Every float network of FILIGREE_DATA,
at every sparsity, by magnitude, unstructured and in 4x1 blocks:

    make sweep                                   # all of it: an hour
    python -m tests.models.sweep vww kws --sparsity 0.1 0.3 0.8 --seconds 0.3   # a minute

Every layer but depthwise ones, the first and the last is pruned. The plan that `auto` chooses and
the dense one take turns in one process on one pinned core; the speed-up of a point is the median of
the ratios of neighbouring samples. Writes sweep.json and a chart per way of pruning.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filigree.cli.pages.lines import Labels, Series, lines
from filigree.cli.pages.model import CHART_STYLE
from filigree.cli.pages.svg import standalone
from filigree.cli.tasks.packed import random_inputs
from filigree.cli.tasks.timing import SAMPLE_SECONDS, pinned
from filigree.converter import ConvertOptions, convert, packfile
from filigree.converter.report import LayerReport
from filigree.native.model import Model, isas
from tests.conftest import DATA, ROOT
from tests.models.sparsify import sparsify
from tests.models.zoo import ZOO

F64 = NDArray[np.float64]
SPARSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
WAYS = {"unstructured": 1, "4x1": 4}
LEAST = 0.97  # of the dense plan's speed
OPENINGS = 8
LEAST_PAIRS = 5  # of each
WARM = 3
MOST_RUNS = 7  # of a short network for one sample: the least time of every op counts


@dataclass(frozen=True)
class Culprit:
    """The sparse layer that loses most against its dense form: its pattern, seconds of both in the
    median, and the gain that was predicted."""

    layer: str
    pattern: str
    seconds: float
    dense_seconds: float
    predicted_gain: float | None


@dataclass(frozen=True)
class Point:
    """One network at one sparsity: speed-up over the dense plan, with its quartiles."""

    network: str
    way: str
    sparsity: float
    speedup: float
    low: float
    high: float
    pairs: int
    seconds: float
    dense_seconds: float
    sparse_layers: int
    layers: int
    culprit: Culprit | None


@dataclass(frozen=True)
class Runs:
    """Seconds of every op, sample by sample, of both plans in turns: [pairs, ops]."""

    ours: F64
    dense: F64

    def speedup(self) -> tuple[float, float, float]:
        """Quartile, median and quartile of the paired ratios."""
        ratios = self.dense.sum(axis=1) / self.ours.sum(axis=1)
        low, median, high = np.percentile(ratios, (25, 50, 75))
        return float(low), float(median), float(high)


def take_turns(
    ours: bytes, dense: bytes, *, seconds: float, isa: str | None, openings: int = OPENINGS
) -> Runs:
    """Run both alternately, each pair in the other order than the last; anew ``openings`` times, as
    where its memory happens to lie makes the same plan some per cent faster or slower."""
    found: tuple[list[F64], list[F64]] = ([], [])
    for opening in range(openings):
        pair = [Model.from_bytes(data, isa=isa) for data in (ours, dense)[:: 1 - opening % 2 * 2]]
        models = pair[:: 1 - opening % 2 * 2]
        inputs = random_inputs(models[0].inputs, seed=1)
        for _ in range(WARM):
            once = [float(model.time_ops(*inputs).sum()) for model in models]
        runs = max(1, min(MOST_RUNS, round(SAMPLE_SECONDS / max(once))))
        end = time.perf_counter() + seconds / openings
        least = len(found[0]) + LEAST_PAIRS
        while len(found[0]) < least or time.perf_counter() < end:
            for which in (0, 1) if len(found[0]) % 2 else (1, 0):
                times = [models[which].time_ops(*inputs) for _ in range(runs)]
                found[which].append(np.min(times, axis=0))
    return Runs(np.array(found[0]), np.array(found[1]))


def culprit(runs: Runs, nodes: Sequence[str], layers: Sequence[LayerReport]) -> Culprit | None:
    """``nodes``: the layer of every op. None if no sparse layer loses."""
    ours, dense = np.median(runs.ours, axis=0), np.median(runs.dense, axis=0)
    sparse = {layer.node: layer for layer in layers if layer.pattern != "dense"}
    lost = {i: ours[i] - dense[i] for i, node in enumerate(nodes) if node in sparse}
    worst = max(lost, key=lambda i: lost[i], default=None)
    if worst is None or lost[worst] <= 0:
        return None
    layer = sparse[nodes[worst]]
    return Culprit(
        layer.node, layer.pattern, float(ours[worst]), float(dense[worst]), layer.predicted_speedup
    )


def point(
    network: str,
    way: str,
    sparsity: float,
    *,
    folder: Path,
    options: ConvertOptions,
    seconds: float,
) -> Point:
    """Prune, convert both ways, and time."""
    entry = next(e for e in ZOO if e.name == network)
    pruned = folder / "pruned.onnx"
    sparsify(DATA / "models" / entry.file, pruned, sparsity, rows=WAYS[way], inner=True)
    auto = convert(pruned, options=options)
    plain = ConvertOptions(pattern="dense", rearrange=False, isa=options.isa)
    twin = convert(pruned, options=plain)
    runs = take_turns(auto.data, twin.data, seconds=seconds, isa=options.isa)
    low, median, high = runs.speedup()
    nodes = [op.node for op in packfile.decode(auto.data).ops]
    layers = auto.report.layers
    return Point(
        network,
        way,
        sparsity,
        median,
        low,
        high,
        len(runs.ours),
        float(np.median(runs.ours.sum(axis=1))),
        float(np.median(runs.dense.sum(axis=1))),
        sum(layer.pattern != "dense" for layer in layers),
        len(layers),
        culprit(runs, nodes, layers),
    )


def worst(points: Sequence[Point]) -> Point:
    return min(points, key=lambda p: p.speedup)


def chart(points: Sequence[Point], way: str) -> str:
    """Speed-up over sparsity, a line per network, as an .svg file."""
    names = dict.fromkeys(p.network for p in points)
    series = [
        Series(n, [(p.sparsity, p.speedup) for p in points if (p.network, p.way) == (n, way)])
        for n in names
    ]
    series.append(Series(f"{LEAST} of dense", [(0.0, LEAST), (1.0, LEAST)], dashed=True))
    labels = Labels(
        f"Speed-up over our own dense plan, {way} zeros by magnitude, one thread",
        "zeros in every inner layer, %",
        "times as fast",
    )
    return standalone(lines(series, labels), style=CHART_STYLE.read_text(encoding="utf-8"))


def as_json(points: Sequence[Point], isa: str) -> dict[str, object]:
    return {
        "isa": isa,
        "least_allowed": LEAST,
        "worst": asdict(worst(points)),
        "points": [asdict(p) for p in points],
    }


def show_table(points: Sequence[Point], sparsities: Sequence[float]) -> None:
    """Speed-ups as Markdown, a row per network and way."""
    print(f"\n| network | zeros | {' | '.join(f'{s:.0%}' for s in sparsities)} |")
    print("|---" * (len(sparsities) + 2) + "|")
    for key in dict.fromkeys((p.network, p.way) for p in points):
        cells = [f"{p.speedup:.2f}" for p in points if (p.network, p.way) == key]
        print(f"| {' | '.join([*key, *cells])} |")


def show_losses(points: Sequence[Point]) -> None:
    """The worst case, and every point under LEAST with the layer to blame."""
    low = worst(points)
    print(f"\nworst: {low.speedup:.3f}x, {low.network} at {low.sparsity:.0%} {low.way}")
    for p in (p for p in points if p.speedup < LEAST):
        blame = "no sparse layer lost"
        if p.culprit is not None:
            c = p.culprit
            blame = (
                f"{c.layer} ({c.pattern}, predicted {c.predicted_gain or 1:.2f}x): "
                f"{c.seconds * 1e6:.1f} us, dense {c.dense_seconds * 1e6:.1f} us"
            )
        print(
            f"  {p.network} {p.way} {p.sparsity:.0%}: {p.speedup:.3f}x ({p.low:.3f} to {p.high:.3f}"
            f"), {p.sparse_layers} of {p.layers} layers sparse; {blame}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=[e.name for e in ZOO])
    parser.add_argument("--sparsity", type=float, nargs="*", default=list(SPARSITIES))
    parser.add_argument("--way", choices=WAYS, nargs="*", default=list(WAYS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing, per point")
    parser.add_argument("--effort", type=float, default=1.0, help="as of filigree convert")
    parser.add_argument("--isa")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    asked = parser.parse_args()
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    options = ConvertOptions(effort=asked.effort, isa=asked.isa)
    points = []
    with tempfile.TemporaryDirectory() as folder, pinned():
        for name in asked.networks:
            for way in asked.way:
                for sparsity in asked.sparsity:
                    how = {"folder": Path(folder), "options": options, "seconds": asked.seconds}
                    points.append(point(name, way, sparsity, **how))
                    sys.stderr.write(f"{name} {way} {sparsity:.0%}: {points[-1].speedup:.3f}x\n")
    asked.out.mkdir(parents=True, exist_ok=True)
    isa = asked.isa or isas()[-1]
    text = json.dumps(as_json(points, isa), indent=2)
    (asked.out / "sweep.json").write_text(text + "\n", encoding="utf-8")
    for way in asked.way:
        (asked.out / f"sweep-{way}.svg").write_text(chart(points, way), encoding="utf-8")
    show_table(points, asked.sparsity)
    show_losses(points)


if __name__ == "__main__":
    main()
