"""A TFLite file as tensors and operators, checked.

1. The bytes can be read (``flat_check``), the version is 3, there is one subgraph.
2. Every index is in range; every tensor is made once, and before it is read; no constant is made.
3. Shapes are static and within the format's caps; a buffer has exactly the bytes that its tensor's
   shape needs; sparse tensors expand (``sparse``). Together constants are at most MOST_GROWTH times
   the file and FREE_BYTES.
4. Scales are positive and finite, one or one per index of their axis; zero points fit their type.
5. Names are unique: a second of the same, and an empty one, get the tensor's number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite as schema
from numpy.typing import NDArray

from filigree.converter.errors import Unsupported
from filigree.converter.frontends.tflite import flat_check, sparse
from filigree.native import enums as c

Array = NDArray[Any]
VERSION = 3
MOST_FAULTS = 20
MOST_TENSORS = 4 * c.FIL_MAX_TENSORS  # constants are tensors too
MOST_NAME = 4096
MOST_GROWTH = 8
FREE_BYTES = 1 << 26
NUMBERS = ("float32", "float16", "float64", "bool", "int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
TYPES: dict[int, np.dtype[Any]] = {
    getattr(schema.TensorType, name.upper()): np.dtype(name) for name in (*NUMBERS, *UNSIGNED)
}


@dataclass(frozen=True)
class Quantization:
    """real = (q - zero_point) * scale; both have one element, or one per index of ``axis``."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int


@dataclass(frozen=True)
class Tensor:
    """``shape`` as TFLite has it, channels last. ``data``: of a constant, in that shape."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantization: Quantization | None = None
    data: Array | None = None


@dataclass(frozen=True)
class Operator:
    """``kind``: TFLite's name. ``inputs``: tensor indices, -1 where one is left out; ``options``:
    the operator's table as the generated schema reads it."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None


@dataclass(frozen=True)
class Graph:
    """A file's one subgraph."""

    tensors: Sequence[Tensor]
    operators: Sequence[Operator]
    inputs: Sequence[int]
    outputs: Sequence[int]
    producer: str


class Faulty(Exception):
    """``faults``: all that is wrong with the file, at most MOST_FAULTS lines."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(faults[0])
        left_out = len(faults) - MOST_FAULTS
        more = [f"and {left_out} more"] if left_out > 0 else []
        self.faults = [*faults[:MOST_FAULTS], *more]


class Foreign(Exception):
    """``problems``: valid TFLite that no later stage can take."""

    def __init__(self, problems: Sequence[Unsupported]) -> None:
        super().__init__(problems[0].reason)
        self.problems = list(problems)


def read(data: bytes) -> Graph:
    """The graph of a file's bytes. Raises Faulty and Foreign."""
    fault = flat_check.fault(data)
    if fault:
        raise Faulty([fault])
    model = schema.Model.GetRootAs(data, 0)
    if model.Version() != VERSION:
        raise Faulty([f"its version is {model.Version()}; {VERSION} is supported"])
    if model.SubgraphsLength() != 1:
        if not model.SubgraphsLength():
            raise Faulty(["it has no subgraph"])
        reason = f"{model.SubgraphsLength()} of them (control flow); one is supported"
        raise Foreign([Unsupported("subgraphs", "the model", reason)])
    return _Reader(model, len(data)).graph()


class _NotSupported(ValueError):
    pass


