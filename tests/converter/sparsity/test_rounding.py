"""float16 weights: rounding, what is refused, and what is reported."""

from __future__ import annotations

import numpy as np
import pytest

from filigree.converter.errors import UsageError
from filigree.converter.sparsity import pack
from filigree.converter.sparsity.rounding import rounded
from tests.converter import programs


def one(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_to_the_nearest_ties_to_even() -> None:
    step = 2.0**-10
    found = rounded(one(1 + 0.4 * step, 1 + 0.5 * step, 1 + 1.5 * step, -1 - 0.6 * step), "float16")
    assert found.matrix.tolist() == [[1, 1, 1 + 2 * step, -1 - step]]
    assert (found.matrix.dtype, found.dtype, found.note) == (np.float32, "float16", "")


def test_float32_is_left_alone() -> None:
    matrix = one(1e-30, 0.1)
    found = rounded(matrix, "float32")
    assert found.matrix is matrix and (found.dtype, found.note) == ("float32", "")


def test_too_large_stays_float32() -> None:
    assert rounded(one(65504, 65519), "float16").matrix.tolist() == [[65504, 65504]]
    found = rounded(one(0.1, -70000), "float16")
    assert found.matrix.tolist() == one(0.1, -70000).tolist()
    assert found.dtype == "float32"
    assert found.note == "a weight of 7e+04 is over float16's 65504"


def test_what_is_lost_is_counted() -> None:
    found = rounded(one(1, 0, 1e-9, -1e-9, 3e-5, 2.0**-14), "float16")
    assert found.note == "2 of 6 became zero, 1 of 6 became subnormal"
    assert np.count_nonzero(found.matrix) == 3


def test_unknown_type() -> None:
    with pytest.raises(UsageError, match="bfloat16"):
        rounded(one(1), "bfloat16")


def test_every_runtime_does_what_the_reference_does() -> None:
    program, choices = pack(programs.two_layers(), costs=programs.COSTS, dtype="float16")
    assert {choice.dtype for choice in choices} == {"float16"}
    programs.assert_runs_as_reference(program)


def test_half_the_bytes() -> None:
    wide, narrow = (
        pack(programs.two_layers(), costs=programs.COSTS, pattern="dense", dtype=dtype)[1]
        for dtype in ("float32", "float16")
    )
    assert [c.stored_bytes for c in narrow] == [c.stored_bytes // 2 for c in wide]
    assert [c.dense_bytes for c in narrow] == [c.dense_bytes for c in wide]
