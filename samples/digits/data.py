"""scikit-learn's handwritten digits as images of the model's size, split once and for all.

The 1797 pictures are 8x8 with levels 0..16; the network sees them enlarged to 16x16, values 0..1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

SIDE = 16
LEVELS = 16.0
TEST_IMAGES = 450
SPLIT_SEED = 20240
LABELS = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class Split:
    """``x`` float32 [N, 1, 16, 16] in 0..1 and ``y`` int64 [N], for training and for testing."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def first(self, count: int) -> Split:
        """The same split with only ``count`` training images."""
        return Split(self.train_x[:count], self.train_y[:count], self.test_x, self.test_y)


def load() -> Split:
    """1347 training and 450 test images, every digit in proportion; always the same ones."""
    digits = load_digits()
    order = np.arange(len(digits.target))
    train, test = train_test_split(
        order, test_size=TEST_IMAGES, stratify=digits.target, random_state=SPLIT_SEED
    )
    x = enlarge(torch.from_numpy(digits.images.astype(np.float32)))
    y = torch.from_numpy(digits.target.astype(np.int64))
    return Split(x[train], y[train], x[test], y[test])


def enlarge(images: Tensor) -> Tensor:
    """[N, 8, 8] in 0..16 to [N, 1, 16, 16] in 0..1, bilinear: exact multiples of 1/256."""
    x = images.unsqueeze(1) / LEVELS
    return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Augmentation:
    """The largest turn in degrees, shift in pixels (of 16) and change of size as a fraction."""

    degrees: float = 10.0
    pixels: float = 1.5
    size: float = 0.1


def augment(x: Tensor, how: Augmentation, *, generator: torch.Generator) -> Tensor:
    """Each image of [N, 1, H, W] turned, shifted and resized at random, zeros coming in."""

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(x), generator=generator) * 2 - 1) * limit

    angle = uniform(math.radians(how.degrees))
    size = 1 + uniform(how.size)
    shift = how.pixels * 2 / SIDE  # affine_grid's image is 2 wide
    rows = [
        torch.stack([size * angle.cos(), -size * angle.sin(), uniform(shift)], dim=1),
        torch.stack([size * angle.sin(), size * angle.cos(), uniform(shift)], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
