"""Help is complete and quick."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from filigree.cli.main import COMMANDS


def filigree(*args: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, not a terminal."""
    code = "from filigree.cli.main import main; main()"
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, timeout=60
    )


def test_help_lists_every_command_and_exit_code() -> None:
    done = filigree("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "Make a pruned model smaller and faster" in done.stdout
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE), name
    for code in range(8):
        assert re.search(rf"^ +{code}  \S", done.stdout, re.MULTILINE), code


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    done = filigree(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: filigree {name}")
    assert "--debug" in done.stdout


def test_no_arguments_shows_help_and_is_a_usage_error() -> None:
    done = filigree()
    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


def test_version() -> None:
    done = filigree("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"filigree \d+\.\d+\.\d+\S*\n", done.stdout)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from filigree.cli.main import run; run(['--help']); "
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'rich', 'onnxruntime', 'PIL', 'cffi'}; "
        "sys.stderr.write(' '.join(sorted(heavy & sys.modules.keys())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
