"""Build the C tests and the fuzz target with CMake, in the project's build folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def find_tool(*names: str) -> str | None:
    """The first of ``names`` beside this Python or on the PATH."""
    beside = str(Path(sys.executable).parent)
    return next((p for n in names if (p := shutil.which(n, path=beside) or shutil.which(n))), None)


def cmake(kind: str, *options: str) -> Path:
    """Configure and build native/ in build/<kind>; the folder. Incremental when it exists."""
    tool = find_tool("cmake")
    if tool is None:
        raise FileNotFoundError("cmake is not installed (pip install cmake)")
    folder = ROOT / "build" / kind
    native = str(ROOT / "native")
    _run(tool, "-S", native, "-B", str(folder), "-DCMAKE_BUILD_TYPE=RelWithDebInfo", *options)
    _run(tool, "--build", str(folder), "--parallel", "2")
    return folder


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
