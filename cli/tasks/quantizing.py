"""Quantise a model and judge the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filigree.converter.calibration import Data
    from filigree.converter.quantize.job import Quantized
    from filigree.converter.quantize.options import QuantizeOptions

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Outcome:
    """``tested``: accuracy before and after on the test data, if there is any with labels."""

    quantized: Quantized
    samples: int
    tested: tuple[float, float] | None

    def accuracies(self) -> list[tuple[str, float, float]]:
        """Where, before and after."""
        q = self.quantized
        found = []
        if q.accuracy_before is not None and q.accuracy_after is not None:
            found.append(("the calibration data", q.accuracy_before, q.accuracy_after))
        if self.tested is not None:
            found.append(("the test data", *self.tested))
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, shares as 0..1, levels in decibel."""
        q = self.quantized
        return {
            "layers": [asdict(layer) for layer in q.layers],
            "output_signal_to_noise": q.output_signal_to_noise,
            "samples": self.samples,
            "accuracy": {
                name: {"before": before, "after": after}
                for name, before, after in self.accuracies()
            },
        }


def run(
    model: Path,
    options: QuantizeOptions,
    *,
    calib: Data,
    test: Data | None,
    progress: Progress,
) -> Outcome:
    """Raises what ``quantize`` raises."""
    from filigree.converter import frontends, passes
    from filigree.converter.quantize import judge
    from filigree.converter.quantize.job import quantize

    quantized = quantize(lambda: frontends.load(model), options, calib, progress=progress)
    tested = None
    if test is not None and test.y is not None:
        exact = passes.run(frontends.load(model), portable=True)
        was, now = judge.accuracy(exact, test), judge.accuracy(quantized.model, test)
        tested = (was, now) if was is not None and now is not None else None
    return Outcome(quantized, len(calib), tested)


def write(path: Path, outcome: Outcome) -> None:
    """The model as ONNX, whole or not at all."""
    import onnx_ir as ir

    from filigree.converter import packfile

    proto = ir.serde.serialize_model(outcome.quantized.model)
    packfile.write(path, proto.SerializeToString(deterministic=True))
