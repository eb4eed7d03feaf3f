"""The library needs nothing but mem*: no libc, no libm, no heap."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import need
from tests.native import build

ALLOWED = {"memcpy", "memmove", "memset", "memcmp", "_GLOBAL_OFFSET_TABLE_"}


@pytest.fixture(scope="module")
def archive() -> Path:
    for tool in ("cmake", "nm"):
        need(tool, build.find_tool(tool) is not None, f"{tool} is not installed")
    return build.cmake("native-release", "-DCMAKE_BUILD_TYPE=Release") / "libfiligree.a"


def symbols(archive: Path, *flags: str) -> set[str]:
    nm = build.find_tool("nm") or "nm"
    out = subprocess.run([nm, *flags, archive], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in out.splitlines() if line.strip() and line[-1] != ":"}


def test_only_mem_functions_are_undefined(archive: Path) -> None:
    needed = symbols(archive, "--undefined-only") - symbols(archive, "--defined-only")
    assert needed <= ALLOWED


def test_every_public_name_has_the_prefix(archive: Path) -> None:
    public = symbols(archive, "--defined-only", "--extern-only")
    assert {name for name in public if not name.startswith("fil_")} == set()


def test_no_zeroed_state_but_what_the_processor_has_shown(archive: Path) -> None:
    nm = build.find_tool("nm") or "nm"
    out = subprocess.run([nm, archive], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in out.splitlines() if line.count(" ") >= 2]
    assert {name for *_, kind, name in rows if kind in "bBcC"} <= {"tested", "vnni"}
