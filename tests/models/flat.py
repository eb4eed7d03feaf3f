"""Write TFLite files, right ones and wrong ones: tensors and operators go in as they are given."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import tflite as schema
from numpy.typing import NDArray

Array = NDArray[Any]
VECTORS = {"int32": 1, "uint16": 2, "uint8": 3}  # SparseIndexVector


@dataclass(frozen=True)
class Scales:
    """real = (q - zero) * scale, along ``axis`` if there are several."""

    scale: Sequence[float]
    zero: Sequence[int] = (0,)
    axis: int = 0


@dataclass(frozen=True)
class Sparsity:
    """Levels in ``order``: a size for a dense one, segments and indices for a compressed one, in
    the type of the arrays; the last ``len(blocks)`` axes lie in blocks of those."""

    order: Sequence[int]
    levels: Sequence[int | tuple[Array, Array]]
    blocks: Sequence[int] = ()


@dataclass
class _Tensor:
    name: str
    shape: Sequence[int]
    kind: int
    buffer: int
    scales: Scales | None
    sparsity: Sparsity | None


@dataclass
class _Operator:
    code: int
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: tuple[str, dict[str, Any]] | None


class File:
    """One subgraph under construction; ``version``, ``subgraphs`` and lists may be set wrong."""

    def __init__(self) -> None:
        self.buffers: list[bytes] = [b""]  # number 0 is empty by convention
        self.tensors: list[_Tensor] = []
        self.operators: list[_Operator] = []
        self.codes: list[int] = []
        self.custom: dict[int, str] = {}
        self.version, self.subgraphs = 3, 1
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        *,
        dtype: str = "float32",
        data: Array | bytes | None = None,
        scales: Scales | None = None,
        sparsity: Sparsity | None = None,
    ) -> int:
        """A tensor and its number; with ``data`` a constant."""
        buffer = 0
        if data is not None:
            self.buffers.append(data if isinstance(data, bytes) else np.asarray(data).tobytes())
            buffer = len(self.buffers) - 1
        kind = getattr(schema.TensorType, dtype.upper())
        self.tensors.append(_Tensor(name, list(shape), kind, buffer, scales, sparsity))
        return len(self.tensors) - 1

    def constant(self, name: str, data: Array, *, scales: Scales | None = None) -> int:
        return self.tensor(name, data.shape, dtype=data.dtype.name, data=data, scales=scales)

    def operator(
        self,
        kind: str | int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str | None = None,
        **fields: Any,
    ) -> None:
        """``options``: the name of its table, with the fields that differ from the defaults."""
        code = kind if isinstance(kind, int) else getattr(schema.BuiltinOperator, kind)
        if code not in self.codes:
            self.codes.append(code)
        table = (options, fields) if options else None
        self.operators.append(_Operator(self.codes.index(code), inputs, list(outputs), table))

    def finish(self) -> bytes:
        return _Packer().model(self)


class _Packer:
    """Tables from the inside out, as flatbuffers are built."""

    def __init__(self) -> None:
        self._b = flatbuffers.Builder(1 << 10)

    def model(self, file: File) -> bytes:
        codes = [self._code(code, file.custom.get(code)) for code in file.codes]
        graphs = [self._graph(file) for _ in range(file.subgraphs)]
        buffers = [
            self._table("Buffer", Data=self._bytes(data)) if data else self._table("Buffer")
            for data in file.buffers
        ]
        root = self._table(
            "Model",
            Version=file.version,
            OperatorCodes=self._tables(codes),
            Subgraphs=self._tables(graphs),
            Buffers=self._tables(buffers),
        )
        self._b.Finish(root, b"TFL3")
        return bytes(self._b.Output())

    def _code(self, code: int, custom: str | None) -> int:
        fields = {"CustomCode": self._b.CreateString(custom)} if custom else {}
        return self._table(  # old readers look at the first field
            "OperatorCode",
            DeprecatedBuiltinCode=min(code, 127),
            BuiltinCode=code,
            Version=1,
            **fields,
        )

    def _graph(self, file: File) -> int:
        tensors = self._tables([self._tensor(t) for t in file.tensors])
        operators = self._tables([self._operator(op) for op in file.operators])
        return self._table(
            "SubGraph",
            Tensors=tensors,
            Operators=operators,
            Inputs=self._numbers(file.inputs, "int32"),
            Outputs=self._numbers(file.outputs, "int32"),
        )

    def _tensor(self, t: _Tensor) -> int:
        fields: dict[str, int] = {
            "Name": self._b.CreateSharedString(t.name),
            "Shape": self._numbers(t.shape, "int32"),
        }
        if t.scales is not None:
            fields["Quantization"] = self._table(
                "QuantizationParameters",
                Scale=self._numbers(t.scales.scale, "float32"),
                ZeroPoint=self._numbers(t.scales.zero, "int64"),
                QuantizedDimension=t.scales.axis,
            )
        if t.sparsity is not None:
            fields["Sparsity"] = self._sparsity(t.sparsity)
        return self._table("Tensor", Type=t.kind, Buffer=t.buffer, **fields)

    def _sparsity(self, s: Sparsity) -> int:
        levels = [self._level(level) for level in s.levels]
        return self._table(
            "SparsityParameters",
            TraversalOrder=self._numbers(s.order, "int32"),
            BlockMap=self._numbers(s.blocks, "int32"),
            DimMetadata=self._tables(levels),
        )

    def _level(self, level: int | tuple[Array, Array]) -> int:
        if isinstance(level, int):
            return self._table("DimensionMetadata", Format=0, DenseSize=level)
        fields = {}
        for name, array in zip(("Segments", "Indices"), level, strict=True):
            kind = array.dtype.name
            values = self._numbers(array, kind)
            fields[f"Array{name}Type"] = VECTORS[kind]
            fields[f"Array{name}"] = self._table(f"{kind.title()}Vector", Values=values)
        return self._table("DimensionMetadata", Format=1, **fields)

    def _operator(self, op: _Operator) -> int:
        fields: dict[str, int] = {
            "Inputs": self._numbers(op.inputs, "int32"),
            "Outputs": self._numbers(op.outputs, "int32"),
        }
        if op.options is not None:
            name, given = op.options
            made = {
                key: self._numbers(value, "int32") if isinstance(value, list | tuple) else value
                for key, value in given.items()
            }
            fields["BuiltinOptionsType"] = getattr(schema.BuiltinOptions, name)
            fields["BuiltinOptions"] = self._table(name, **made)
        return self._table("Operator", OpcodeIndex=op.code, **fields)

    def _table(self, kind: str, **fields: Any) -> int:
        module = importlib.import_module(f"tflite.{kind}")
        module.Start(self._b)
        for name, value in fields.items():
            getattr(module, f"Add{name}")(self._b, value)
        found: int = module.End(self._b)
        return found

    def _tables(self, offsets: Sequence[int]) -> int:
        self._b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._b.PrependUOffsetTRelative(offset)
        found: int = self._b.EndVector()
        return found

    def _numbers(self, values: Any, dtype: str) -> int:
        array = np.asarray(values, dtype)
        if not array.size:
            self._b.StartVector(array.itemsize, 0, array.itemsize)
            return int(self._b.EndVector())
        return int(self._b.CreateNumpyVector(array))

    def _bytes(self, data: bytes) -> int:
        return int(self._b.CreateNumpyVector(np.frombuffer(data, np.uint8)))
