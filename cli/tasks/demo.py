"""The main job on the embedded model: convert, check, compare, time. Nothing is printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks import bench
from filigree.cli.tasks.compare import CORES, TARGETS, Row, compare, make_case
from filigree.cli.tasks.packed import F32, OnnxModel, many, open_packed, shapes
from filigree.cli.tasks.peers import Peer
from filigree.converter import ConvertOptions, convert, packfile
from filigree.native.model import Model

Report = Callable[[str, float], None]
DATA = Path(packfile.__file__).with_name("data")
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Sample:
    """The embedded models and their test set: ``x`` [N, ...] float32, ``y`` [N] class numbers."""

    dense: Path
    sparse: Path
    data: Path
    x: F32
    y: NDArray[np.int64]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One runtime and model: file bytes, share of test digits recognised, seconds per digit."""

    name: str
    bytes: int
    accuracy: float
    seconds: float
    spread: float


@dataclass(frozen=True)
class Demo:
    """Everything the demo found; ``written`` are the files in the output folder."""

    lines: Sequence[Line]
    rows: Sequence[Row]
    timing: bench.Bench
    digits: int
    packed: Path
    written: Sequence[Path]

    def as_json(self) -> dict[str, Any]:
        return {
            "digits": self.digits,
            "results": [asdict(line) for line in self.lines],
            "verify": [asdict(row) for row in self.rows],
            "bench": bench.as_json(self.timing),
            "written": [str(path) for path in self.written],
        }


def sample() -> Sample:
    """The embedded sample."""
    facts = json.loads((DATA / "digits.json").read_text(encoding="utf-8"))
    with np.load(DATA / "digits_test.npz", allow_pickle=False) as archive:
        x, y = archive["x"].astype(np.float32), archive["y"].astype(np.int64)
    return Sample(
        DATA / "digits_dense.onnx",
        DATA / "digits_sparse80.onnx",
        DATA / "digits_test.npz",
        x,
        y,
        tuple(str(label) for label in facts["labels"]),
    )


def demo(out: Path, *, progress: Report) -> Demo:
    """Run every step; packed models go to the folder ``out``, which must exist."""
    given = sample()
    dense = _converted(given.dense, out / "digits_dense.fil", given, progress)
    sparse = _converted(given.sparse, out / "digits_sparse80.fil", given, progress)
    progress("comparing with ONNX Runtime", 0.3)
    rows = _verify(sparse, given, progress)
    timing = _timing(sparse, dense, given, progress)
    progress("counting recognised digits", 0.95)
    lines = _lines(timing, _accuracies(sparse, dense, given))
    return Demo(lines, rows, timing, len(given.y), sparse, [sparse, dense])


def _converted(source: Path, target: Path, given: Sample, progress: Report) -> Path:
    progress(f"converting {source.name}", 0.1)
    options = ConvertOptions(labels=given.labels)
    packfile.write(target, convert(source, options=options).data)
    return target


def _verify(packed: Path, given: Sample, progress: Report) -> list[Row]:
    ports = open_packed(packed).inputs
    case = make_case(given.sparse, ports, count=8, data=given.data)
    quick = tuple(name for name in TARGETS if name not in CORES)
    return compare(packed, case, targets=quick, isas=[], named=False, progress=progress)


def _timing(sparse: Path, dense: Path, given: Sample, progress: Report) -> bench.Bench:
    ours, twin = _opened(sparse), _opened(dense)
    peers = [Peer("onnxruntime", given.sparse), Peer("onnxruntime", given.dense)]
    timing = bench.measure(ours, twin, peers=peers, seconds=2.0, progress=progress)
    return replace(timing, layers=bench.layer_times(ours.model, twin.model))


def _opened(path: Path) -> bench.Ours:
    return bench.Ours(open_packed(path), path.stat().st_size)


def _accuracies(sparse: Path, dense: Path, given: Sample) -> list[float]:
    """In the order in which ``_timing`` times them."""
    return [
        _accuracy(_classifier(open_packed(sparse)), given),
        _accuracy(_classifier(open_packed(dense)), given),
        _accuracy(_peer_classifier(given.sparse), given),
        _accuracy(_peer_classifier(given.dense), given),
    ]


def _accuracy(classify: Callable[[F32], int], given: Sample) -> float:
    right = [classify(x[np.newaxis]) == y for x, y in zip(given.x, given.y, strict=True)]
    return float(np.mean(right))


def _classifier(model: Model) -> Callable[[F32], int]:
    dims = shapes(model)[0]
    return lambda x: int(np.argmax(many(model.run(np.ascontiguousarray(x.reshape(dims))))[0]))


def _peer_classifier(path: Path) -> Callable[[F32], int]:
    session = OnnxModel(path)
    return lambda x: int(np.argmax(session.run([x])[0]))


def _lines(timing: bench.Bench, accuracies: list[float]) -> list[Line]:
    return [
        Line(t.name, timing.sizes[t.name], accuracy, t.median, t.iqr)
        for t, accuracy in zip(timing.timings, accuracies, strict=True)
    ]
