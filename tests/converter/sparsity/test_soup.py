"""Averages of checkpoints that share one mask."""

from __future__ import annotations

import numpy as np
import pytest

from filigree.converter.lowering.program import F32
from filigree.converter.sparsity.soup import soup


def checkpoint(seed: int) -> dict[str, F32]:
    draw = np.random.default_rng(seed)
    mask = np.random.default_rng(99).random((6, 7)) < 0.4
    weight = np.where(mask, draw.standard_normal((6, 7)), 0).astype(np.float32)
    return {"fc.weight": weight, "fc.bias": draw.standard_normal(6).astype(np.float32)}


def test_mean_of_three() -> None:
    three = [checkpoint(seed) for seed in range(3)]
    mixed = soup(three)
    assert list(mixed) == ["fc.weight", "fc.bias"]
    for name, found in mixed.items():
        assert found.dtype == np.float32
        wanted = np.mean([c[name].astype(np.float64) for c in three], axis=0)
        assert (found == wanted.astype(np.float32)).all()
        assert ((found != 0) == (three[0][name] != 0)).all()


def test_one_checkpoint_is_itself() -> None:
    one = checkpoint(0)
    assert all((soup([one])[name] == one[name]).all() for name in one)


def test_weights_that_cancel_stay_in_the_mask() -> None:
    mixed = soup([{"w": np.array([1, 0], np.float32)}, {"w": np.array([-1, -0.0], np.float32)}])
    assert mixed["w"][0] != 0 and mixed["w"][1] == 0
    assert not np.signbit(mixed["w"]).any()


def test_another_mask_is_refused() -> None:
    other = checkpoint(1)
    other["fc.weight"][other["fc.weight"] == 0] = 1
    with pytest.raises(
        ValueError, match=r'^tensor "fc.weight": checkpoint 2 has another mask than checkpoint 0'
    ):
        soup([checkpoint(0), checkpoint(2), other])


def test_another_shape_is_refused() -> None:
    other = checkpoint(1) | {"fc.bias": np.ones(5, np.float32)}
    with pytest.raises(
        ValueError, match=r'^tensor "fc.bias": shape \(5,\) in checkpoint 1, \(6,\) in checkpoint 0'
    ):
        soup([checkpoint(0), other])


def test_other_names_are_refused() -> None:
    more = checkpoint(1) | {"head": np.ones(2, np.float32)}
    with pytest.raises(ValueError, match=r'^tensor "head": checkpoint 0 does not have it'):
        soup([checkpoint(0), more])
    with pytest.raises(ValueError, match=r'^tensor "head": checkpoint 1 does not have it'):
        soup([more, checkpoint(0)])


def test_no_checkpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        soup([])
