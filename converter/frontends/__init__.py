"""Front ends: the only modules that know a foreign file format. ``load`` takes the right one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

TFLITE_MAGIC = b"TFL3"  # behind the offset that a flatbuffer begins with


def is_tflite(path: Path) -> bool:
    """Whether a file is TFLite's by its content or, where that says nothing, by its name."""
    with path.open("rb") as file:
        head = file.read(8)
    return head[4:] == TFLITE_MAGIC or path.suffix == ".tflite"


def load(path: Path, *, external_data: bool = False) -> ir.Model:
    """The model at ``path`` as a graph of ONNX operators.

    Raises what ``frontends.onnx.load`` and ``frontends.tflite.load`` raise.
    """
    from filigree.converter.frontends import onnx, tflite

    if is_tflite(path):
        return tflite.load(path)
    return onnx.load(path, external_data=external_data)


def as_onnx(path: Path) -> onnx.ModelProto:
    """The model at ``path`` as ONNX: the file itself, or what its front end makes of it."""
    import onnx
    import onnx_ir as ir

    if is_tflite(path):
        return ir.serde.serialize_model(load(path))
    return onnx.load(path, load_external_data=False)
