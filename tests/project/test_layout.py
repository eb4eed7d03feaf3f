"""Rules about the project itself: layers, lists, texts."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ALLOWED = {
    "converter": {"converter", "native"},
    "native": {"native"},
    "packaging": {"packaging"},
    "cli": {"cli", "converter", "native", "packaging"},
}


def imports(path: Path) -> set[str]:
    """The parts of filigree that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        found |= {n.split(".")[1] for n in names if n.startswith("filigree.")}
    return found


@pytest.mark.parametrize("part", ALLOWED)
def test_layers(part: str) -> None:
    # packaging reads packed files through the converter's reader, nothing else of it
    extra = {"converter"} if part == "packaging" else set()
    for path in (ROOT / part).rglob("*.py"):
        if path == ROOT / "native" / "python" / "__init__.py":
            continue
        assert imports(path) <= ALLOWED[part] | extra, path


def test_packaging_does_not_shadow_pypi() -> None:
    assert not (ROOT / "packaging" / "__init__.py").exists()


def test_tracked_files_speak_of_the_project_alone() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    absolute = re.compile(r"/(?:root|home/\w+|work/main)/")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in {".onnx", ".npz", ".png", ".fil"} or not path.is_file():
            continue
        assert not absolute.search(path.read_text(errors="replace")), name
