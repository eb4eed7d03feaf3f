"""The C tests, run under the sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.native import tiny


def run(program: Path, *arguments: str) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


def test_runtime(sanitized: Path) -> None:
    run(sanitized / "test_runtime")


@pytest.mark.parametrize(
    ("lanes", "stored"), [(16, {}), (4, {}), (1, {}), (16, {"half": True}), (16, {"four": True})]
)
def test_damage(sanitized: Path, tmp_path: Path, lanes: int, stored: dict[str, bool]) -> None:
    """Every truncation and flip: refused, or with repaired checksums safe to run."""
    path = tmp_path / "sample.fil"
    path.write_bytes(tiny.sample(lanes=lanes, **stored).encode())
    run(sanitized / "test_damage", str(path))
