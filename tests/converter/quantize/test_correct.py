"""What bias correction takes for certain of the means that it saw."""

from __future__ import annotations

import numpy as np

from filigree.converter.quantize.correct import certain

DRAW = np.random.default_rng(8)


def test_a_shift_that_all_samples_agree_on_is_taken_whole() -> None:
    shifts = np.tile([0.5, -2.0, 0.0], (16, 1))
    np.testing.assert_array_equal(certain(shifts), [0.5, -2.0, 0.0])


def test_chance_is_left_alone() -> None:
    noise = DRAW.standard_normal((64, 200))
    assert np.abs(certain(noise)).max() < 0.1 * np.abs(noise.mean(axis=0)).max()


def test_what_lies_between_is_shrunk_and_nearer_the_truth() -> None:
    truth = 0.2 * DRAW.standard_normal(300)
    seen = truth + DRAW.standard_normal((32, 300))
    whole, kept = seen.mean(axis=0), certain(seen)
    assert ((kept - truth) ** 2).sum() < ((whole - truth) ** 2).sum()
    assert (np.abs(kept) <= np.abs(whole)).all()
    np.testing.assert_allclose(kept / whole, kept[0] / whole[0])


def test_one_sample_is_believed_and_none_of_zeros_divided_by() -> None:
    np.testing.assert_array_equal(certain(np.array([[1.0, 2.0]])), [1.0, 2.0])
    np.testing.assert_array_equal(certain(np.zeros((4, 2))), [0.0, 0.0])
