"""Fine-tune as the command line asks for it, and judge the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filigree.cli.tasks.pruning import Quality, graph, outputs, quality
from filigree.converter.calibration import Data
from filigree.converter.errors import UsageError
from filigree.converter.finetune import Files, Finetuned, FinetuneOptions, finetune

Report = Callable[[str, float], None]
HELD_OUT = 10  # every so many samples are kept to judge by, where no others are given


@dataclass(frozen=True)
class Outcome:
    """A trained model, and the judgement of what is written, by ONNX Runtime. ``trained_on``:
    samples."""

    tuned: Finetuned
    before: Quality
    after: Quality
    trained_on: int

    def as_json(self) -> dict[str, Any]:
        arranged = self.tuned.rearranged
        return {
            "sparsity": self.tuned.sparsity,
            "trained_on": self.trained_on,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "rearranged": len(arranged.orders) if arranged else 0,
            "history": [asdict(epoch) for epoch in self.tuned.history],
            "layers": [asdict(layer) for layer in self.tuned.layers],
        }


def run(
    source: Path,
    options: FinetuneOptions,
    *,
    data: Data,
    test: Data | None,
    files: Files,
    progress: Report,
) -> Outcome:
    """Train on ``data`` and judge by ``test``, or by every tenth sample, which is then not trained
    on."""
    if test is None:
        data, test = held_out(data)
    tuned = finetune(source, options, data=data, test=test, files=files, progress=progress)
    progress("judging", 1.0)
    dense = outputs(graph(source, test), test)
    after = quality(outputs(tuned.graph, test), dense, test)
    return Outcome(tuned, quality(dense, dense, test), after, len(data))


def held_out(data: Data) -> tuple[Data, Data]:
    """What to train on, and every tenth sample; UsageError if there are not enough."""
    if len(data) < HELD_OUT:
        raise UsageError(
            f"{len(data)} samples are too few to keep every tenth to judge by",
            hint="--test DATA",
        )
    kept = np.arange(len(data)) % HELD_OUT == HELD_OUT - 1
    y = data.y
    return (
        Data(data.x[~kept], None if y is None else y[~kept]),
        Data(data.x[kept], None if y is None else y[kept]),
    )
