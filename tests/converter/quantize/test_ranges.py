"""Ranges and scales: what they cover, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from filigree.converter.quantize.ranges import (
    HIGH,
    LOW,
    METHODS,
    Histogram,
    choose,
    params,
    weight_scales,
)


def seen(values: np.ndarray) -> Histogram:
    count, edges = np.histogram(values, 2048)
    return Histogram(edges, count.astype(np.float64))


DRAW = np.random.default_rng(0)
NORMAL = DRAW.standard_normal(20000)
OUTLIERS = np.concatenate([NORMAL, [60.0, -45.0]])
RECTIFIED = np.maximum(NORMAL, 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [NORMAL, OUTLIERS, RECTIFIED, np.zeros(9), RECTIFIED + 5])
def test_zero_is_exact_and_everything_is_finite(method: str, values: np.ndarray) -> None:
    found = choose(seen(values), method)
    assert np.isfinite(found.scale) and found.scale > 0 and LOW <= found.zero <= HIGH
    assert found.rounded(np.zeros(1))[0] == 0


def test_minmax_covers_everything() -> None:
    found = choose(seen(OUTLIERS), "minmax")
    assert np.abs(found.rounded(OUTLIERS) - OUTLIERS).max() <= 0.51 * found.scale


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_outliers_are_cut(method: str) -> None:
    whole, cut = choose(seen(OUTLIERS), "minmax"), choose(seen(OUTLIERS), method)
    assert cut.scale < whole.scale
    if method == "mse":
        costs = [float(np.square(p.rounded(OUTLIERS) - OUTLIERS).sum()) for p in (whole, cut)]
        assert costs[1] < costs[0]


def test_rectified_values_use_all_steps() -> None:
    found = choose(seen(RECTIFIED), "minmax")
    assert found.zero == LOW
    assert found.scale == pytest.approx(RECTIFIED.max() / 255, rel=1e-3)


def test_a_range_without_zero_is_widened_to_it() -> None:
    assert params(2.0, 10.0) == params(0.0, 10.0)
    assert params(-10.0, -2.0).zero == HIGH


def test_weights() -> None:
    rows = DRAW.standard_normal((8, 200))
    rows[3] = 0
    rows[4, 7] = 40.0
    errors = []
    for method in ("minmax", "mse"):
        scale = weight_scales(rows, method)
        assert scale.dtype == np.float32 and (scale > 0).all()
        kept = np.clip(np.rint(rows / scale[:, None]), -127, 127) * scale[:, None]
        assert (kept[3] == 0).all()
        errors.append(np.square(kept - rows).sum(axis=1))
    assert (errors[1] <= errors[0] * (1 + 1e-6)).all()
    assert np.abs(rows[0]).max() / 127 == pytest.approx(weight_scales(rows, "minmax")[0])
