"""The digits for fine-tuning: the split of samples/digits, the training part augmented.

python samples/finetune/digits.py --out build/finetune

Writes digits_train.npz and digits_test.npz: images ``x`` [N, 1, 16, 16] in 0..1 and labels ``y``.
Needs torch and scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "digits"))

from data import Augmentation, augment, load


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--copies", type=int, default=3, help="augmented copies of every image")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    split = load()
    generator = torch.Generator().manual_seed(options.seed)
    more = [
        augment(split.train_x, Augmentation(), generator=generator) for _ in range(options.copies)
    ]
    x = torch.cat([split.train_x, *more]).numpy()
    y = np.tile(split.train_y.numpy(), options.copies + 1)
    options.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out / "digits_train.npz", x=x, y=y)
    test_y = split.test_y.numpy()
    np.savez_compressed(options.out / "digits_test.npz", x=split.test_x.numpy(), y=test_y)
    print(f"digits_train.npz: {len(y)} images, digits_test.npz: {len(test_y)}")


if __name__ == "__main__":
    main()
