"""Other runtimes to time against, each on the CPU with as many threads as we have.

A peer takes the inputs of the packed model; images are transposed where its model is NHWC and ours
is not. A runtime that is not installed is a ToolMissing error that names the package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from filigree.cli.tasks import litert
from filigree.cli.tasks.packed import F32, OnnxModel
from filigree.converter.errors import BadFile, ToolMissing


@dataclass(frozen=True)
class Peer:
    """Another runtime, by its name in PEERS, and the model it runs."""

    name: str
    model: Path


@dataclass(frozen=True)
class Opened:
    """A peer ready to run: ``call`` does one inference, ``outputs`` what it computed."""

    call: Callable[[], object]
    outputs: list[F32]


def open_peer(peer: Peer, inputs: Sequence[F32], *, threads: int = 1) -> Opened:
    """Load a peer's model and run it once. Raises ToolMissing, BadFile or UsageError."""
    return PEERS[peer.name](peer.model, list(inputs), threads)


def _onnxruntime(model: Path, inputs: list[F32], threads: int) -> Opened:
    session = OnnxModel(model, threads=threads)
    feed = session.feed(inputs)
    return Opened(lambda: session.session.run(None, feed), session.run(inputs))


def _openvino(model: Path, inputs: list[F32], threads: int) -> Opened:
    os.environ.setdefault("OPENVINO_TELEMETRY", "0")
    try:
        import openvino as ov
    except ImportError as error:
        raise _missing("openvino") from error
    core = ov.Core()
    try:
        read = core.read_model(model)
        ports = zip(read.inputs, inputs, strict=True)
        read.reshape({port.any_name: list(x.shape) for port, x in ports})
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bf16 where the processor has it
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        request = core.compile_model(read, "CPU", options).create_infer_request()
    except Exception as error:  # openvino raises RuntimeError and its own kinds
        raise BadFile(f"OpenVINO cannot load {model.name}", [_first_line(error)]) from error
    feed = dict(enumerate(inputs))
    results = request.infer(feed)
    outputs = [np.asarray(results[port], np.float32) for port in request.model_outputs]
    return Opened(lambda: request.infer(feed), outputs)


def _litert(model: Path, inputs: list[F32], threads: int) -> Opened:
    interpreter = litert.interpreter(model.read_bytes(), model.name, threads=threads)
    outputs = litert.run(interpreter, inputs, model.name)
    return Opened(interpreter.invoke, outputs)


def _missing(package: str) -> ToolMissing:
    return ToolMissing(f"{package} is not installed", hint=f"pip install {package}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


PEERS: dict[str, Callable[[Path, list[F32], int], Opened]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
}
