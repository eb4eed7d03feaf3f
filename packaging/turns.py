"""Time models in one JavaScript process, in node or in headless Chromium, taking turns.

The files of a job are copied to a temporary folder; web/bench.mjs runs them there and posts the
samples to a desk (desk.py).
"""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.packaging import build, npm, sources, targets
from filigree.packaging.desk import Desk
from filigree.packaging.engines import chromium, elements, files, node
from filigree.packaging.errors import BadFile, TargetFailed, ToolMissing

OURS = "filigree"
KINDS: dict[str, tuple[str, ...]] = {  # of a candidate, with the npm packages it needs
    OURS: (),
    "onnxruntime": ("onnxruntime-web",),
    "litert": ("@litertjs/core",),
    "tfjs": (
        "@tensorflow/tfjs-core",
        "@tensorflow/tfjs-converter",
        "@tensorflow/tfjs-backend-wasm",
    ),
}
ENGINES = ("node", "chromium")
ISAS = ("wasm_relaxed", "wasm")  # best first
TIMEOUT = 300  # seconds without a word from the engine
POLL = 0.2


@dataclass(frozen=True)
class Candidate:
    """A model for one of KINDS: ``files`` are copied beside each other, the model first. ``isa`` is
    for our own."""

    name: str
    kind: str
    files: Mapping[str, bytes]
    isa: str = ""


@dataclass(frozen=True)
class Job:
    """What to time, on the same inputs: ``seconds`` each, ``least`` samples at least. ``scales``:
    of inputs of integers, which q of (scale, zero) stand for (q - zero) * scale."""

    candidates: Sequence[Candidate]
    inputs: Sequence[NDArray[Any]]
    seconds: float
    least: int = 15
    scales: Sequence[tuple[float, int]] = ()


@dataclass(frozen=True)
class Turns:
    """Seconds per inference of each sample, and outputs (flat), by candidate. ``engine`` is what
    ran them with its version, ``clock`` the smallest step of its clock in seconds, ``relaxed``
    whether it has relaxed SIMD (peers choose by that)."""

    engine: str
    clock: float
    relaxed: bool
    samples: Mapping[str, list[float]]
    outputs: Mapping[str, list[NDArray[Any]]]


def missing(engine: str) -> str | None:
    """None if ``engine`` of ENGINES can be used here, else why not and how to install it."""
    return chromium.missing() if engine == "chromium" else node.missing(oldest=node.FETCH)


def measure(
    engine: str, job: Job, *, progress: Callable[[str, float], None] | None = None
) -> Turns:
    """Run ``job`` in ``engine``. Raises ToolMissing, BuildFailed, BadFile, TargetFailed."""
    why = missing(engine)
    if why:
        raise ToolMissing(why)
    npm.need(*dict.fromkeys(name for one in job.candidates for name in KINDS[one.kind]))
    with tempfile.TemporaryDirectory(prefix="filigree-", ignore_cleanup_errors=True) as name:
        roots = {
            "job": Path(name) / "job",
            "web": npm.WEB,
            "runner": sources.native() / "runner",
            "npm": npm.folder(),
        }
        _stage(job, roots["job"])
        with Desk(roots) as desk:
            command = _command(engine, job, roots, desk, profile=Path(name) / "profile")
            found = _wait(command, desk, log=Path(name) / "log", progress=progress)
    if "error" in found:
        raise _failure(engine, job, found)
    return _turns(found)


def _stage(job: Job, folder: Path) -> None:
    """Write every file of the job, and job.json, which names them."""
    folder.mkdir()
    document: dict[str, Any] = {"seconds": job.seconds, "least": job.least}
    document["inputs"] = []
    for i, array in enumerate(elements(job.inputs)):
        (folder / f"input{i}").write_bytes(array.tobytes())
        scale, zero = job.scales[i] if job.scales else (1.0, 0)
        about = {"type": array.dtype.name, "scale": scale, "zero": zero}
        shape = list(job.inputs[i].shape)
        document["inputs"].append({"file": f"job/input{i}", "shape": shape, **about})
    document["candidates"] = [
        {**_placed(one, folder / str(i)), "file": f"job/{i}/{next(iter(one.files))}"}
        for i, one in enumerate(job.candidates)
    ]
    (folder / "job.json").write_text(json.dumps(document), encoding="utf-8")


def _placed(one: Candidate, folder: Path) -> dict[str, str]:
    folder.mkdir()
    for name, data in one.files.items():
        (folder / name).write_bytes(data)
    if one.kind != OURS:
        return {"name": one.name, "kind": one.kind}
    target = targets.with_isa(targets.target("wasm"), one.isa)
    shutil.copyfile(build.runner(target), folder / "runner.wasm")
    module = f"job/{folder.name}/runner.wasm"
    return {"name": one.name, "kind": one.kind, "isa": one.isa, "module": module}


def _command(
    engine: str, job: Job, roots: Mapping[str, Path], desk: Desk, *, profile: Path
) -> list[str]:
    if engine == "chromium":
        return chromium.command(f"{desk.url}/web/page.html", profile)
    relaxed = any(one.isa == "wasm_relaxed" for one in job.candidates)
    given = {"desk": desk.url, "roots": {name: str(path) for name, path in roots.items()}}
    return [*node.command(relaxed=relaxed), str(npm.WEB / "node.mjs"), json.dumps(given)]


def _wait(
    command: list[str],
    desk: Desk,
    *,
    log: Path,
    progress: Callable[[str, float], None] | None,
) -> dict[str, Any]:
    """Start the engine, wait for its result, and end it."""
    with log.open("wb") as out:
        engine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            return _result(engine, desk, log, progress)
        finally:
            _end(engine)


def _result(
    engine: subprocess.Popen[bytes],
    desk: Desk,
    log: Path,
    progress: Callable[[str, float], None] | None,
) -> dict[str, Any]:
    heard = time.monotonic()
    while True:
        ended = engine.poll() is not None  # before the queue: what it said last counts
        try:
            what, document = desk.posted.get(timeout=POLL)
        except queue.Empty:
            if ended or time.monotonic() - heard > TIMEOUT:
                why = f"ended with {engine.returncode}" if ended else f"silent for {TIMEOUT} s"
                raise TargetFailed(f"the JavaScript engine {why}", _tail(log)) from None
            continue
        heard = time.monotonic()
        if what == "result":
            found: dict[str, Any] = document
            return found
        if progress:
            progress("timing", float(document))


def _end(engine: subprocess.Popen[bytes]) -> None:
    """End the engine and the processes that it started."""
    if engine.poll() is None:
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()


def _tail(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]


def _failure(engine: str, job: Job, found: dict[str, Any]) -> Exception:
    who, why = found["candidate"], str(found["error"]).splitlines()[:20]
    if found["code"] == files.EXIT_REFUSED or (who and who not in _ours(job)):
        return BadFile(f"{who} in {engine} cannot run its model", why)
    return TargetFailed(f"{who or 'the run'} in {engine} failed", why)


def _ours(job: Job) -> set[str]:
    return {one.name for one in job.candidates if one.kind == OURS}


def _turns(found: dict[str, Any]) -> Turns:
    results = found["results"]
    return Turns(
        engine=found["engine"],
        clock=found["clock"] * 1e-3,
        relaxed=found["relaxed"],
        samples={one["name"]: [ms * 1e-3 for ms in one["ms"]] for one in results},
        outputs={
            one["name"]: [
                np.frombuffer(base64.b64decode(made["data"]), made["type"])
                for made in one["outputs"]
            ]
            for one in results
        },
    )
