"""Run a packed model from Python: ``load("m.fil").run(x)``.

The file is mapped, validated once by the C loader and then read in place; activations live in one
arena per model. ``run`` hands numpy's own buffers to the kernels.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import statistics
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.native._ffi import ffi, lib
from filigree.native.team import Team

F32 = NDArray[np.float32]

ISA_VARIABLE = "FILIGREE_ISA"

_OP_KINDS = {
    getattr(lib, name): name.removeprefix("FIL_OP_").lower()
    for name in dir(lib)
    if name.startswith("FIL_OP_") and name != "FIL_OP_COUNT"
}
ITEM_OF = {
    "E_SECTIONS": "section",
    "E_CRC": "section",
    "E_TENSOR": "tensor",
    "E_LIFETIME": "tensor",
    "E_WEIGHTS": "weights",
    "E_INDEX": "weights",
    "E_OP": "op",
    "E_BOUNDS": "op",
    "E_UNSUPPORTED": "op",
    "E_IO": "port",
}
DTYPES: Mapping[str, int] = {
    "float32": lib.FIL_F32,
    "float16": lib.FIL_F16,
    "int8": lib.FIL_S8,
    "uint8": lib.FIL_U8,
}
"""Element types of weights and tensors, by numpy's name."""
_NAMES = {number: name for name, number in DTYPES.items()}
_open_lock = threading.Lock()


@dataclass
class BadFile(Exception):
    """The loader refused a file: the status code's name, its sentence, and the section, tensor,
    weights, op or port index at fault (-1: the file as a whole)."""

    status: str
    sentence: str
    item: int = -1
    source: str = "packed model"

    def __str__(self) -> str:
        where = f" ({ITEM_OF.get(self.status, 'item')} {self.item})" if self.item >= 0 else ""
        return f"{self.source}: {self.sentence}{where} [{self.status}]"


@dataclass(frozen=True)
class Port:
    """A program input or output: contiguous row-major ``dtype`` of ``shape``; integers q stand for
    (q - ``zero``) * ``scale``."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    scale: float = 0.0
    zero: int = 0


@dataclass(frozen=True)
class OpTime:
    """Median seconds that one operation took; ``node`` is the user's name for it, if known."""

    op: int
    kind: str
    node: str
    seconds: float


def isas(activations: str = "float32") -> list[str]:
    """Names of the instruction sets for such activations that this CPU and build have, slowest
    first."""
    kind = DTYPES[activations]
    every = [i for i in range(lib.FIL_ISA_COUNT) if lib.fil_isa_activations(i) == kind]
    return [_text(lib.fil_isa_name(i)) for i in every if lib.fil_isa_present(i)]


def load(path: str | os.PathLike[str], *, isa: str | None = None, threads: int = 1) -> Model:
    """Map and validate a ``.fil`` file, to run on ``threads`` threads.

    The mapping is read in place: replace the file (as filigree does), never rewrite it while it is
    open. For a file that others can write, pass ``Path(path).read_bytes()`` to ``from_bytes``.
    Raises BadFile, OSError, or ValueError for an instruction set or number of threads that cannot
    be.
    """
    source = Path(path)
    with source.open("rb") as f:
        empty = os.fstat(f.fileno()).st_size == 0
        data = b"" if empty else mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    return Model(data, isa=isa, threads=threads, source=source.name)


