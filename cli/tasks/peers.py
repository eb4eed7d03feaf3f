"""Other runtimes to time against, each on the CPU with as many threads as we have.

A peer takes the inputs of the packed model; images are transposed where its model is NHWC and ours
is not. A runtime that is not installed is a ToolMissing error that names the package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filigree.cli.tasks.packed import F32, OnnxModel
from filigree.converter.errors import BadFile, ToolMissing, UsageError


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
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise _missing("ai-edge-litert") from error
    try:
        interpreter = Interpreter(model_path=str(model), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BadFile(f"LiteRT cannot load {model.name}", [_first_line(error)]) from error
    for details, x in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(details["index"], _fitted(x, details, model))
    interpreter.invoke()
    outputs = [
        np.asarray(interpreter.get_tensor(d["index"]), np.float32)
        for d in interpreter.get_output_details()
    ]
    return Opened(interpreter.invoke, outputs)


def _fitted(x: F32, details: Mapping[str, Any], model: Path) -> F32:
    wanted = tuple(int(n) for n in details["shape"])
    if details["dtype"] != np.float32:
        raise UsageError(f"{model.name} takes {details['dtype'].__name__}, not float32")
    if x.shape == wanted:
        return x
    turned = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
    if turned.shape != wanted:
        raise UsageError(f"{model.name} takes {wanted}, the packed model {x.shape}")
    return np.ascontiguousarray(turned)


def _missing(package: str) -> ToolMissing:
    return ToolMissing(f"{package} is not installed", hint=f"pip install {package}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


PEERS: dict[str, Callable[[Path, list[F32], int], Opened]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
}
