"""What fine-tuning is asked for, and what it gives back; no PyTorch here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filigree.converter.prune import PrunedLayer, PruneOptions

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from filigree.converter.sparsity.rearrange import Rearranged

OPTIMISERS = ("adamw", "sgd")


@dataclass(frozen=True)
class Distil:
    """Weights of the losses: ``labels`` (cross-entropy), ``logits`` (divergence from the teacher's
    at ``temperature``), ``layers`` (SquareHead)."""

    labels: float = 1.0
    logits: float = 1.0
    layers: float = 1.0
    temperature: float = 2.0


@dataclass(frozen=True)
class FinetuneOptions:
    """``prune``: the pattern, sparsity and budget (its method only ranks channels for
    rearrangement). ``distil``: None for labels alone. ``rate``: the highest; it rises for the
    share ``warm`` of all steps and falls to zero by a cosine. ``decay``: of weights, not of biases.
    Cutting is over after the share ``ramp`` of all steps; ``decay_mask``: what is to go fades until
    then instead of going at once. ``threads``: PyTorch's; other numbers give other last bits."""

    prune: PruneOptions = field(default_factory=PruneOptions)
    distil: Distil | None = None
    epochs: int = 20
    batch: int = 32
    rate: float = 5e-3
    optimiser: str = "adamw"
    decay: float = 0.01
    momentum: float = 0.9
    warm: float = 0.05
    ramp: float = 0.6
    decay_mask: bool = False
    seed: int = 0
    threads: int = 1

    def problems(self) -> list[str]:
        """Everything that is out of range, but for what depends on the model."""
        found = []
        if not 0 <= self.prune.sparsity < 1:
            found.append(f"sparsity {self.prune.sparsity} is not in [0, 1)")
        if self.epochs < 1:
            found.append(f"{self.epochs} epochs; at least 1 is needed")
        if self.batch < 1:
            found.append(f"batches of {self.batch}; at least 1 is needed")
        if not 0 < self.rate < math.inf:
            found.append(f"rate {self.rate} is not above 0")
        if not 0 <= self.decay < math.inf:
            found.append(f"weight decay {self.decay} is below 0")
        if self.optimiser not in OPTIMISERS:
            found.append(f'no optimiser "{self.optimiser}": {", ".join(OPTIMISERS)}')
        if not 0 <= self.ramp <= 1:
            found.append(f"ramp {self.ramp} is not in [0, 1]")
        if self.seed < 0:
            found.append(f"seed {self.seed} is below 0")
        if self.threads < 1:
            found.append(f"{self.threads} threads; at least 1 is needed")
        return found


@dataclass(frozen=True)
class Files:
    """``checkpoint``: written after every epoch; ``resume``: a checkpoint to go on from."""

    checkpoint: Path | None = None
    resume: Path | None = None


@dataclass(frozen=True)
class Epoch:
    """After one epoch: the mean ``loss``, the share cut, top-1 per cent on the test data (None
    without labels)."""

    epoch: int
    loss: float
    sparsity: float
    accuracy: float | None


@dataclass(frozen=True)
class Finetuned:
    """The trained and pruned model as ONNX, and how it came about."""

    proto: onnx.ModelProto
    graph: ir.Model
    layers: tuple[PrunedLayer, ...]
    sparsity: float
    rearranged: Rearranged | None
    history: tuple[Epoch, ...]