class Model:
    """A validated packed model with its arena. Safe to share between threads: runs are serialised.

    ``data``: the file's bytes, kept alive and not copied if they are aligned to 64 bytes.
    ``isa``: force an instruction set by name; the environment's FILIGREE_ISA is the default.
    ``threads``: how many a run uses, to the same bits; they end with the model or by ``close``.
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview | mmap.mmap,
        *,
        isa: str | None = None,
        threads: int = 1,
        source: str = "packed model",
    ) -> None:
        if len(data) == 0:
            raise BadFile("E_TRUNCATED", _sentence(lib.FIL_E_TRUNCATED), source=source)
        self._data = _aligned_view(data)
        self._source = source
        self._m = ffi.new("fil_model *")
        _open(self._m, self._data, isa=isa or os.environ.get(ISA_VARIABLE), source=source)
        self._arena = aligned_empty(int(self._m.arena_bytes))
        self._arena_pointer = ffi.from_buffer(self._arena)
        self._team = Team(threads, scratch_bytes=int(lib.fil_parallel_scratch(self._m)))
        self._lock = threading.RLock()  # a trace callback looks at tensors
        self._ran = False
        ports = [_port(self._m, self._m.io[i], source=source) for i in range(_io_count(self._m))]
        self.inputs = ports[: self._m.input_count]
        self.outputs = ports[self._m.input_count :]

    @classmethod
    def from_bytes(
        cls, data: bytes | bytearray | memoryview, *, isa: str | None = None, threads: int = 1
    ) -> Model:
        """Validate a packed model held in memory (copied once if it is not aligned)."""
        return cls(data, isa=isa, threads=threads)

    def close(self) -> None:
        """End the threads now instead of with the model; later runs have one."""
        with self._lock:
            self._team.close()

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        halves = self._m.isa_f16 != lib.FIL_ISA_COUNT
        return _text(lib.fil_isa_name(self._m.isa_f16 if halves else self._m.isa))

    @property
    def threads(self) -> int:
        """How many threads a run uses."""
        return self._team.threads

    @property
    def arena_bytes(self) -> int:
        """Peak activation memory."""
        return int(self._m.arena_bytes)

    @property
    def op_count(self) -> int:
        return int(self._m.op_count)

    @property
    def tensor_count(self) -> int:
        return int(self._m.tensor_count)

    @property
    def work(self) -> int:
        """Multiply-accumulates of one run, an upper bound."""
        return int(self._m.work)

    @property
    def lanes(self) -> int:
        """Elements that every arena plane is padded to a multiple of."""
        return int(self._m.lanes)

    @property
    def format_version(self) -> int:
        return int(ffi.cast("const fil_header *", self._m.file).version)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The host-only metadata; empty if the file has none. Raises BadFile if it is not JSON."""
        if not self._m.meta_bytes:
            return {}
        try:
            meta = json.loads(bytes(ffi.buffer(self._m.meta, self._m.meta_bytes)).decode())
        except (ValueError, RecursionError) as e:
            raise BadFile("META", "the metadata is not JSON", source=self._source) from e
        if not isinstance(meta, dict):
            raise BadFile("META", "the metadata is not a JSON object", source=self._source)
        return meta

    def __repr__(self) -> str:
        def text(ports: list[Port]) -> str:
            return ", ".join(f"{p.name}{list(p.shape)}" for p in ports)

        return f"<Model {text(self.inputs)} -> {text(self.outputs)}, {self.isa}>"

    def run(self, *inputs: Any) -> F32 | tuple[F32, ...]:
        """Run the program on arrays in port order, or on one dict by port name.

        Returns one array, or a tuple when the program has several outputs. C-contiguous float32 of
        the port's shape is read in place. A leading axis of N where every port has 1 runs N times.
        Raises ValueError naming the shape expected and the shape given.
        """
        arrays = self._arrays(inputs)
        batch = self._batch(arrays)
        with self._lock:
            results = self._run_once(arrays) if batch is None else self._run_batch(arrays, batch)
        return results[0] if len(results) == 1 else tuple(results)

    def profile(self, *inputs: Any, repeats: int = 20) -> list[OpTime]:
        """Median time of each operation over ``repeats`` runs of one sample."""
        arrays = self._arrays(inputs)
        if self._batch(arrays) is not None or repeats < 1:
            raise ValueError("profile takes one sample and repeats >= 1")
        runs = [self.time_ops(*arrays) for _ in range(repeats)]
        nodes = self.meta.get("nodes", [])
        return [
            OpTime(
                op=i,
                kind=_OP_KINDS[self._m.ops[i].kind],
                node=str(nodes[i]) if isinstance(nodes, list) and i < len(nodes) else "",
                seconds=statistics.median(float(run[i]) for run in runs),
            )
            for i in range(self.op_count)
        ]

    def time_ops(self, *inputs: Any) -> NDArray[np.float64]:
        """Seconds of each operation in one run of one sample, all its steps in a band together."""
        arrays = self._arrays(inputs)
        if self._batch(arrays) is not None:
            raise ValueError("time_ops takes one sample")
        outputs = [np.empty(p.shape, p.dtype) for p in self.outputs]
        ins, outs, _kept = _buffers(arrays, outputs)
        spent = np.zeros(self.op_count, np.uint64)
        with self._lock:
            self._ran = True
            pointer = ffi.from_buffer("uint64_t *", spent)
            lib.fil_probe_run(self._m, self._arena_pointer, ins, outs, pointer)
        return spent.astype(np.float64) * 1e-9

    def trace(self, *inputs: Any, after: Callable[[int], None]) -> tuple[F32, ...]:
        """Run one sample and call ``after(op index)`` when each operation is done (in a band: some
        more of its rows); every output.

        ``after`` may look at ``tensor``. What it raises stops further calls and is raised here.
        """
        arrays = self._arrays(inputs)
        if self._batch(arrays) is not None:
            raise ValueError("trace takes one sample")
        raised: list[BaseException] = []

        def call(op: int) -> None:
            if raised:
                return
            try:
                after(op)
            except BaseException as error:  # C cannot pass it on
                raised.append(error)

        with self._lock:
            outputs = [np.empty(p.shape, p.dtype) for p in self.outputs]
            self._call(arrays, outputs, call)
        if raised:
            raise raised[0]
        return tuple(outputs)

    def tensor(self, index: int) -> F32:
        """An arena or constant tensor as the float32 that it stands for, padding removed, in
        storage order.

        Arena tensors hold what the last run left there: memory is reused, so only those whose last
        reader was late survive. Raises IndexError, or ValueError for a port or before any run.
        """
        if not 0 <= index < self.tensor_count:
            raise IndexError(f"tensor {index} of {self.tensor_count}")
        t = self._m.tensors[index]
        if t.place == lib.FIL_PLACE_ARENA and not self._ran:
            raise ValueError("the arena is empty before the first run")
        with self._lock:
            data = lib.fil_tensor_data(self._m, self._arena_pointer, index)
            if data == ffi.NULL:
                raise ValueError(f"tensor {index} is an input or output: the caller has it")
            flat = np.frombuffer(ffi.buffer(data, t.bytes), _NAMES[t.dtype]).astype(np.float32)
        if t.dtype == lib.FIL_S8:
            flat = (flat - np.float32(t.zero)) * np.float32(t.scale)
        shape = tuple(t.dim[0 : t.rank])
        positions = math.prod(shape[t.split :])
        return flat.reshape(-1, t.pitch)[:, :positions].reshape(shape)

    def _arrays(self, inputs: tuple[Any, ...]) -> list[F32]:
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            names = [p.name for p in self.inputs]
            if set(inputs[0]) != set(names):
                raise ValueError(f"expected inputs {names}, got {sorted(map(str, inputs[0]))}")
            inputs = tuple(inputs[0][name] for name in names)
        if len(inputs) != len(self.inputs):
            raise ValueError(f"expected {len(self.inputs)} inputs, got {len(inputs)}")
        return [_as_held(x, p) for x, p in zip(inputs, self.inputs, strict=True)]

    def _batch(self, arrays: list[F32]) -> int | None:
        """None: every array has its port's shape. Else the common batch size."""
        wrong = [(x, p) for x, p in zip(arrays, self.inputs, strict=True) if x.shape != p.shape]
        if not wrong:
            return None
        x, p = wrong[0]
        batch = x.shape[0] if x.ndim else 0
        loops = [(batch, *q.shape[1:]) == y.shape for y, q in zip(arrays, self.inputs, strict=True)]
        ones = all(q.shape[:1] == (1,) for q in (*self.inputs, *self.outputs))
        if not (all(loops) and ones and batch > 0):
            raise ValueError(
                f'input "{p.name}": expected shape {list(p.shape)}, got {list(x.shape)}'
            )
        return batch

    def _run_once(self, arrays: list[F32]) -> list[F32]:
        outputs = [np.empty(p.shape, p.dtype) for p in self.outputs]
        self._call(arrays, outputs)
        return outputs

    def _run_batch(self, arrays: list[F32], batch: int) -> list[F32]:
        outputs = [np.empty((batch, *p.shape[1:]), p.dtype) for p in self.outputs]
        for i in range(batch):
            self._call([x[i : i + 1] for x in arrays], [y[i : i + 1] for y in outputs])
        return outputs

    def _call(
        self,
        arrays: list[F32],
        outputs: list[F32],
        trace: Callable[[int], None] | None = None,
    ) -> None:
        self._ran = True
        ins, outs, _kept = _buffers(arrays, outputs)
        handle = ffi.NULL if trace is None else ffi.new_handle(trace)
        callback = ffi.NULL if trace is None else lib.fil_py_trace
        team = self._team.parallel
        lib.fil_run_parallel(self._m, self._arena_pointer, ins, outs, team, callback, handle)


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi ships no types
def fil_py_trace(user: Any, op: int) -> None:
    """Called by C after every op of a traced run."""
    ffi.from_handle(user)(op)


