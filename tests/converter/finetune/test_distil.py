"""Losses from a teacher: their values, and that training brings them down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from filigree.converter.calibration import Data  # noqa: E402  PyTorch first, or a skip
from filigree.converter.errors import UsageError  # noqa: E402
from filigree.converter.finetune import Distil, finetune  # noqa: E402
from filigree.converter.finetune.distil import divergence, square_head  # noqa: E402
from tests.converter.finetune import tiny  # noqa: E402


def test_square_head_is_relative_to_the_teacher() -> None:
    draw = np.random.default_rng(5)
    teacher = [torch.from_numpy(draw.standard_normal((2, 3, 4))) * scale for scale in (0.01, 100)]
    student = [t * 1.1 for t in teacher]
    assert float(square_head(student, teacher)) == pytest.approx(0.01)
    assert float(square_head(teacher, teacher)) == 0


def test_divergence() -> None:
    student, teacher = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.5, 1.0, 3.0]])
    assert float(divergence(teacher, teacher, temperature=2.0)) == pytest.approx(0, abs=1e-7)
    p, q = (torch.softmax(t / 2, 1) for t in (teacher, student))
    expected = 4 * float((p * (p.log() - q.log())).sum())
    assert float(divergence(student, teacher, temperature=2.0)) == pytest.approx(expected)


def test_distillation_falls_once_cutting_is_over(tmp_path: Path) -> None:
    """Without labels the loss is distillation alone."""
    options = tiny.options(epochs=20, ramp=0.1, rate=0.02, distil=Distil())
    data = Data(tiny.samples(64).x)
    found = finetune(tiny.saved(tmp_path), options, data=data, test=data)
    losses = [epoch.loss for epoch in found.history[3:]]
    assert losses[-1] < 0.5 * losses[0]
    assert all(epoch.accuracy is None for epoch in found.history)


def test_no_labels_and_no_teacher_is_an_error(tmp_path: Path) -> None:
    data = Data(tiny.samples(16).x)
    with pytest.raises(UsageError, match="no labels"):
        finetune(tiny.saved(tmp_path), tiny.options(), data=data, test=data)
