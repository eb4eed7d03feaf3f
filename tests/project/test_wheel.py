"""The wheel: builds, carries the C sources, and imports with numpy and cffi alone."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

USE = """
import sys, numpy, filigree
model = filigree.load(sys.argv[1])
print(model.run(numpy.zeros(model.inputs[0].shape, numpy.float32)).shape)
assert not {"onnx", "onnx_ir", "onnxruntime", "scipy", "click"} & set(sys.modules)
"""


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, ROOT)
    done = subprocess.run([str(c) for c in pip], capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index to build a wheel with")
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_wheel_is_abi3_and_carries_the_sources(wheel: Path) -> None:
    assert "abi3" in wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "filigree/native/include/filigree/format.h",
        "filigree/native/kernels/spmm/ref.c",
        "filigree/native/CMakeLists.txt",
        "filigree/cli/main.py",
        "filigree/converter/data/digits_sparse80.onnx",
    } <= names


def test_wheel_runs_with_numpy_and_cffi_alone(wheel: Path, tmp_path: Path, digits: Path) -> None:
    from filigree.converter import ConvertOptions, convert

    packed = tmp_path / "digits.fil"
    packed.write_bytes(convert(digits / "digits_sparse80.onnx", options=ConvertOptions()).data)
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "numpy", "cffi")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    assert run(python, "-I", "-c", USE, packed).startswith("(1, 10)")
