"""The training loop: seeded, step by step the same on the same machine, and resumable to the bit.

Everything that a step depends on is in ``Trainer.state``: weights, the optimiser's moments, masks,
the step, the order of this epoch's samples, the random generator, and the losses so far.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filigree.converter.calibration import Data
from filigree.converter.finetune.distil import Loss
from filigree.converter.finetune.graph import Network
from filigree.converter.finetune.options import Epoch, FinetuneOptions
from filigree.converter.finetune.schedule import Pruner

Arrays = dict[str, NDArray[Any]]
MOMENTS = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}
JUDGED = 256  # samples at once


@contextlib.contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Sums in a fixed order; the process gets its own settings back."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def steps_of(samples: int, options: FinetuneOptions) -> int:
    """Steps of all epochs; the last batch of an epoch may be short."""
    return options.epochs * math.ceil(samples / options.batch)


def rate_at(step: int, steps: int, options: FinetuneOptions) -> float:
    """The rate of ``step``: up in a line, then down by half a cosine (Loshchilov, Hutter 2017)."""
    warm = int(options.warm * steps)
    if step < warm:
        return options.rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return options.rate * 0.5 * (1 + math.cos(math.pi * done))


class Trainer:
    """A run that can be taken up anywhere. ``step`` is the next one."""

    def __init__(
        self,
        network: Network,
        data: Data,
        *,
        loss: Loss,
        pruner: Pruner,
        options: FinetuneOptions,
    ) -> None:
        self.network, self.loss, self.pruner, self.options = network, loss, pruner, options
        self._x = torch.from_numpy(data.x)
        self._y = None if data.y is None else torch.from_numpy(data.y)
        self.steps = steps_of(len(data), options)
        self._in_epoch = max(1, self.steps // max(1, options.epochs))
        self.step, self._total = 0, 0.0
        self._history: list[tuple[float, float, float]] = []
        self._generator = torch.Generator().manual_seed(options.seed)
        self._order = torch.zeros(len(data), dtype=torch.int64)
        self._optimiser = _optimiser(network, options)

    @property
    def history(self) -> tuple[Epoch, ...]:
        """The epochs so far."""
        return tuple(
            Epoch(i + 1, loss, sparsity, None if math.isnan(accuracy) else accuracy)
            for i, (loss, sparsity, accuracy) in enumerate(self._history)
        )

    def run(self, test: Data, *, each: Callable[[float], None], epoch: Callable[[], None]) -> None:
        """Train to the end; ``each`` gets the loss after every step, ``epoch`` comes after every
        epoch, when it has been judged by ``test``."""
        while self.step < self.steps:
            each(self.one())
            if self.step % self._in_epoch == 0:
                self.judge(test)
                epoch()

    def one(self) -> float:
        """One step; its loss."""
        place = self.step % self._in_epoch
        if place == 0:
            self._order = torch.randperm(len(self._x), generator=self._generator)
            self._total = 0.0
        chosen = self._order[place * self.options.batch : (place + 1) * self.options.batch]
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self.step, self.steps, self.options)
        self.pruner.before(self.step)
        self._optimiser.zero_grad()
        loss = self.loss(self._x[chosen], None if self._y is None else self._y[chosen], self.pruner)
        loss.backward()
        self._optimiser.step()
        self.pruner.after()
        self.step += 1
        value = float(loss.detach())
        self._total += value
        return value

    def judge(self, test: Data) -> None:
        """Add this epoch to the history."""
        accuracy = accuracy_of(self.network, test, self.pruner.effective())
        mean = self._total / self._in_epoch
        self._history.append((mean, self.pruner.sparsity(), accuracy))

    # --- checkpoints ---

    def state(self) -> Arrays:
        """All of it, as arrays (copies)."""
        found: Arrays = {
            "step": np.array(self.step, np.int64),
            "total": np.array(self._total, np.float64),
            "history": np.array(self._history, np.float64).reshape(-1, 3),
            "order": self._order.numpy().copy(),
            "generator": self._generator.get_state().numpy().copy(),
        }
        for name, weight in self.network.weights.items():
            found[f"weight/{name}"] = weight.detach().numpy().copy()
            moments = self._optimiser.state.get(weight, {})
            for key in MOMENTS[self.options.optimiser]:
                if moments.get(key) is not None:
                    found[f"{key}/{name}"] = moments[key].numpy().copy()
        for name, mask in self.pruner.masks.items():
            found[f"mask/{name}"] = mask.numpy().copy()
        return found

    def like(self, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
        """What ``arrays`` have to be like: a state after as many steps and epochs."""
        wanted = self.state()
        wanted["history"] = np.zeros((len(arrays.get("history", ())), 3))
        for name, weight in self.network.weights.items():
            for key in MOMENTS[self.options.optimiser]:
                if f"{key}/{name}" in arrays:  # only trained weights have moments
                    shape = () if key == "step" else tuple(weight.shape)
                    wanted[f"{key}/{name}"] = np.zeros(shape, np.float32)
        return wanted

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state``."""
        self.step, self._total = int(arrays["step"]), float(arrays["total"])
        self._history = [(float(a), float(b), float(c)) for a, b, c in arrays["history"]]
        self._order = torch.from_numpy(arrays["order"].copy())
        self._generator.set_state(torch.from_numpy(arrays["generator"].copy()))
        with torch.no_grad():
            for name, weight in self.network.weights.items():
                weight.copy_(torch.from_numpy(arrays[f"weight/{name}"].copy()))
                moments = {
                    key: torch.from_numpy(arrays[f"{key}/{name}"].copy())
                    for key in MOMENTS[self.options.optimiser]
                    if f"{key}/{name}" in arrays
                }
                if moments:
                    self._optimiser.state[weight] = moments
        self.pruner.masks = {
            name: torch.from_numpy(arrays[f"mask/{name}"].copy()) for name in self.pruner.masks
        }


def accuracy_of(network: Network, data: Data, weights: Mapping[str, Tensor] | None = None) -> float:
    """Top-1 per cent; NaN without labels."""
    if data.y is None:
        return math.nan
    right = 0
    with torch.no_grad():
        for start in range(0, len(data), JUDGED):
            x = torch.from_numpy(data.x[start : start + JUDGED])
            scores = network.values(x, [network.output], weights)[0].reshape(len(x), -1)
            right += int(np.sum(scores.argmax(dim=1).numpy() == data.y[start : start + JUDGED]))
    return 100 * right / len(data)


def _optimiser(network: Network, options: FinetuneOptions) -> torch.optim.Optimizer:
    weights = list(network.weights.values())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": options.decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=options.rate, momentum=options.momentum, foreach=False)
    return torch.optim.AdamW(groups, lr=options.rate, foreach=False)
