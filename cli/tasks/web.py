"""Time a packed model in WebAssembly, in node or headless Chromium, against what npm has."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks.bench import Bench
from filigree.cli.tasks.compare import relative
from filigree.cli.tasks.packed import F32, as_floats, many, open_packed, random_inputs
from filigree.cli.tasks.peers import Peer
from filigree.cli.tasks.timing import pinned, summary
from filigree.converter.errors import BadFile, UsageError
from filigree.native.model import Port
from filigree.packaging import turns

# The kind of candidate in packaging/turns.py, and the suffix of the models that it runs.
PEERS = {
    "onnxruntime-web": ("onnxruntime", ".onnx"),
    "litert-js": ("litert", ".tflite"),
    "litert-js-sparse": ("litert", ".tflite"),  # the same, named for a model with sparse tensors
    "tfjs-wasm": ("tfjs", ".json"),
}
ENGINES = {"wasm": "node", "node": "node", "chromium": "chromium"}  # what users say


@dataclass(frozen=True)
class Packed:
    """Our own candidate: the bytes of a packed model and the instruction set to run it with."""

    name: str
    data: bytes
    isa: str


def candidates(model: bytes, twin: bytes | None, *, isa: str | None) -> list[Packed]:
    """The model with every instruction set that WebAssembly has for it, or with ``isa``, and the
    dense twin with the first of them. Raises UsageError."""
    if isa and isa not in (*turns.ISAS, "scalar"):
        raise UsageError(f"--isa {isa}: WebAssembly has {', '.join(turns.ISAS)}, scalar")
    isas = (isa,) if isa else turns.ISAS
    ours = [Packed("filigree", model, isas[0])]
    if twin is not None:
        ours.append(Packed("filigree dense", twin, isas[0]))
    return [*ours, *(Packed(f"filigree {other}", model, other) for other in isas[1:])]


def measure(
    model: Path,
    twin: bytes | None,
    *,
    on: str,
    peers: Sequence[Peer],
    seconds: float,
    isa: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Bench:
    """Time everything in turns in one process of the engine ``on``, a key of ENGINES, on the inputs
    that ``filigree bench`` uses on the host; differences are from the host's outputs.

    Raises UsageError, BadFile, and what packaging/turns.py raises.
    """
    host = open_packed(model)
    inputs = random_inputs(host.inputs, seed=1)
    expected = _floats(many(host.run(*inputs)), host.outputs)
    ours = candidates(model.read_bytes(), twin, isa=isa)
    entries = [
        turns.Candidate(one.name, turns.OURS, {"model.fil": one.data}, one.isa) for one in ours
    ]
    entries += [
        turns.Candidate(name, PEERS[peer.name][0], _files(peer))
        for name, peer in zip(_labels(peers), peers, strict=True)
    ]
    scales = [(port.scale or 1.0, port.zero) for port in host.inputs]
    job = turns.Job(entries, inputs, seconds, scales=scales)
    engine = ENGINES[on]
    cores: tuple[int, ...] = ()
    if engine == "chromium":  # its processes spread over the cores
        found = turns.measure(engine, job, progress=progress)
    else:
        with pinned() as cores:
            found = turns.measure(engine, job, progress=progress)
    return Bench(
        timings=[summary(name, samples) for name, samples in found.samples.items()],
        sizes={one.name: sum(map(len, one.files.values())) for one in entries},
        differences={
            name: relative(_floats(outputs, host.outputs), expected)
            for name, outputs in found.outputs.items()
        },
        cores=cores,
        isa=f"{ours[0].isa} in {found.engine}{'' if found.relaxed else ', relaxed SIMD off'}",
    )


def _floats(outputs: Sequence[NDArray[Any]], ports: Sequence[Port]) -> list[F32]:
    """What outputs stand for, flat; those of a peer may be floats where ours are integers."""
    return [
        np.ravel(y if y.dtype == np.float32 else as_floats(y, port))
        for y, port in zip(outputs, ports, strict=True)
    ]


def _labels(peers: Sequence[Peer]) -> list[str]:
    """A name for each, with the model's where a peer is there more than once."""
    names = [peer.name for peer in peers]
    return [
        f"{peer.name} {peer.model.stem}" if names.count(peer.name) > 1 else peer.name
        for peer in peers
    ]


def _files(peer: Peer) -> dict[str, bytes]:
    """The model, and the weight files that a TensorFlow.js model names."""
    data = peer.model.read_bytes()
    files = {peer.model.name: data}
    if PEERS[peer.name][0] != "tfjs":
        return files
    try:
        groups = json.loads(data)["weightsManifest"]
        paths = [str(path) for group in groups for path in group["paths"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{peer.model.name} is not a TensorFlow.js graph model") from error
    for path in paths:
        if Path(path).name != path:
            raise BadFile(f"{peer.model.name} keeps weights outside its folder", [path])
        files[path] = (peer.model.parent / path).read_bytes()
    return files
