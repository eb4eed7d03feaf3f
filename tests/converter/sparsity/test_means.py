"""Biases after rounding to int4: sums have the means that they had."""

from __future__ import annotations

import numpy as np

from filigree.converter import packfile, reference
from filigree.converter.lowering.plan import plan
from filigree.converter.sparsity import means, pack
from filigree.native.model import Model
from tests.converter import programs


def test_the_first_layers_sums_have_the_same_mean() -> None:
    exact = programs.two_layers(zeros=0)
    four, _ = pack(exact, costs=programs.COSTS, dtype="int4", keep_float=("fc2",))
    draw = np.random.default_rng(0)
    samples = [[draw.standard_normal(64) * 1e-4 + np.linspace(-1, 2, 64)] for _ in range(8)]
    found = means.corrected(exact, four, samples)
    mean = np.mean([x[0] for x in samples], axis=0)
    before, after = exact.weights["w1"], found.weights["w1"]
    want = before.matrix.astype(np.float64) @ mean + before.bias
    np.testing.assert_allclose(after.matrix @ mean + after.bias, want, rtol=1e-5, atol=1e-5)
    assert np.abs(four.weights["w1"].matrix @ mean + before.bias - want).max() > 0.01
    assert found.weights["w2"] is four.weights["w2"]
    data = packfile.encode(plan(found))
    got = Model.from_bytes(data).run(samples[0][0].astype(np.float32)[None])
    (same,) = reference.run(found, *samples[0])
    np.testing.assert_allclose(got, same, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(packfile.decode(data).weights["weights0"].bias, after.bias)
