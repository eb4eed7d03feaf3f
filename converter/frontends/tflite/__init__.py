"""TFLite files to a graph (``onnx_ir.Model``) of ONNX operators, channels first.

1. ``flat_check`` finds nothing wrong with the bytes, ``file`` nothing wrong with what they say; no
   value of a tensor is read before that.
2. ``operators`` writes each operator in ONNX; ``graph`` holds the values in ONNX's order.
3. Every shape that the file records is what ONNX's own rules infer.
4. Quantised models become QuantizeLinear and DequantizeLinear around every operator.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from filigree.converter.errors import BadFile, ToolMissing, UnsupportedModel
from filigree.converter.frontends import TFLITE_MAGIC
from filigree.converter.frontends.onnx import SOURCE

LARGEST = 2**31 - 1


def load(path: Path) -> ir.Model:
    """The model at ``path`` as a graph; operators that have no form in ONNX are in it, for
    ``passes`` to refuse.

    Raises BadFile for a file that is not a valid TFLite model, UnsupportedModel for several
    subgraphs and types that no later stage has, ToolMissing, OSError.
    """
    try:
        from filigree.converter.frontends.tflite.file import Faulty, Foreign, read
    except ImportError as error:
        raise ToolMissing(
            f"{error.name} is not installed, which reads {path.name}",
            hint="pip install filigree[convert]",
        ) from error
    from filigree.converter.frontends.tflite.write import write

    if path.stat().st_size > LARGEST:
        raise BadFile(f"{path.name} is larger than the 2 GiB a TFLite file can have")
    data = path.read_bytes()
    if data[4:8] != TFLITE_MAGIC:
        what = "is empty" if not data else "is not a TFLite model, or a damaged one"
        raise BadFile(f"{path.name} {what}")
    try:
        graph = read(data)
        model = write(graph, path.name)
    except Faulty as faulty:
        raise BadFile(f"{path.name} is not a valid TFLite model", faulty.faults) from faulty
    except Foreign as foreign:
        raise UnsupportedModel.of(path.name, foreign.problems) from foreign
    model.meta[SOURCE] = path.name
    return model
