"""The packed model (``.fil``): a planned program to bytes and back.

``native/include/filigree/format.h`` defines every byte and ``native/SPEC.md`` explains it; the
structs and limits come from there. The same program gives the same bytes, always.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter import structs
from filigree.converter.errors import BadFile
from filigree.converter.lowering.plan import live_bytes
from filigree.converter.lowering.program import (
    Op,
    Packing,
    Place,
    Plan,
    Port,
    Program,
    Tensor,
    Weights,
)
from filigree.converter.quantize.marks import Quant
from filigree.converter.sparsity import four_bits, pattern
from filigree.native import enums as c
from filigree.native._ffi import ffi, lib
from filigree.native.model import DTYPES, ITEM_OF

Bytes = NDArray[np.uint8]
TYPES = {number: np.dtype(name).newbyteorder("<") for name, number in DTYPES.items()}
TYPES[c.FIL_S32] = np.dtype("<i4")


@dataclass
class _Constants:
    """The CONST section under construction: equal blobs are stored once."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    known: dict[bytes, int] = field(default_factory=dict)

    def add(self, array: NDArray[Any]) -> int:
        """Offset of the array's bytes, a multiple of FIL_ALIGN."""
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        key = hashlib.sha256(data).digest()
        if key not in self.known:
            gap = -self.size % c.FIL_ALIGN
            self.known[key] = self.size + gap
            self.parts += [bytes(gap), data]
            self.size += gap + len(data)
        return self.known[key]


def encode(program: Program) -> bytes:
    """The bytes of a packed model. The program must be packed and planned (ValueError if not)."""
    if program.plan is None:
        raise ValueError("the program has no memory plan")
    constants = _Constants()
    bodies = {
        c.FIL_SECTION_TENSORS: _rows(_tensor_structs(program, program.plan, constants)),
        c.FIL_SECTION_WEIGHTS: _rows(_weights_structs(program, constants)),
        c.FIL_SECTION_PROGRAM: _rows(_op_structs(program, program.plan)),
        c.FIL_SECTION_IO: _rows(_io_structs(program)),
        c.FIL_SECTION_META: _meta_bytes(program),
    }
    bodies[c.FIL_SECTION_CONST] = b"".join(constants.parts)
    sections = [(kind, bodies[kind]) for kind in sorted(bodies) if bodies[kind]]
    needs = {structs.FEATURES.get(t.dtype, 0) for t in program.tensors.values()}
    head = {
        "lanes": program.lanes,
        "arena_bytes": program.plan.arena_bytes,
        "required": functools.reduce(operator.or_, needs, 0),
    }
    return _assemble(sections, head)


def decode(data: bytes) -> Program:
    """The program in a packed model.

    Raises BadFile for anything that the C loader refuses, for metadata that is not a JSON object,
    and for a small file that unpacks to more than FIL_MAX_ELEMENTS values.
    """
    file = _aligned(data)
    model = _opened(file)
    _check_unpacked_size(model)
    meta = _meta_of(model)
    tensors = _tensors_of(model, file, meta)
    names = list(tensors)
    ops = _ops_of(model, names, _texts(meta, "nodes"))
    weights = _all_weights_of(model, file, ops, meta)
    ports = [_port_of(model.io[i], names) for i in range(_io_count(model))]
    return Program(
        name=str(meta.get("name", "")),
        tensors=tensors,
        ops=ops,
        weights=weights,
        inputs=tuple(ports[: model.input_count]),
        outputs=tuple(ports[model.input_count :]),
        lanes=int(model.lanes),
        plan=_plan_of(model, tensors),
        meta=meta,
    )


def validate(data: bytes) -> None:
    """Open ``data`` as a device would that has every instruction set. Raises BadFile with the
    loader's sentence."""
    _opened(_aligned(data))


def library_version() -> str:
    """The runtime library's version: "0.1.0"."""
    return str(ffi.string(lib.fil_version()).decode())


