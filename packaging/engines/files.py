"""The file protocol that native/runner/main.c and run_wasm.mjs share:
RUNNER MODEL OUT-PREFIX ISA REPEATS THREADS IN..., raw files, a line of JSON, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from filigree.packaging.engines import ELEMENTS, Job, Result
from filigree.packaging.errors import BadFile, TargetFailed
from filigree.packaging.targets import UnknownTarget

TIMEOUT = 900  # seconds; a run ends by itself, so this only bounds an emulator that hangs
EXIT_USAGE, EXIT_INPUT, EXIT_REFUSED = 2, 3, 7


def run(job: Job, command: list[str], *, words: Callable[[list[str]], list[str]] = list) -> Result:
    """Run ``command`` (emulator and runner) in a temporary folder with the job's files; ``words``
    is how the runner's own words are given to it. Raises BadFile, ValueError for inputs that do not
    fit, UnknownTarget, TargetFailed."""
    with tempfile.TemporaryDirectory(prefix="filigree-") as made:
        folder = Path(made)
        (folder / "model.fil").write_bytes(job.fil)
        inputs = [f"in{i}" for i in range(len(job.inputs))]
        for name, array in zip(inputs, job.inputs, strict=True):
            (folder / name).write_bytes(array.tobytes())
        how = ["model.fil", "out", job.isa, str(job.repeats), str(job.threads), *inputs]
        said = json.loads(_call(job, [*command, *words(how)], folder))
        kinds = [ELEMENTS[number] for number in said["dtypes"]]
        raw = [np.fromfile(folder / f"out{i}", kind) for i, kind in enumerate(kinds)]
    outputs = [x.reshape(shape) for x, shape in zip(raw, said["outputs"], strict=True)]
    ops, memory = tuple(said.get("ops", ())), said.get("memory", {})
    return Result(outputs, said["isa"], said.get("ms", []), ops, memory)


def _call(job: Job, command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TargetFailed(f"the run on {job.target.name} did not end in {TIMEOUT} s") from error
    if done.returncode:
        own = f"{Path(command[0]).name}: warning:"  # of the emulator, about its board
        said = [line for line in done.stderr.splitlines() if not line.startswith(own)]
        raise failure(job, done.returncode, "\n".join(said).strip())
    return done.stdout


def failure(job: Job, code: int, why: str) -> Exception:
    """The exception for a runner's exit code and what it said."""
    if code == EXIT_REFUSED:
        return BadFile(f"the runtime on {job.target.name} refuses the packed model", [why])
    if code == EXIT_INPUT:
        return ValueError(why)
    if code == EXIT_USAGE:
        return UnknownTarget(f"{job.target.name} cannot run this way", [why])
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return TargetFailed(f"the run on {job.target.name} failed ({how})", why.splitlines()[-20:])
