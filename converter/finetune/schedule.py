"""What is cut when: gradual magnitude pruning to a pattern, and masks that fade.

The share cut rises with the cube of the time left (Zhu and Gupta 2017, "To prune, or not to
prune"): s(t) = s_end (1 - (1 - t)^3), so that most goes while there is still time to recover.
1. Blocks of the least L1 norm go, by layer, within the pattern; what is cut stays cut. Where N of M
   then cannot be filled, a little less stays than was asked for.
2. N of M: M stays as it is and N comes down with the same cubic (Bambhaniya et al. 2024,
   "Progressive Gradient Flow for Robust N:M Sparsity Training in Transformers").
3. With a decaying mask the final pattern is chosen from the start, again and again; weights outside
   count ``fade`` times, which falls from 1 to 0 in a line, and so do their gradients (Kao et al.
   2022, "Training Recipe for N:M Structured Sparsity with Decaying Pruning Mask").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from filigree.converter.sparsity.axes.find import weight_axes
from filigree.converter.sparsity.layer import Goal, Layer, Mask, block_sums, blocks_of, spread
from filigree.converter.sparsity.methods.blocks import choose
from filigree.converter.sparsity.methods.magnitude import score

CUTS = 100  # times the masks are made anew


@dataclass(frozen=True)
class Ramp:
    """Time from 0 to 1 over the first ``share`` of ``steps``; cuts at every ``every``th step."""

    steps: int
    share: float = 0.6

    @property
    def end(self) -> int:
        """The first step at full sparsity; there is one."""
        return min(max(0, self.steps - 1), int(self.share * self.steps))

    @property
    def every(self) -> int:
        return max(1, self.end // CUTS)

    def time(self, step: int) -> float:
        return 1.0 if step >= self.end else step / self.end

    def cubic(self, step: int) -> float:
        """Share of the final sparsity that is due before ``step``."""
        left = 1 - self.time(step)
        return 1 - left * left * left

    def fade(self, step: int) -> float:
        """What a weight outside a decaying mask counts."""
        return 1 - self.time(step)

    def cuts(self, step: int) -> bool:
        """Whether masks are made anew before ``step``."""
        return step <= self.end and (step % self.every == 0 or step == self.end)


@dataclass(frozen=True)
class Target:
    """One layer: its initializer ``weight`` (the axis ``rows`` is the matrix's), where it goes."""

    layer: str
    weight: str
    rows: int
    goal: Goal

    def matrix(self, weight: Tensor) -> NDArray[Any]:
        """A weight, or its mask, as [rows, cols], cols over (input channel, taps)."""
        moved = np.moveaxis(weight.detach().numpy(), self.rows, 0)
        return np.ascontiguousarray(moved.reshape(moved.shape[0], -1))

    def mask(self, matrix: Mask, like: Tensor) -> Tensor:
        """A mask [rows, cols] in the weight's own axes."""
        shape = np.moveaxis(np.empty(tuple(like.shape), bool), self.rows, 0).shape
        moved = np.moveaxis(matrix.reshape(shape), 0, self.rows)
        return torch.from_numpy(np.ascontiguousarray(moved))


def targets(model: ir.Model, goals: Mapping[str, Goal]) -> list[Target]:
    """Of the layers with ``goals``; a constant that several layers share is taken once."""
    found: dict[str, Target] = {}
    for node in model.graph:
        value = node.inputs[1] if len(node.inputs) > 1 else None
        if node.name in goals and value is not None and value.name not in found:
            rows, _ = weight_axes(node, len(value.shape or ()))
            name = value.name or ""
            found[name] = Target(node.name or "", name, rows, goals[node.name or ""])
    return list(found.values())


def goal_at(goal: Goal, blocks: int, cubic: float) -> Goal:
    """What is to stay at a share ``cubic`` of the way from all ``blocks`` to ``goal``.

    With N of M, N falls first of all, and blocks are cut beyond that only as far as ``goal`` keeps
    fewer than N of M: else a window could lose more than its share on the way.
    """
    if cubic >= 1:
        return goal
    if goal.n_of_m is None:
        return replace(goal, keep=blocks - math.ceil((blocks - goal.keep) * cubic))
    n, m = goal.n_of_m
    now = m - math.floor((m - n) * cubic)
    beyond = min(1.0, goal.keep * m / (n * blocks))
    keep = math.floor(now / m * (1 - (1 - beyond) * cubic) * blocks)
    return replace(goal, keep=max(keep, goal.keep), n_of_m=(now, m))


class Pruner:
    """The masks of some weights, step by step. ``masks``: True where a weight stays."""

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        targets: Sequence[Target],
        *,
        ramp: Ramp,
        fading: bool = False,
    ) -> None:
        self.weights, self.targets = weights, targets
        self.ramp, self.fading = ramp, fading
        self.masks: dict[str, Tensor] = {
            t.weight: torch.ones_like(weights[t.weight], dtype=torch.bool) for t in targets
        }
        self._fade = 1.0 if fading else 0.0

    def before(self, step: int) -> None:
        """To be called before every step: cut if it is time."""
        self._fade = self.ramp.fade(step) if self.fading else 0.0
        if self.ramp.cuts(step):
            cubic = 1.0 if self.fading else self.ramp.cubic(step)
            for target in self.targets:
                self._cut(target, cubic)
        self.after()

    def after(self) -> None:
        """To be called after every step of the optimiser: what is gone stays gone."""
        if self._fade > 0:
            return
        with torch.no_grad():
            for name, mask in self.masks.items():
                # masked_fill, not a product: a product would leave negative zeros
                self.weights[name].masked_fill_(~mask, 0.0)

    def effective(self) -> dict[str, Tensor]:
        """The weights as they count now; gradients are scaled alike."""
        found = {}
        for name, mask in self.masks.items():
            kept = mask.to(torch.float32)
            found[name] = self.weights[name] * (kept + (1 - kept) * self._fade)
        return found

    def sparsity(self) -> float:
        """Share of the masks that is cut."""
        total = sum(mask.numel() for mask in self.masks.values())
        kept = sum(int(mask.sum()) for mask in self.masks.values())
        return float(1 - kept / max(1, total))

    def _cut(self, target: Target, cubic: float) -> None:
        weight = self.weights[target.weight]
        layer = Layer(target.layer, target.matrix(weight))
        blocks = target.goal.groups(layer.rows) * layer.cols
        goal = goal_at(target.goal, blocks, cubic)
        kept = choose(layer, goal, block_sums(score(layer), goal.block_rows))
        if not self.fading:
            kept &= blocks_of(target.matrix(self.masks[target.weight]), goal.block_rows)
        mask = spread(kept, block_rows=goal.block_rows, rows=layer.rows)
        self.masks[target.weight] = target.mask(mask, weight)
