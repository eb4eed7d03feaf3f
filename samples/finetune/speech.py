"""Speech commands for fine-tuning: 210 labelled clips split, and thousands mixed from a part.

python samples/finetune/speech.py speech_commands_dev.npz --out build/finetune

Writes speech_train.npz (mixed, without labels: the dense model is the teacher), speech_plain.npz
(the training clips as they are, with labels) and speech_test.npz: MFCC ``x`` [N, 1, 49, 10],
labels ``y`` of 12 classes. Needs numpy alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Clips:
    """``x`` [N, 1, 49, 10] and ``y`` [N]."""

    x: F32
    y: NDArray[np.int64]


@dataclass(frozen=True)
class Mixing:
    """At most: a shift in frames of 20 ms, a change of tempo, of each coefficient's size, noise and
    a constant by each coefficient's spread. Shares of samples: two clips in one (``mixed``), one
    after another (``joined``), with noise (``noisy``)."""

    frames: int = 10
    tempo: float = 0.22
    size: float = 0.15
    noise: float = 0.3
    colour: float = 0.15
    mixed: float = 0.4
    joined: float = 0.3
    noisy: float = 0.6


def split(path: Path) -> tuple[Clips, Clips]:
    """Google's training clips (130), and its validation and testing clips together (80)."""
    with np.load(path, allow_pickle=False) as file:
        x, y, part = file["mfcc"][:, None], file["y12"].astype(np.int64), file["google_split"]
    train = part == "training"
    return Clips(x[train], y[train]), Clips(x[~train], y[~train])


def mixed(x: F32, count: int, how: Mixing, *, seed: int) -> F32:
    """``count`` samples [count, 1, 49, 10] made from ``x``."""
    draw = np.random.default_rng(seed)
    spread = x.std(axis=(0, 1, 2))
    found = []
    for _ in range(count):
        sample, kind = _moved(x, how, draw), draw.random()
        if kind < how.mixed:
            share = draw.uniform(0.3, 0.9)
            sample = share * sample + (1 - share) * _moved(x, how, draw)
        elif kind < how.mixed + how.joined:
            cut = draw.integers(8, x.shape[2] - 8)
            sample = np.concatenate([sample[:, :cut], _moved(x, how, draw)[:, cut:]], axis=1)
        noise = draw.uniform(0, how.noise) * (draw.random() < how.noisy)
        sample = sample + draw.standard_normal(sample.shape) * spread * noise
        found.append(sample + draw.standard_normal(spread.shape) * spread * how.colour)
    return np.asarray(found, np.float32)


def _moved(x: F32, how: Mixing, draw: np.random.Generator) -> F32:
    """One of the clips, [1, 49, 10], later or earlier, half of the time slower or faster, every
    coefficient larger or smaller; the frames at its ends are repeated."""
    clip = x[draw.integers(len(x))]
    frames = clip.shape[1]
    index = np.arange(frames) - draw.integers(-how.frames, how.frames + 1)
    if draw.random() < 0.5:
        middle = frames // 2
        index = (index - middle) * (1 + draw.uniform(-how.tempo, how.tempo)) + middle
    moved = clip[:, np.clip(np.round(index).astype(int), 0, frames - 1)]
    return moved * draw.uniform(1 - how.size, 1 + how.size, clip.shape[2])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="speech_commands_dev.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--count", type=int, default=30000, help="samples to mix")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    train, test = split(options.clips)
    options.out.mkdir(parents=True, exist_ok=True)
    x = mixed(train.x, options.count, Mixing(), seed=options.seed)
    np.savez_compressed(options.out / "speech_train.npz", x=x)
    np.savez_compressed(options.out / "speech_plain.npz", x=train.x, y=train.y)
    np.savez_compressed(options.out / "speech_test.npz", x=test.x, y=test.y)
    print(f"{len(x)} samples mixed from {len(train.y)} clips; {len(test.y)} clips to judge by")


if __name__ == "__main__":
    main()
