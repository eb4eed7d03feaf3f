"""What a network learns from: labels, a dense teacher's scores, and what its layers hand on.

SquareHead (Kurtic et al. 2023, "Sparse Fine-tuning for Inference Acceleration of Large Language
Models"): per layer, the squared error of the student's output over the teacher's power, so that
every layer counts alike, whatever its range; the mean over layers. Scores: Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from filigree.converter.finetune.graph import Network
from filigree.converter.finetune.options import Distil
from filigree.converter.finetune.schedule import Pruner

EPSILON = 1e-12


def square_head(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean over layers of |s - t|^2 / |t|^2."""
    gaps = [relative_error(s, t) for s, t in zip(student, teacher, strict=True)]
    return torch.stack(gaps).mean()


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """|s - t|^2 / |t|^2."""
    return (student - teacher).square().mean() / (teacher.square().mean() + EPSILON)


def divergence(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the students' classes from the teacher's, both logits [N, K],
    softened by ``temperature`` and scaled with its square, so that gradients keep their size."""
    log = F.log_softmax(student / temperature, dim=1)
    target = F.log_softmax(teacher / temperature, dim=1)
    apart = F.kl_div(log, target, reduction="batchmean", log_target=True)
    return apart * temperature**2


class Loss:
    """Of one batch. ``layers``: values that the student and the teacher are compared at.

    Without labels the teacher is all there is to learn from; where the network makes no classes,
    its output is compared as a layer's is.
    """

    def __init__(
        self, student: Network, teacher: Network | None, layers: Sequence[str], how: Distil
    ) -> None:
        self.student, self.teacher, self.how = student, teacher, how
        scores = student.logits or student.output
        use = teacher is not None and how.layers > 0
        self.names = [scores, *(name for name in layers if use and name != scores)]

    def __call__(self, x: Tensor, y: Tensor | None, pruner: Pruner) -> Tensor:
        scores, *layers = self.student.values(x, self.names, pruner.effective())
        flat = scores.reshape(len(x), -1)
        total = torch.zeros(())
        if y is not None:
            total = total + self.how.labels * F.cross_entropy(flat, y)
        if self.teacher is None:
            return total
        with torch.no_grad():
            wanted, *taught = self.teacher.values(x, self.names)
        classes = y is not None or self.student.logits is not None
        target = wanted.reshape(len(x), -1)
        if classes:
            apart = divergence(flat, target, temperature=self.how.temperature)
        else:
            apart = relative_error(flat, target)
        total = total + self.how.logits * apart
        if layers:
            total = total + self.how.layers * square_head(layers, taught)
        return total