def write(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` all or nothing: the old file stays until the new one is safe.

    Raises OSError; nothing is left behind then.
    """
    path = Path(path)
    temporary, handle = _open_beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


# --- writing ---


def _rows(rows: Iterable[Any]) -> bytes:
    return b"".join(bytes(ffi.buffer(row)) for row in rows)


def _numbers(names: Iterable[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _tensor_structs(program: Program, plan: Plan, constants: _Constants) -> list[Any]:
    ports = _numbers(port.tensor for port in (*program.inputs, *program.outputs))
    rows = []
    for name, tensor in program.tensors.items():
        if tensor.place is Place.ARENA:
            offset = plan.offsets[name]
        elif tensor.place is Place.CONST:
            offset = constants.add(_with_pitch(tensor))
        else:
            offset = ports[name]
        lifetime = plan.lifetimes[name] if tensor.place is Place.ARENA else (0, 0)
        rows.append(structs.tensor_struct(tensor, offset=offset, lifetime=lifetime))
    return rows


def _with_pitch(tensor: Tensor) -> NDArray[Any]:
    if tensor.data is None:
        raise ValueError(f'constant "{tensor.name}" has no data')
    padded = np.zeros((tensor.planes, tensor.pitch), tensor.dtype)
    padded[:, : tensor.positions] = tensor.data.reshape(tensor.planes, tensor.positions)
    return padded


def _weights_structs(program: Program, constants: _Constants) -> list[Any]:
    return [
        structs.weights_struct(w, _blob_offsets(w, constants)) for w in program.weights.values()
    ]


def _blob_offsets(weights: Weights, constants: _Constants) -> dict[str, int]:
    packing = weights.packing
    if packing is None:
        raise ValueError(f'weights of "{weights.layer}" are not packed')
    offsets = {
        "values_offset": constants.add(packing.values),
        "bias_offset": constants.add(packing.bias),
    }
    if packing.multipliers is not None:
        offsets["multiplier_offset"] = constants.add(packing.multipliers)
    if packing.scales is not None:
        offsets["multiplier_offset"] = constants.add(packing.scales)
    if packing.index is not None and packing.counts is not None:
        offsets["index_offset"] = constants.add(packing.index)
        offsets["count_offset"] = constants.add(packing.counts)
    return offsets


def _op_structs(program: Program, plan: Plan) -> list[Any]:
    tensors, weights = _numbers(program.tensors), _numbers(program.weights)
    return [
        structs.op_struct(op, tensors, weights=weights, scratch=scratch)
        for op, scratch in zip(program.ops, plan.scratch, strict=True)
    ]


def _io_structs(program: Program) -> list[Any]:
    tensors = _numbers(program.tensors)
    ports = [(port, False) for port in program.inputs] + [(port, True) for port in program.outputs]
    return [
        structs.io_struct(
            port, tensors[port.tensor], is_output=is_output, name=_port_name(port.name)
        )
        for port, is_output in ports
    ]


def _port_name(name: str) -> bytes:
    """UTF-8 that fits; a longer name keeps its start and gets its checksum, so that two differ."""
    data = name.replace("\0", "").encode("utf-8", "replace")
    if len(data) < c.FIL_NAME_BYTES:
        return data
    tail = f"~{lib.fil_crc32c(0, data, len(data)):08x}"
    head = data[: c.FIL_NAME_BYTES - 1 - len(tail)].decode("utf-8", "ignore")
    return (head + tail).encode()


def _meta_bytes(program: Program) -> bytes:
    names = {"nodes": [op.node for op in program.ops], "tensors": list(program.tensors)}
    meta = {**program.meta, "name": program.name, **names}
    text = json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _assemble(sections: list[tuple[int, bytes]], head: dict[str, int]) -> bytes:
    end = ffi.sizeof("fil_header") + len(sections) * ffi.sizeof("fil_section")
    table, body = [], []
    for kind, data in sections:
        gap = -end % c.FIL_ALIGN
        row = {"kind": kind, "crc": _crc(data), "offset": end + gap, "bytes": len(data)}
        table.append(ffi.new("fil_section *", row))
        body += [bytes(gap), data]
        end += gap + len(data)
    rows = _rows(table)
    header = ffi.new(
        "fil_header *",
        {
            "magic": c.FIL_MAGIC,
            "version": c.FIL_VERSION,
            **head,
            "file_bytes": end,
            "section_count": len(sections),
        },
    )
    header.crc = _crc(bytes(ffi.buffer(header)) + rows)
    return b"".join([bytes(ffi.buffer(header)), rows, *body])


def _crc(data: bytes) -> int:
    return int(lib.fil_crc32c(0, data, len(data)))


def _open_beside(path: Path) -> tuple[Path, int]:
    """A new file in the folder of ``path``: nobody else has it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
        try:
            return temporary, os.open(temporary, flags, 0o666)
        except FileExistsError:
            continue


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no folder handles to sync
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- reading ---


def _aligned(data: bytes) -> Bytes:
    """A copy of ``data`` aligned as the loader wants it."""
    raw = np.zeros(len(data) + c.FIL_ALIGN, np.uint8)
    start = -raw.ctypes.data % c.FIL_ALIGN
    view = raw[start : start + len(data)]
    view[:] = np.frombuffer(data, np.uint8)
    return view


def _opened(file: Bytes) -> Any:
    """``fil_model`` over ``file``, which the caller keeps. Raises BadFile."""
    if file.size == 0:
        raise BadFile("not a packed model", ["the file is empty"])
    model = ffi.new("fil_model *")
    status = lib.fil_open(model, ffi.from_buffer(file), file.size)
    if status in (c.FIL_OK, c.FIL_E_ISA):  # it is valid, whether or not this machine can run it
        return model
    name = ffi.string(lib.fil_status_name(status)).decode()
    sentence = ffi.string(lib.fil_status_sentence(status)).decode()
    item = ITEM_OF.get(name, "item")
    where = f" ({item} {model.bad_item})" if model.bad_item >= 0 else ""
    raise BadFile("not a valid packed model", [f"{sentence}{where} [{name}]"])


def _check_unpacked_size(model: Any) -> None:
    """Blobs may be shared and zeros are not stored: the file's size does not bound its matrices."""
    tensors = (model.tensors[i] for i in range(model.tensor_count))
    constants = (t for t in tensors if t.place == c.FIL_PLACE_CONST)
    weights = (model.weights[i] for i in range(model.weights_count))
    values = sum(t.bytes // TYPES[t.dtype].itemsize for t in constants)
    values += sum((w.groups * w.cols + w.blocks) * w.block_rows for w in weights)
    if values > c.FIL_MAX_ELEMENTS:
        raise BadFile("not a valid packed model", [f"it unpacks to {values:,} values"])


def _io_count(model: Any) -> int:
    return int(model.input_count + model.output_count)


def _meta_of(model: Any) -> dict[str, Any]:
    if not model.meta_bytes:
        return {}
    try:
        meta = json.loads(bytes(ffi.buffer(model.meta, model.meta_bytes)).decode())
    except (ValueError, RecursionError) as error:
        raise BadFile("not a valid packed model", ["the metadata is not JSON"]) from error
    if not isinstance(meta, dict):
        raise BadFile("not a valid packed model", ["the metadata is not a JSON object"])
    return meta


def _texts(meta: dict[str, Any], key: str) -> list[str]:
    """A list of strings in the metadata; empty if it is anything else (metadata is optional)."""
    found = meta.get(key)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        return []
    return found


def _names(given: list[str], count: int, *, prefix: str) -> list[str]:
    """``given`` if it names ``count`` things apart, else prefix0, prefix1, ..."""
    if len(given) == count and len(set(given)) == count:
        return given
    return [f"{prefix}{i}" for i in range(count)]


def _values(file: Bytes, at: int, count: int, *, dtype: int = c.FIL_F32) -> NDArray[Any]:
    """``count`` elements of a ``fil_dtype``."""
    stored = TYPES[dtype]
    return file[at : at + stored.itemsize * count].view(stored).astype(stored.newbyteorder("="))


def _constants_at(model: Any) -> int:
    """Offset of the CONST section in the file."""
    if model.constants == ffi.NULL:
        return 0
    return int(ffi.cast("uintptr_t", model.constants)) - int(ffi.cast("uintptr_t", model.file))


def _tensors_of(model: Any, file: Bytes, meta: dict[str, Any]) -> dict[str, Tensor]:
    names = _names(_texts(meta, "tensors"), model.tensor_count, prefix="tensor")
    return {name: _tensor_of(model, file, i, name) for i, name in enumerate(names)}


def _tensor_of(model: Any, file: Bytes, i: int, name: str) -> Tensor:
    t = model.tensors[i]
    shape = tuple(t.dim[0 : t.rank])
    quant = Quant(float(t.scale), int(t.zero)) if t.dtype in (c.FIL_S8, c.FIL_U8) else None
    dtype = TYPES[t.dtype].name
    tensor = Tensor(name, shape, t.split, t.pitch, Place(t.place), dtype=dtype, quant=quant)
    if tensor.place is not Place.CONST:
        return tensor
    at, count = _constants_at(model) + t.offset, tensor.planes * tensor.pitch
    padded = _values(file, at, count, dtype=t.dtype).astype(np.float32)
    data = padded.reshape(tensor.planes, tensor.pitch)[:, : tensor.positions].reshape(shape)
    return dataclasses.replace(tensor, data=data)


def _weights_names(count: int) -> list[str]:
    return [f"weights{i}" for i in range(count)]


def _ops_of(model: Any, tensors: list[str], nodes: list[str]) -> tuple[Op, ...]:
    weights = _weights_names(model.weights_count)
    if len(nodes) != model.op_count:
        nodes = [f"op{i}" for i in range(model.op_count)]
    return tuple(
        structs.op_from(model.ops[i], tensors, weights=weights, node=node)
        for i, node in enumerate(nodes)
    )


def _all_weights_of(
    model: Any, file: Bytes, ops: tuple[Op, ...], meta: dict[str, Any]
) -> dict[str, Weights]:
    names = _weights_names(model.weights_count)
    layers = _layer_names(meta)
    if len(layers) != len(names):
        users = {op.weights: op.node for op in reversed(ops)}
        layers = [users.get(name, name) for name in names]
    return {
        name: _weights_of(model, file, i, layer)
        for i, (name, layer) in enumerate(zip(names, layers, strict=True))
    }


def _layer_names(meta: dict[str, Any]) -> list[str]:
    """The user's name of every weights; empty if the metadata does not have them all."""
    layers = meta.get("layers")
    if not isinstance(layers, list):
        return []
    nodes = [layer.get("node") if isinstance(layer, dict) else None for layer in layers]
    return [node for node in nodes if isinstance(node, str)]


def _weights_of(model: Any, file: Bytes, i: int, layer: str) -> Weights:
    w = model.weights[i]
    packing = _packing_of(file[_constants_at(model) :], w)
    matrix = pattern.decode(packing, rows=w.rows, cols=w.cols)
    factors = None if packing.multipliers is None else packing.multipliers[: w.rows]
    return Weights(layer, matrix, packing.bias[: w.rows], packing, factors)


def _packing_of(constants: Bytes, w: Any) -> Packing:
    index = counts = None
    if w.coding != c.FIL_CODING_NONE:
        kind, size = ("<u1", 1) if w.coding == c.FIL_CODING_D8 else ("<u2", 2)
        index = constants[w.index_offset :][: w.blocks * size].view(kind).copy()
        counts = constants[w.count_offset :][: w.groups * 2].view("<u2").astype(np.uint16)
    rows, stored, bias, factors = w.groups * w.block_rows, w.blocks, c.FIL_F32, None
    if w.dtype == c.FIL_S8:
        stored = pattern.in_quads(w.blocks, w.groups, counts)
        factors = _values(constants, w.multiplier_offset, rows)
        bias = c.FIL_S32
    if w.dtype == c.FIL_S4:
        return _int4_of(constants, w, index=index, counts=counts)
    packing = Packing(
        block_rows=w.block_rows,
        coding=w.coding,
        blocks=w.blocks,
        values=_values(constants, w.values_offset, stored * w.block_rows, dtype=w.dtype),
        index=index,
        counts=counts,
        bias=_values(constants, w.bias_offset, rows, dtype=bias),
        multipliers=factors,
    )
    return Packing(**{**packing.__dict__, "bridges": pattern.count_bridges(packing)})


def _int4_of(constants: Bytes, w: Any, *, index: Any, counts: Any) -> Packing:
    bias = _values(constants, w.bias_offset, w.groups * w.block_rows)
    packing = Packing(
        w.block_rows, w.coding, w.blocks, values=bias, index=index, counts=counts, bias=bias
    )
    nbytes, scales = four_bits.stored_sizes(packing, w.groups)
    packing = dataclasses.replace(
        packing,
        values=constants[w.values_offset :][:nbytes].copy(),
        scales=_values(constants, w.multiplier_offset, scales, dtype=c.FIL_F16),
    )
    return dataclasses.replace(packing, bridges=pattern.count_bridges(packing))


def _port_of(io: Any, tensors: list[str]) -> Port:
    try:
        name = ffi.string(io.name).decode()
    except UnicodeDecodeError as error:
        raise BadFile("not a valid packed model", ["a port's name is not UTF-8"]) from error
    return Port(name, tensors[io.tensor], tuple(io.dim[0 : io.rank]))


def _plan_of(model: Any, tensors: dict[str, Tensor]) -> Plan:
    arena = {
        name: model.tensors[i]
        for i, (name, tensor) in enumerate(tensors.items())
        if tensor.place is Place.ARENA
    }
    offsets = {name: int(t.offset) for name, t in arena.items()}
    lifetimes = {name: (int(t.first_op), int(t.last_op)) for name, t in arena.items()}
    ops = [model.ops[i] for i in range(model.op_count)]
    scratch = tuple((int(op.scratch_offset), int(op.scratch_bytes)) for op in ops)
    placed = [(offsets[n], tensors[n].nbytes, *lifetimes[n]) for n in arena]
    placed += [(at, size, i, i) for i, (at, size) in enumerate(scratch) if size]
    live = live_bytes(placed, len(ops))
    bound = max(live)
    return Plan(int(model.arena_bytes), offsets, lifetimes, scratch, bound, live.index(bound))