def _open(m: Any, data: NDArray[np.uint8], *, isa: str | None, source: str) -> None:
    forced = -1 if isa is None else _isa_index(isa)
    with _open_lock:
        lib.fil_isa_force(forced)
        status = lib.fil_open(m, ffi.from_buffer(data), data.nbytes)
        lib.fil_isa_force(-1)
    if status == lib.FIL_E_UNSUPPORTED and m.bad_item < 0:
        needs = f"needs {lib.fil_isa_lanes(forced)}"
        if lib.fil_isa_activations(forced) == lib.FIL_F16:
            needs += " and activations of float16"
        raise ValueError(f"{source} is packed for {m.lanes} lanes, {isa} {needs}")
    if status != lib.FIL_OK:
        raise BadFile(_text(lib.fil_status_name(status)), _sentence(status), m.bad_item, source)


def _isa_index(name: str) -> int:
    index = int(lib.fil_isa_find(name.lower().encode()))
    if index < 0 or not lib.fil_isa_present(index):
        problem = "is not an instruction set" if index < 0 else "is not present here"
        raise ValueError(f'{ISA_VARIABLE} "{name}" {problem}; present: {", ".join(isas())}')
    return index


def _buffers(arrays: list[F32], outputs: list[F32]) -> tuple[Any, Any, list[Any]]:
    """Pointers to the arrays for C; the list keeps what they point into alive."""
    sources = [ffi.from_buffer(x) for x in arrays]
    targets = [ffi.from_buffer(y, require_writable=True) for y in outputs]
    pointers = ffi.new("const void *[]", sources), ffi.new("void *[]", targets)
    return *pointers, [*sources, *targets]


