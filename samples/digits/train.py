"""Train the digits network, prune it to 80 % in 4x1 blocks, write both as ONNX with the test data.

python samples/digits/train.py --out converter/data

Needs torch, scikit-learn, onnx and onnxruntime. One CPU thread, every seed fixed: the same
machine and versions write the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from data import LABELS, SIDE, SPLIT_SEED, Augmentation, Split, augment, load
from evaluate import accuracy as onnx_accuracy
from export import save
from network import DigitsNet
from pruning import Pattern, Pruner, Schedule, sparsity_of
from torch import Tensor

QUICK_IMAGES = 256


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result. Epochs: the dense training's and the pruning's."""

    epochs: int = 30
    prune_epochs: int = 30
    seed: int = 7
    batch: int = 64
    rate: float = 3e-3
    prune_rate: float = 2e-3
    decay: float = 0.02
    smoothing: float = 0.05
    sparsity: float = 0.8
    block_rows: int = 4


def fix_seeds(seed: int) -> None:
    """One thread and one seed everywhere, and nothing whose result may vary."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def batches(
    split: Split, size: int, *, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented batches in random order; what does not fill a batch is left out."""
    order = torch.randperm(len(split.train_y), generator=generator)
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield (
            augment(split.train_x[chosen], Augmentation(), generator=generator),
            split.train_y[chosen],
        )


def optimiser(net: DigitsNet, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW; biases and batch-norm parameters do not decay."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate)


@dataclass(frozen=True)
class Phase:
    """One run of training: how long, how fast, and what else happens after each step."""

    name: str
    epochs: int
    rate: float
    after_step: Callable[[int], None] = lambda step: None


def fit(net: DigitsNet, split: Split, *, recipe: Recipe, phase: Phase) -> None:
    """Train ``net`` in place for a phase, the rate rising for a tenth and falling to zero."""
    generator = torch.Generator().manual_seed(recipe.seed)
    steps = steps_in(phase.epochs, split, recipe)
    optimizer = optimiser(net, phase.rate, recipe.decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=phase.rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    net.train()
    step = 0
    for epoch in range(phase.epochs):
        total = 0.0
        for x, y in batches(split, recipe.batch, generator=generator):
            loss = F.cross_entropy(net(x), y, label_smoothing=recipe.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            step += 1
            phase.after_step(step)
            total += loss.item()
        progress(
            f"{phase.name} {epoch + 1}/{phase.epochs}  loss {total * phase.epochs / steps:.4f}"
        )


def steps_in(epochs: int, split: Split, recipe: Recipe) -> int:
    return epochs * (len(split.train_y) // recipe.batch)


def prune(net: DigitsNet, split: Split, recipe: Recipe) -> None:
    """Cut the pointwise weights to the recipe's sparsity while training on."""
    schedule = Schedule(recipe.sparsity, steps_in(recipe.prune_epochs, split, recipe))
    pruner = Pruner(net.pointwise(), pattern=Pattern(recipe.block_rows), schedule=schedule)
    phase = Phase("prune", recipe.prune_epochs, recipe.prune_rate, pruner.after_step)
    fit(net, split, recipe=recipe, phase=phase)


def accuracy(net: DigitsNet, split: Split) -> float:
    """The fraction of test images that ``net`` gets right."""
    net.eval()
    with torch.no_grad():
        return float((net(split.test_x).argmax(dim=1) == split.test_y).double().mean())


def export(net: DigitsNet, path: Path, split: Split) -> dict[str, object]:
    """Write ``net`` and say how good it is; ONNX Runtime has to find the same accuracy."""
    found = accuracy(net, split)
    save(net, path)
    again = onnx_accuracy(path, split.test_x.numpy(), split.test_y.numpy())
    if found != again:
        raise SystemExit(f"{path.name}: torch says {found:.4f}, ONNX Runtime {again:.4f}")
    progress(f"{path.name}  test accuracy {100 * found:.2f} %")
    return {"accuracy": round(found, 6), "bytes": path.stat().st_size}


def describe(recipe: Recipe, split: Split, command: str) -> dict[str, object]:
    """What is known about the models and their data, without the results."""
    return {
        "name": "digits",
        "labels": LABELS,
        "preprocess": {"layout": "NCHW", "mean": [0.0], "scale": [255.0], "size": [SIDE, SIDE]},
        "data": {
            "source": "sklearn.datasets.load_digits (UCI, CC BY 4.0)",
            "split": {
                "train": len(split.train_y),
                "test": len(split.test_y),
                "seed": SPLIT_SEED,
                "stratified": True,
            },
        },
        "recipe": asdict(recipe),
        "augmentation": asdict(Augmentation()),
        "command": command,
        "versions": {p: version(p) for p in ("torch", "numpy", "scikit-learn", "onnx")},
    }


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the four files")
    parser.add_argument("--epochs", type=int, help="epochs of each phase (default 30)")
    parser.add_argument("--quick", action="store_true", help="seconds of training, poor accuracy")
    options = parser.parse_args(arguments)
    if options.epochs is not None and options.epochs < 1:
        parser.error("--epochs must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    epochs = options.epochs or (2 if options.quick else Recipe.epochs)
    recipe = Recipe(epochs=epochs, prune_epochs=epochs)
    split = load().first(QUICK_IMAGES) if options.quick else load()
    flags = (f" --epochs {options.epochs}" if options.epochs else "") + " --quick" * options.quick
    about = describe(recipe, split, f"python samples/digits/train.py --out DIR{flags}")
    started = time.monotonic()
    fix_seeds(recipe.seed)
    options.out.mkdir(parents=True, exist_ok=True)

    net = DigitsNet()
    fit(net, split, recipe=recipe, phase=Phase("dense", recipe.epochs, recipe.rate))
    dense = export(net, options.out / "digits_dense.onnx", split)
    prune(net, split, recipe)
    sparse = export(net, options.out / "digits_sparse80.onnx", split)

    sparse["pattern"] = Pattern(recipe.block_rows).name
    sparse["sparsity"] = {n: round(s, 6) for n, s in sparsity_of(net.pointwise()).items()}
    about["models"] = {"digits_dense.onnx": dense, "digits_sparse80.onnx": sparse}
    x, y = split.test_x.numpy(), split.test_y.numpy()
    np.savez_compressed(options.out / "digits_test.npz", x=x, y=y)
    (options.out / "digits.json").write_text(json.dumps(about, indent=2) + "\n")
    progress(f"wrote {options.out} in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
