"""Fixtures of the native tests: the sanitized C build and a sample packed model on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import need
from tests.native import build, tiny


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """A folder with the C tests, built with AddressSanitizer and UndefinedBehaviorSanitizer."""
    need(
        "cmake", build.find_tool("cmake") is not None, "cmake is not installed (pip install cmake)"
    )
    return build.cmake("native-asan", "-DFIL_SANITIZE=ON", "-DFIL_BUILD_TESTS=ON")


@pytest.fixture(scope="session")
def sample_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "sample.fil"
    path.write_bytes(tiny.sample().encode())
    return path
