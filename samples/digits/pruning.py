"""Gradual magnitude pruning to a pattern, while training goes on.

The schedule is Zhu and Gupta's ("To prune, or not to prune", 2017): sparsity rises with the cube of
the time left, so that most is cut while there is still time to recover.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Pattern:
    """Blocks of ``rows`` neighbouring output channels at one input index live or die together."""

    rows: int = 4

    @property
    def name(self) -> str:
        return f"{self.rows}x1"

    def mask(self, weight: Tensor, sparsity: float) -> Tensor:
        """True where ``weight`` [O, ...] stays: the blocks of least magnitude go.

        At least the fraction ``sparsity`` of the blocks is cut. O must be a multiple of ``rows``.
        """
        blocks = weight.detach().abs().reshape(weight.shape[0] // self.rows, self.rows, -1)
        scores = blocks.sum(dim=1)
        keep = torch.ones(scores.numel(), dtype=torch.bool)
        keep[scores.flatten().argsort(stable=True)[: math.ceil(sparsity * scores.numel())]] = False
        mask = keep.reshape(scores.shape).unsqueeze(1).expand(blocks.shape)
        return mask.reshape(weight.shape)


@dataclass(frozen=True)
class Schedule:
    """``target`` sparsity after the fraction ``ramp`` of ``steps``, a cut every ``every`` steps."""

    target: float
    steps: int
    ramp: float = 0.6
    every: int = 8

    def sparsity(self, step: int) -> float:
        """The sparsity due at ``step``, 0..steps."""
        left = max(0.0, 1 - step / max(1, int(self.ramp * self.steps)))
        return self.target * (1 - left**3)

    def cuts(self, step: int) -> bool:
        """Whether the masks are made anew at ``step``; always at the first at full sparsity."""
        return step % self.every == 0 or step == int(self.ramp * self.steps)


class Pruner:
    """Keeps the masks of some layers and holds their weights to them."""

    def __init__(
        self, layers: Mapping[str, nn.Conv2d], *, pattern: Pattern, schedule: Schedule
    ) -> None:
        self.layers = dict(layers)
        self.pattern = pattern
        self.schedule = schedule
        self.masks: dict[str, Tensor] = {}

    def after_step(self, step: int) -> None:
        """To be called after every optimiser step: cut if it is time, then zero what is cut."""
        for name, layer in self.layers.items():
            if self.schedule.cuts(step):
                sparsity = self.schedule.sparsity(step)
                self.masks[name] = self.pattern.mask(layer.weight, sparsity)
            if name in self.masks:
                # masked_fill, not a product: a product would leave negative zeros
                layer.weight.data.masked_fill_(~self.masks[name], 0.0)


def sparsity_of(layers: Mapping[str, nn.Conv2d]) -> dict[str, float]:
    """The fraction of exact zeros in each layer's weights."""
    return {name: float((layer.weight == 0).double().mean()) for name, layer in layers.items()}
