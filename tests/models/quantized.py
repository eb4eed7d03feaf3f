"""What int8 costs: every real network of FILIGREE_DATA, quantised here, as a Markdown table.

    make quantized

Calibrated on CALIBRATED samples spread over the first data set, without their labels; accuracy is
top-1 in per cent over all samples, as float32 and as the int8 program on this machine; sizes are of
the packed models.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from filigree.converter import Converted, ConvertOptions, convert
from filigree.converter.calibration import Data
from filigree.converter.frontends import onnx as frontend
from filigree.converter.quantize.job import Quantized, quantize
from filigree.converter.quantize.options import QuantizeOptions
from tests.conftest import DATA
from tests.models.halves import F32, outputs, samples
from tests.models.markdown import print_table
from tests.models.zoo import ZOO, Entry

CALIBRATED = 128


def calibration(x: F32) -> Data:
    step = max(1, len(x) // CALIBRATED)
    return Data(np.ascontiguousarray(x[::step][:CALIBRATED]))


def quantized(entry: Entry, data: Data, options: QuantizeOptions) -> Quantized:
    return quantize(lambda: frontend.load(DATA / "models" / entry.file), options, data)


def packed(found: Quantized) -> Converted:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        onnx.save(ir.serde.serialize_model(found.model), path)
        return convert(path, options=ConvertOptions())


def row(entry: Entry) -> list[str]:
    wide = convert(DATA / "models" / entry.file, options=ConvertOptions())
    sets = list(samples(entry))
    found = quantized(entry, calibration(sets[0][1]), QuantizeOptions())
    narrow = packed(found)
    texts = []
    for name, x, labels in sets:
        if labels.size:
            scores = (outputs(made, x) for made in (wide, narrow))
            before, after = (100 * float((y.argmax(1) == labels).mean()) for y in scores)
            texts.append(f"{name} {before:.1f} -> {after:.1f}")
    worst = min(found.layers, key=lambda layer: layer.signal_to_noise)
    return [
        entry.name,
        ", ".join(texts) or "-",
        f"{found.output_signal_to_noise:.1f} dB",
        f"{worst.name} {worst.signal_to_noise:.1f} dB",
        f"{len(narrow.data) / len(wide.data):.2f}x",
    ]


def main() -> None:
    columns = ("network", "accuracy, %, float32 -> int8", "output", "noisiest layer", "file")
    print_table(columns, map(row, ZOO))


if __name__ == "__main__":
    main()
