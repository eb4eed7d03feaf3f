"""Every test that takes ``isa`` runs once per instruction set of this processor family."""

from __future__ import annotations

import pytest

from tests.kernels import library


@pytest.fixture(params=["scalar", *library.host_isas()])
def isa(request: pytest.FixtureRequest) -> str:
    return need_isa(str(request.param))


def need_isa(name: str) -> str:
    """Skip where its kernels cannot run."""
    if library.compiler() is None:
        pytest.skip("no C compiler (apt-get install gcc)")
    if not library.present(name):
        pytest.skip(f"this processor has no {name}")
    return name
