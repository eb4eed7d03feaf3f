"""ONNX Runtime's static quantisation of the real networks, on real inputs: QDQ models to convert.

python -m tests.models.quantize NAME FILE
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from tests.conftest import DATA
from tests.models.zoo import F32, ZOO, Entry, sample_inputs

SAMPLES = 24


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self, name: str, samples: F32) -> None:
        self._name = name
        self._left: Iterator[F32] = iter(samples[:, None])

    def get_next(self) -> dict[str, F32] | None:
        x = next(self._left, None)
        return None if x is None else {self._name: x}


def quantize(
    source: Path,
    target: Path,
    samples: F32,
    *,
    activations: str = "int8",
    per_channel: bool = True,
    form: str = "QDQ",
) -> None:
    """Write the quantised model of ``source`` to ``target``: per-channel int8 weights, or one scale
    for each; ``form``: QDQ or QOperator."""
    ort.set_default_logger_severity(4)
    model = onnx.load(source)
    quantize_static(
        model,
        str(target),
        _Reader(model.graph.input[0].name, samples),
        quant_format=QuantFormat[form],
        activation_type=QuantType.QInt8 if activations == "int8" else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        extra_options={"WeightSymmetric": True},
    )


def network(name: str) -> Entry:
    """The network of the zoo by its name."""
    return next(entry for entry in ZOO if entry.name == name)


def quantized(name: str, target: Path, **options: object) -> Path:
    """The network ``name`` of the zoo, quantised on real inputs, as an ONNX file."""
    entry = network(name)
    samples = sample_inputs(entry, DATA, SAMPLES)
    quantize(DATA / "models" / entry.file, target, samples, **options)  # type: ignore[arg-type]
    return target


def main() -> None:
    name, target = sys.argv[1:3]
    quantized(name, Path(target))


if __name__ == "__main__":
    main()
