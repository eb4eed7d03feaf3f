"""Time in WebAssembly against what npm has, at several sparsities, as a Markdown table:

    make bench-web            (node, Chromium and npm; packages by scripts/npm-packages)

Each network of FILIGREE_DATA is pruned in 4x1 blocks (pointwise layers alone, classifier dense) and
padded symmetrically where it has stride 2, as XNNPACK's sparse path wants. Every peer gets the same
network and the same zeros; LiteRT.js' sparse file has its channels shuffled, which it runs twice as
fast. With --int8 all are quantised, between ports of float32, and the peers dense. All candidates
take turns in one process or page. Medians. JSON, with spread and differences, and a chart per
network and engine go to --out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filigree.cli.console import duration
from filigree.cli.pages.svg import Bar, bars, standalone
from filigree.cli.tasks import bench, web
from filigree.cli.tasks.peers import Peer
from filigree.converter import ConvertOptions, convert
from tests.conftest import DATA
from tests.models import network, tfjs, tflite
from tests.models.quantize import SAMPLES, quantize
from tests.models.sparsify import NETWORKS, sparsify
from tests.models.zoo import ZOO, sample_inputs

SPARSITIES = (0.0, 0.8, 0.9)
COLUMNS = ("filigree", "litert-js", "litert-js-sparse", "onnxruntime-web", "tfjs-wasm")
TITLES = ("filigree", "LiteRT.js dense", "LiteRT.js sparse", "onnxruntime-web", "tfjs-wasm")
STYLE = Path(__file__).parents[2] / "cli" / "pages" / "chart.css"


@dataclass(frozen=True)
class Engine:
    """A row of the table: where, and the instruction set of ours (None: the best)."""

    title: str
    on: str
    isa: str | None


ENGINES = {
    "node": Engine("node, SIMD128", "node", "wasm"),
    "node-relaxed": Engine("node, relaxed SIMD", "node", "wasm_relaxed"),
    "chromium": Engine("Chromium, relaxed SIMD", "chromium", "wasm_relaxed"),
}


def prepare(source: Path, sparsity: float, folder: Path) -> tuple[Path, list[Peer]]:
    """Write the packed model and one model per peer; returns both."""
    pruned, padded, shuffled = (folder / f"{name}.onnx" for name in ("pruned", "padded", "mixed"))
    sparsify(source, pruned, sparsity)
    network.symmetric(pruned, padded)
    packed = folder / "model.fil"
    packed.write_bytes(convert(padded, options=ConvertOptions(target="wasm")).data)
    plain = network.read(padded)
    tflite.write(plain, folder / "dense.tflite")
    tfjs.write(plain, folder / "model.json")
    peers = [
        Peer("litert-js", folder / "dense.tflite"),
        Peer("onnxruntime-web", padded),
        Peer("tfjs-wasm", folder / "model.json"),
    ]
    if sparsity > tflite.SPARSE_FROM:
        network.shuffle(padded, shuffled)
        tflite.write(network.read(shuffled), folder / "sparse.tflite", sparse=True)
        peers.append(Peer("litert-js-sparse", folder / "sparse.tflite"))
    return packed, peers


def prepare_int8(source: Path, sparsity: float, folder: Path) -> tuple[Path, list[Peer]]:
    """The same in int8; peers dense."""
    pruned, rounded = folder / "pruned.onnx", folder / "int8.onnx"
    sparsify(source, pruned, sparsity)
    entry = next(entry for entry in ZOO if source.match(f"*/{entry.file}"))
    samples = sample_inputs(entry, DATA, SAMPLES)
    quantize(pruned, rounded, samples)
    packed = folder / "model.fil"
    packed.write_bytes(convert(rounded, options=ConvertOptions(target="wasm")).data)
    ranges = network.ranges(pruned, samples)
    tflite.write_int8(network.read(pruned), ranges, folder / "int8.tflite")
    return packed, [Peer("litert-js", folder / "int8.tflite"), Peer("onnxruntime-web", rounded)]


def line(name: str, sparsity: float, engine: Engine, result: bench.Bench) -> str:
    """A row of the table."""
    medians = {timing.name: timing.median for timing in result.timings}
    cells = [duration(medians[c]) if c in medians else "-" for c in COLUMNS]
    best = min(medians[c] for c in COLUMNS[1:] if c in medians)
    ratio = f"{best / medians['filigree']:.2f}x"
    gap = f"{max(result.differences.values()):.0e}"
    return f"| {' | '.join((name, zeros(sparsity), engine.title, *cells, ratio, gap))} |"


def zeros(sparsity: float) -> str:
    return f"{sparsity:.0%}" if sparsity else "dense"


def chart(title: str, rows: list[dict[str, Any]]) -> str:
    """The bars of one network in one engine, by sparsity."""
    items = [
        Bar(
            f"{zeros(row['zeros'])} {found['name']}",
            found["median"],
            f"{duration(found['median'])} ({found['ratio']:.2f}x)",
            "ours" if found["name"] == "filigree" else "peer",
            found["iqr"],
        )
        for row in rows
        for found in row["results"]
    ]
    return standalone(bars(items, title=title), style=STYLE.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each candidate")
    parser.add_argument("--out", type=Path, default=Path("build/bench-web"))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--zeros", nargs="+", type=float, default=list(SPARSITIES))
    parser.add_argument("--int8", action="store_true", help="all of them quantised")
    given = parser.parse_args()
    make = prepare_int8 if given.int8 else prepare
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    head = f"| network | zeros | engine | {' | '.join(TITLES)} | gain over the best | difference |"
    print(head, "|---" * (head.count("|") - 1) + "|", sep="\n")
    rows: list[dict[str, Any]] = []
    for name in given.networks:
        for sparsity in given.zeros:
            with tempfile.TemporaryDirectory() as folder:
                packed, peers = make(DATA / "models" / NETWORKS[name], sparsity, Path(folder))
                for key in given.engines:
                    engine = ENGINES[key]
                    result = web.measure(
                        packed,
                        None,
                        on=engine.on,
                        isa=engine.isa,
                        peers=peers,
                        seconds=given.seconds,
                    )
                    print(line(name, sparsity, engine, result), flush=True)
                    facts = {"network": name, "zeros": sparsity, "engine": key}
                    rows.append({**facts, **bench.as_json(result)})
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "results.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    for key, name in itertools.product(given.engines, given.networks):
        found = [row for row in rows if (row["engine"], row["network"]) == (key, name)]
        drawn = chart(f"{name}, {ENGINES[key].title}", found)
        file = f"{name.split(' ')[0].lower()}-{key}.svg"
        (given.out / file).write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
