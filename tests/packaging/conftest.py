"""Fixtures: small packed models, and a skip for every engine that this machine does not have."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from numpy.typing import NDArray

from filigree.packaging import emulate, targets
from tests.conftest import need
from tests.native import tiny

F32 = NDArray[np.float32]
ENGINES = (
    "arm64",
    "armv7",
    "riscv64",
    "wasm-node",
    "wasm-wasmtime",
    "wasm-relaxed-node",
    "wasm-relaxed-wasmtime",
    "wasm-threads-node",
    *(row.name for row in targets.MCUS),
)
SMALL = tuple(row.name for row in targets.MCUS)  # of memory
TOOLS = {
    **dict.fromkeys(("qemu-aarch64", "qemu-arm", "qemu-riscv64"), "qemu"),
    **{"node": "node", "wasmtime": "wasmtime", "board": "qemu_system_arm"},
}


def need_engine(name: str) -> None:
    """Skip, or fail under FILIGREE_REQUIRE_QEMU, _NODE, _WASMTIME, _QEMU_SYSTEM_ARM, where an
    engine is missing."""
    reason = emulate.available(name)
    need(TOOLS[targets.engine(name).program], reason is None, f"{name}: {reason}")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    need_engine(name)
    return name


@pytest.fixture
def gcc() -> str:
    path = shutil.which("gcc")
    need("gcc", path is not None, "gcc is not installed (apt-get install gcc)")
    return path or ""


@pytest.fixture(scope="session")
def sample() -> bytes:
    """Every kind of operation once: x (1,3,4,4) -> y (1,3)."""
    return tiny.sample().encode()


@pytest.fixture(scope="session")
def image() -> F32:
    return tiny.prime_paint(1, 3, 4, 4)