def _text(c_string: Any) -> str:
    return bytes(ffi.string(c_string)).decode()


def _sentence(status: int) -> str:
    return _text(lib.fil_status_sentence(status))


def _io_count(m: Any) -> int:
    return int(m.input_count + m.output_count)


def _port(m: Any, io: Any, *, source: str) -> Port:
    t = m.tensors[io.tensor]
    try:
        shape = tuple(io.dim[0 : io.rank])
        return Port(_text(io.name), shape, _NAMES[t.dtype], float(t.scale), int(t.zero))
    except UnicodeDecodeError as e:
        sentence = "a port's name is not UTF-8"
        raise BadFile("E_IO", sentence, source=source) from e


def aligned_empty(size: int) -> NDArray[np.uint8]:
    """Zeroed bytes aligned to FIL_ALIGN."""
    raw = np.zeros(size + lib.FIL_ALIGN, np.uint8)
    start = -raw.ctypes.data % lib.FIL_ALIGN
    return raw[start : start + size]


def _aligned_view(data: bytes | bytearray | memoryview | mmap.mmap) -> NDArray[np.uint8]:
    view = np.frombuffer(data, np.uint8)
    if view.ctypes.data % lib.FIL_ALIGN == 0:
        return view
    copy = aligned_empty(view.nbytes)
    copy[:] = view
    return copy


def _as_held(x: Any, port: Port) -> NDArray[Any]:
    """``x`` as the port's buffer: numbers become float32, but integers must be such already."""
    array = np.asarray(x)
    wanted = "fiub" if port.dtype == "float32" else "iub"
    if array.dtype.kind not in wanted:
        kind = "numbers" if port.dtype == "float32" else port.dtype
        raise ValueError(f'input "{port.name}": expected {kind}, got dtype {array.dtype}')
    if port.dtype != "float32" and array.size:
        info, low, high = np.iinfo(port.dtype), int(array.min()), int(array.max())
        if low < info.min or high > info.max:
            what = f"expected {port.dtype}, got numbers from {low} to {high}"
            raise ValueError(f'input "{port.name}": {what}')
    return np.require(array, port.dtype, ["C", "A"])
