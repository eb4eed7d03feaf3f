"""The README's marked examples run, in order, in one empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = re.compile(r"<!-- run -->\n```(sh|python)\n(.*?)```", re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """(language, text) of every marked block."""
    return EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def test_examples_run(tmp_path: Path) -> None:
    (tmp_path / "converter").symlink_to(ROOT / "converter")
    scripts = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    found = examples()
    assert len(found) >= 6
    for language, text in found:
        command = ["sh", "-e", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


def test_every_command_is_in_the_table() -> None:
    from filigree.cli.main import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"| `filigree {name}" in text
