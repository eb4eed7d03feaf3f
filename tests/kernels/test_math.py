"""The error bounds that simd/scalar_math.h states, on every 4,099th float32."""

from __future__ import annotations

import numpy as np
import pytest

from filigree.native import enums as c
from tests.kernels import library
from tests.kernels.harness import F32, F64, activated

BOUNDS = {"exp": 2, "sigmoid": 4, "tanh": 4, "sqrt": 1}
STEP = 4099


def every() -> F32:
    bits = np.arange(0, 2**32, STEP, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    return values[np.isfinite(values)]


def through(isa: str, act: str, x: F32) -> F32:
    """act(x) by the map kernel."""
    ffi, _ = library.load()
    out = np.empty_like(x)
    g = ffi.new("fil_map *", {"dim": (1, 1, 1, x.size), "sa": (0, 0, 0, 1), "so": (0, 0, 0, 1)})
    args = ffi.new("fil_map_args *", {"g": g, "e": {"act": getattr(c, f"FIL_ACT_{act.upper()}")}})
    args.a, args.out = ffi.from_buffer("float *", x), ffi.from_buffer("float *", out)
    library.kernel("map", isa)(args)
    return out


def ulps(got: F32, want: F64) -> F64:
    """Distance in units of the last place of float32 at ``want``, denormals included."""
    unit = np.spacing(np.maximum(np.abs(want), 2.0**-126).astype(np.float32)).astype(np.float64)
    return np.abs(got.astype(np.float64) - want) / unit


@pytest.mark.parametrize("act", BOUNDS)
def test_error_bound(isa: str, act: str) -> None:
    x = every()
    if act == "sqrt":
        x = np.abs(x)
    got, want = through(isa, act, x), activated(x.astype(np.float64), (act, 0.0, 0.0))
    with np.errstate(over="ignore"):
        finite = np.isfinite(want.astype(np.float32))
    if act == "sigmoid":
        finite &= want >= 2.0**-126
    assert np.isinf(got[~np.isfinite(want.astype(np.float32, casting="unsafe"))]).all()
    error = ulps(got[finite], want[finite])
    worst = int(np.argmax(error))
    assert error[worst] <= BOUNDS[act], f"{act}({x[finite][worst]!r}): {error[worst]:.2f} ulp"


def test_the_ends(isa: str) -> None:
    x = np.array([np.inf, -np.inf, 88.8, -104.5, -0.0, 0.0, 1e30, -1e30], np.float32)
    assert through(isa, "exp", x).tolist() == [np.inf, 0, np.inf, 0, 1, 1, np.inf, 0]
    assert through(isa, "tanh", x[[0, 1, 4, 6, 7]]).tolist() == [1, -1, 0, 1, -1]
    assert through(isa, "sigmoid", x[[0, 1, 4, 6, 7]]).tolist() == [1, 0, 0.5, 1, 0]
