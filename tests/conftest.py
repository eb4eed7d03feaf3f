"""Shared fixtures: where the real models and data are, and which tools this machine has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FILIGREE_DATA", ROOT.parent / "shared" / "data"))
DIGITS = ROOT / "converter" / "data"


def need(tool: str, present: bool, reason: str) -> None:
    """Skip where a tool is missing, unless FILIGREE_REQUIRE_<TOOL>=1 makes that a failure."""
    if present:
        return
    if os.environ.get(f"FILIGREE_REQUIRE_{tool.upper()}") == "1":
        pytest.fail(f"FILIGREE_REQUIRE_{tool.upper()}=1 but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real models and data sets, or a skip."""
    if not (DATA / "models").is_dir():
        pytest.skip(f"no real models at {DATA.name} (set FILIGREE_DATA)")
    return DATA


@pytest.fixture(scope="session")
def digits() -> Path:
    """The embedded default model and its test data."""
    return DIGITS


@pytest.fixture
def qemu() -> str:
    path = shutil.which("qemu-aarch64")
    need("qemu", path is not None, "qemu-aarch64 is not installed (apt install qemu-user)")
    return path or ""


@pytest.fixture
def node() -> str:
    path = shutil.which("node")
    need("node", path is not None, "node is not installed (apt install nodejs)")
    return path or ""