class _Reader:
    """Builds the graph and gathers what is wrong."""

    def __init__(self, model: Any, size: int) -> None:
        self._model, self._graph = model, model.Subgraphs(0)
        self._left = FREE_BYTES + MOST_GROWTH * size
        self._faults: list[str] = []
        self._problems: list[Unsupported] = []

    def graph(self) -> Graph:
        graph = self._graph
        self._add(_counts(graph))
        tensors = self._tensors()
        operators = [self._operator(i, len(tensors)) for i in range(graph.OperatorsLength())]
        inputs = self._ports("inputs", graph.InputsAsNumpy(), len(tensors))
        outputs = self._ports("outputs", graph.OutputsAsNumpy(), len(tensors))
        self._add([])
        producer = (self._model.Description() or b"").decode("utf-8", "replace")[:MOST_NAME]
        found = Graph(tensors, operators, inputs, outputs, producer)
        self._add(_order(found))
        if self._problems:
            raise Foreign(self._problems)
        return found

    def _add(self, faults: Sequence[str] | Iterator[str]) -> None:
        """Raise Faulty if there is anything by now."""
        self._faults += faults
        if self._faults:
            raise Faulty(self._faults)

    # --- tensors ---

    def _tensors(self) -> list[Tensor]:
        names = _names([self._graph.Tensors(i) for i in range(self._graph.TensorsLength())])
        return [self._tensor(i, name) for i, name in enumerate(names)]

    def _tensor(self, index: int, name: str) -> Tensor:
        raw = self._graph.Tensors(index)
        shape = tuple(int(n) for n in _vector(raw.ShapeAsNumpy()))
        nothing = Tensor(name, shape, np.dtype(np.float32))
        try:
            dtype = _dtype(raw.Type())
            _check_shape(shape)
            quantization = _quantization(raw.Quantization(), shape, dtype)
            data = self._data(raw, shape, dtype)
        except _NotSupported as error:
            self._problems.append(Unsupported("tensor", f"{name} (tensor {index})", str(error)))
            return nothing
        except ValueError as error:
            self._faults.append(f'tensor {index} ("{name}") {error}')
            return nothing
        return Tensor(name, shape, dtype, quantization, data)

    def _data(self, raw: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
        number = raw.Buffer()
        if number >= self._model.BuffersLength():
            have = self._model.BuffersLength()
            raise ValueError(f"has buffer {number}, the file has {have}")
        buffer = self._model.Buffers(number)
        if buffer.Offset() > 1:
            raise _NotSupported("its data lies behind the flatbuffer")
        stored = _vector(buffer.DataAsNumpy())
        if number == 0 or not len(stored):
            if raw.Sparsity() is not None:
                raise ValueError("is sparse and has no data")
            return None
        if raw.IsVariable():
            raise ValueError("is a variable with data")
        need = math.prod(shape) * dtype.itemsize
        self._left -= need
        if self._left < 0:
            raise ValueError("makes the constants unpack to far more than the file")
        if raw.Sparsity() is not None:
            return sparse.expand(raw.Sparsity(), stored, shape, dtype)
        if len(stored) != need:
            raise ValueError(f"has {len(stored)} bytes, its shape {list(shape)} needs {need}")
        return stored.view(dtype.newbyteorder("<")).reshape(shape)

    # --- operators ---

    def _operator(self, index: int, tensors: int) -> Operator:
        raw = self._graph.Operators(index)
        inputs, outputs = _vector(raw.InputsAsNumpy()), _vector(raw.OutputsAsNumpy())
        kind = self._kind(index, raw.OpcodeIndex())
        where = f"operator {index} ({kind})"
        if len(inputs) > c.FIL_MAX_OPS or len(outputs) > c.FIL_MAX_OPS:
            self._faults.append(f"{where} has {len(inputs)} inputs and {len(outputs)} outputs")
            return Operator(index, kind, (), ())
        bad = [int(i) for i in inputs if not -1 <= i < tensors]
        bad += [int(i) for i in outputs if not 0 <= i < tensors]
        if bad:
            self._faults.append(f"{where} names tensor {bad[0]}, the file has {tensors}")
        if not len(outputs):
            self._faults.append(f"{where} makes nothing")
        options = None
        if raw.BuiltinOptionsType() in flat_check.OPTIONS and raw.BuiltinOptions() is not None:
            options = getattr(schema, flat_check.OPTIONS[raw.BuiltinOptionsType()])()
            options.Init(raw.BuiltinOptions().Bytes, raw.BuiltinOptions().Pos)
        return Operator(index, kind, _ints(inputs), _ints(outputs), options)

    def _kind(self, index: int, number: int) -> str:
        if number >= self._model.OperatorCodesLength():
            have = self._model.OperatorCodesLength()
            self._faults.append(f"operator {index} has code {number}, the file has {have}")
            return "?"
        raw = self._model.OperatorCodes(number)
        code = max(raw.BuiltinCode(), raw.DeprecatedBuiltinCode())
        if code == schema.BuiltinOperator.CUSTOM:
            return (raw.CustomCode() or b"custom").decode("utf-8", "replace")[:MOST_NAME]
        return KINDS.get(code, f"BUILTIN_{code}")

    def _ports(self, what: str, raw: Any, tensors: int) -> tuple[int, ...]:
        found = _vector(raw)
        bad = [int(i) for i in found if not 0 <= i < tensors]
        if bad:
            self._faults.append(f"its {what} name tensor {bad[0]}, it has {tensors}")
        if not 1 <= len(found) <= c.FIL_MAX_IO:
            self._faults.append(f"it has {len(found)} {what}; 1 to {c.FIL_MAX_IO} are possible")
        return _ints(found)


KINDS: dict[int, str] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}


