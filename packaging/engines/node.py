"""Run WebAssembly in node, that is in V8."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

from filigree.packaging import sources
from filigree.packaging.engines import Job, Result, files
from filigree.packaging.errors import ToolMissing

OLDEST = 16  # the first with SIMD
FETCH = 18  # the first with fetch
RELAXED = 21  # the first where relaxed SIMD needs no flag


def missing(*, oldest: int = OLDEST) -> str | None:
    path = shutil.which("node")
    if path is None:
        return "node is not installed (apt-get install nodejs)"
    if _major(path) < oldest:
        return f"node {_major(path)} is too old, {oldest} is needed (apt-get install nodejs)"
    return None


def run(job: Job) -> Result:
    """Raises ToolMissing and what files.run raises."""
    why = missing()
    if why:
        raise ToolMissing(why)
    script = sources.native() / "runner" / "run_wasm.mjs"
    start = command(relaxed=job.target.has("wasm_relaxed"))
    return files.run(job, [*start, str(script), str(job.runner)])


def command(*, relaxed: bool) -> list[str]:
    """The start of a command line, with relaxed SIMD switched on where it needs that."""
    path = shutil.which("node") or "node"
    hidden = relaxed and _major(path) < RELAXED
    return [path, *(["--experimental-wasm-relaxed-simd"] if hidden else [])]


@cache
def _major(path: str) -> int:
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)", done.stdout)
    return int(found[1]) if found else 0
