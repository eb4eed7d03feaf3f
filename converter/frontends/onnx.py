"""ONNX files to a graph (``onnx_ir.Model``). The file is hostile until proven otherwise.

1. The file is at most 2 GiB and parses as a ModelProto (protobuf limits its nesting).
2. ``proto_check`` finds nothing wrong with its structure; no tensor is read before that.
3. Weights in other files are read only if asked for, and only from plain files beside the model.
4. Every node gets a name: its own, or its operator and number.
5. Inputs and constants say themselves what type and shape they have; what the file records for
   other values, or for those a second time, is not read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from filigree.converter.errors import BadFile, UnsupportedModel
from filigree.converter.frontends import proto_check

SOURCE = "filigree.source"
"""Key of ``Model.meta`` under which the file's name travels."""

LARGEST = 2**31 - 1
MAGICS = {
    b"PK\x03\x04": "a zip archive",
    b"\x89PNG": "a PNG image",
    b"FIL1": "a packed model already",
    b"\x80\x04\x95": "a Python pickle",
}


def load(path: Path, *, external_data: bool = False) -> ir.Model:
    """The model at ``path`` as a graph.

    ``external_data``: read weights that the model keeps in files beside it.
    Raises BadFile for a file that is not a valid ONNX model, UnsupportedModel for control flow,
    model-local functions and opsets that are too old or too new, OSError.
    """
    proto = _parse(path)
    faults = proto_check.faults(proto)
    if faults:
        raise BadFile(f"{path.name} is not a valid ONNX model", faults)
    problems = proto_check.unsupported(proto)
    if problems:
        raise UnsupportedModel.of(path.name, problems)
    _read_external(proto, path, allowed=external_data)
    _name_nodes(proto)
    _settle_types(proto.graph)
    try:
        model = ir.serde.deserialize_model(proto)
    except Exception as error:  # onnx_ir raises what its parser happens to hit
        raise BadFile(f"{path.name} is not a valid ONNX model", [_first_line(error)]) from error
    model.meta[SOURCE] = path.name
    return model


def source_of(model: ir.Model) -> str:
    """The name of the file that ``model`` came from."""
    return str(model.meta.get(SOURCE, "the model"))


def _parse(path: Path) -> onnx.ModelProto:
    if path.stat().st_size > LARGEST:
        raise BadFile(f"{path.name} is larger than the 2 GiB an ONNX file can have")
    data = path.read_bytes()
    kind = next((kind for magic, kind in MAGICS.items() if data.startswith(magic)), None)
    if data[4:8] == b"TFL3":
        kind = "a TFLite model"
    if kind is not None:
        raise BadFile(f"{path.name} is {kind}, not an ONNX model")
    try:
        proto = onnx.ModelProto()
        proto.ParseFromString(data)
        return proto
    except DecodeError as error:
        what = "is empty" if not data else "is not an ONNX model, or a damaged one"
        raise BadFile(f"{path.name} {what}") from error


def _name_nodes(proto: onnx.ModelProto) -> None:
    taken = {node.name for node in proto.graph.node}
    for i, node in enumerate(proto.graph.node):
        if not node.name:
            name = f"{node.op_type}_{i}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)


def _settle_types(graph: onnx.GraphProto) -> None:
    known = {value.name: value.type for value in graph.input}
    for tensor in graph.initializer:
        known[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        kind = known.get(value.name, onnx.TypeProto())
        if kind is not value.type:
            value.type.CopyFrom(kind)


def _read_external(proto: onnx.ModelProto, path: Path, *, allowed: bool) -> None:
    """Bring external tensors in; every problem in one BadFile."""
    tensors = [
        (where, tensor)
        for where, tensor in proto_check.tensors(proto)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    if tensors and not allowed:
        files = sorted({proto_check.location(tensor) for _, tensor in tensors})
        raise BadFile(
            f"{path.name} keeps {len(tensors)} tensors in other files",
            files,
            hint="--external-data reads them from the model's folder",
        )
    problems = []
    for where, tensor in tensors:
        try:
            _bring_in(tensor, path.parent)
        except ValueError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise BadFile(f"{path.name} has external data that cannot be used", problems)


def _bring_in(tensor: onnx.TensorProto, folder: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    expected = proto_check.stored_bytes(tensor)
    if not location or location in (".", "..") or Path(location).name != location:
        raise ValueError(f'"{location}" is not the name of a file beside the model')
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(expected)))
    except ValueError:
        raise ValueError(f'offset or length in "{location}" is not a number') from None
    if offset < 0 or length != expected:
        raise ValueError(f'offset {offset}, length {length} in "{location}", needs {expected}')
    tensor.raw_data = _read_plain(folder, location, offset, length)
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _read_plain(folder: Path, name: str, offset: int, length: int) -> bytes:
    """Bytes of a regular file with one link; the open file is what is checked and read."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        reason = error.strerror or "cannot be opened"
        raise ValueError(f'"{name}": {reason.lower()}') from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise ValueError(f'"{name}" is a link or not a plain file')
        if offset > found.st_size or length > found.st_size - offset:
            raise ValueError(f'"{name}" has {found.st_size} bytes, needs {offset + length}')
        file.seek(offset)
        return file.read(length)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
