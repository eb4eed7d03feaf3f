"""Run WebAssembly in this process with the wasmtime package."""

from __future__ import annotations

import atexit
import importlib.util
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from filigree.packaging.engines import AUTO, ELEMENTS, F32, Job, Result, files
from filigree.packaging.errors import TargetFailed, ToolMissing

WHY = "the Python package wasmtime is not installed"
TANK = 1 << 60  # fuel that no run uses up
PIP = 'pip install "filigree[emulate]"'


def missing() -> str | None:
    return None if importlib.util.find_spec("wasmtime") else f"{WHY} ({PIP})"


def run(job: Job) -> Result:
    """Raises ToolMissing, BadFile, ValueError for inputs that do not fit, UnknownTarget,
    TargetFailed."""
    if missing():
        raise ToolMissing(WHY, hint=PIP)
    import wasmtime

    try:
        instance = _Instance(job)
        ms = [instance.time() for _ in range(job.repeats)]
        return Result(instance.outputs(), instance.text("isa"), ms)
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        raise TargetFailed("the run in wasmtime failed", str(error).splitlines()[-20:]) from error


def fuel(job: Job) -> int:
    """WebAssembly instructions of one of the job's runs, as wasmtime meters them: they repeat
    exactly. Raises what run raises."""
    if missing():
        raise ToolMissing(WHY, hint=PIP)
    return _Instance(job, metered=True).fuel()


@cache
def _module(path: Path, modified: float, metered: bool) -> tuple[Any, Any]:
    """The engine and the compiled module; compiling takes longer than most runs."""
    import wasmtime

    config = wasmtime.Config()
    config.wasm_simd = True
    config.wasm_relaxed_simd = True
    config.consume_fuel = metered
    engine = wasmtime.Engine(config)
    return engine, wasmtime.Module.from_file(engine, str(path))


atexit.register(_module.cache_clear)  # wasmtime's objects complain if they outlive its library


class _Instance:
    """One instance of native/runner/wasm.c with the job's model open and its inputs loaded."""

    def __init__(self, job: Job, *, metered: bool = False) -> None:
        import wasmtime

        engine, module = _module(job.runner, job.runner.stat().st_mtime, metered)
        self._store = wasmtime.Store(engine)
        if metered:
            self._store.set_fuel(TANK)
        exports: Any = wasmtime.Instance(self._store, module, []).exports(self._store)
        self._exports, self._memory = exports, exports["memory"]
        if job.isa != AUTO and self.call("force", self._put(job.isa.encode() + b"\0")):
            why = f"{job.isa} is not in this build, or failed its self-test"
            raise files.failure(job, files.EXIT_USAGE, why)
        status = self.call("open", self._put(job.fil), len(job.fil))
        if status:
            name, sentence = (self.text(f, status) for f in ("status", "sentence"))
            why = f"{name}: {sentence} (item {self.call('bad_item')})"
            raise files.failure(job, files.EXIT_REFUSED, why)
        self._load(job)

    def call(self, name: str, *given: int) -> int:
        """An exported function, by its name without the prefix."""
        return int(self._exports[f"fil_w_{name}"](self._store, *given) or 0)

    def pointer(self, name: str, *given: int) -> int:
        """The same for one that returns an address, which wasmtime hands out as signed."""
        return self.call(name, *given) & 0xFFFFFFFF

    def text(self, name: str, *given: int) -> str:
        """The same for one that returns a zero-terminated string."""
        start = self.pointer(name, *given)
        data = bytes(self._memory.read(self._store, start, start + 256))
        return data.partition(b"\0")[0].decode()

    def time(self) -> float:
        """Run once; milliseconds."""
        start = time.perf_counter_ns()
        self.call("run")
        return (time.perf_counter_ns() - start) * 1e-6

    def fuel(self) -> int:
        """Run once; what that used up."""
        before = int(self._store.get_fuel())
        self.call("run")
        return before - int(self._store.get_fuel())

    def outputs(self) -> list[F32]:
        first = self.call("inputs")
        return [self._read(first + i) for i in range(self.call("outputs"))]

    def _read(self, port: int) -> F32:
        shape = [self.call("dim", port, axis) for axis in range(self.call("rank", port))]
        start = self.pointer("port", port)
        data = self._memory.read(self._store, start, start + self.call("bytes", port))
        return np.frombuffer(bytes(data), ELEMENTS[self.call("dtype", port)]).reshape(shape)

    def _put(self, data: bytes) -> int:
        pointer = self.pointer("alloc", len(data))
        if not pointer:
            raise TargetFailed(f"WebAssembly memory is too small for {len(data)} bytes more")
        self._memory.write(self._store, data, pointer)
        return pointer

    def _load(self, job: Job) -> None:
        wanted = self.call("inputs")
        if len(job.inputs) != wanted:
            why = f"{len(job.inputs)} inputs, the model takes {wanted}"
            raise files.failure(job, files.EXIT_INPUT, why)
        for i, array in enumerate(job.inputs):
            size = self.call("bytes", i)
            if array.nbytes != size:
                why = f"input {i} has {array.nbytes} bytes, the model takes {size}"
                raise files.failure(job, files.EXIT_INPUT, why)
            self._memory.write(self._store, array.tobytes(), self.pointer("port", i))