def _vector(raw: Any) -> Array:
    """What the generated schema gives for a vector: an array, or 0 where there is none."""
    return raw if isinstance(raw, np.ndarray) else np.zeros(0, np.uint8)


def _ints(array: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in array)


def _counts(graph: Any) -> Iterator[str]:
    if graph.TensorsLength() > MOST_TENSORS:
        yield f"it has {graph.TensorsLength()} tensors, at most {MOST_TENSORS} are allowed"
    if graph.OperatorsLength() > c.FIL_MAX_OPS:
        yield f"it has {graph.OperatorsLength()} operators, at most {c.FIL_MAX_OPS} are allowed"


def _names(tensors: Sequence[Any]) -> list[str]:
    taken: set[str] = set()
    found = []
    for i, raw in enumerate(tensors):
        name = (raw.Name() or b"")[:MOST_NAME].decode("utf-8", "replace").replace("\0", "")
        if not name or name in taken:
            name = f"{name or 'tensor'}.{i}"
        while name in taken:
            name += "_"
        taken.add(name)
        found.append(name)
    return found


def _dtype(number: int) -> np.dtype[Any]:
    if number not in TYPES:
        names = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
        raise _NotSupported(f"has the type {names.get(number, number)}")
    return TYPES[number]


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) > c.FIL_MAX_RANK:
        raise ValueError(f"has {len(shape)} dims, at most {c.FIL_MAX_RANK} are allowed")
    if any(not 1 <= n <= c.FIL_MAX_DIM for n in shape):
        raise ValueError(f"has dims {list(shape)}: each must be 1 to {c.FIL_MAX_DIM}")
    if math.prod(shape) > c.FIL_MAX_ELEMENTS:
        raise ValueError(f"has dims {list(shape)}: over {c.FIL_MAX_ELEMENTS} elements")


def _quantization(raw: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Quantization | None:
    if raw is None or not raw.ScaleLength():
        return None
    if raw.DetailsType():
        raise _NotSupported("quantised in a way of its own")
    scale, zero = _vector(raw.ScaleAsNumpy()), _vector(raw.ZeroPointAsNumpy())
    axis = raw.QuantizedDimension()
    if len(scale) > 1:
        if not 0 <= axis < len(shape) or len(scale) != shape[axis]:
            raise ValueError(f"has {len(scale)} scales along axis {axis} of {list(shape)}")
    else:
        axis = 0
    if len(zero) not in (0, 1, len(scale)):
        raise ValueError(f"has {len(zero)} zero points and {len(scale)} scales")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("has a scale that is not a positive number")
    if dtype.kind in "iu" and len(zero):
        limits = np.iinfo(dtype)
        if zero.min() < limits.min or zero.max() > limits.max:
            raise ValueError(f"has a zero point that is no {dtype}")
    points = np.broadcast_to(zero if len(zero) else np.zeros(1, np.int64), scale.shape)
    return Quantization(scale.astype(np.float32), points.astype(np.int64), axis)


def _order(graph: Graph) -> Iterator[str]:
    """Rule 2."""
    made = {i for i, tensor in enumerate(graph.tensors) if tensor.data is not None}
    for i in graph.inputs:
        if i in made:
            yield f'input "{graph.tensors[i].name}" is a constant, or an input twice'
        made.add(i)
    for op in graph.operators:
        where = f"operator {op.index} ({op.kind})"
        for i in op.inputs:
            if i >= 0 and i not in made:
                yield f'{where} reads "{graph.tensors[i].name}", which nothing before it makes'
        for i in op.outputs:
            if i in made:
                yield f'{where} makes "{graph.tensors[i].name}", which exists already'
            made.add(i)
    for i in graph.outputs:
        if i not in made:
            yield f'output "{graph.tensors[i].name}" is made by nothing'
    if len(set(graph.outputs)) != len(graph.outputs):
        yield "two outputs are one tensor"
