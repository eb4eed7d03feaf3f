"""Class labels and the best classes of a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filigree.converter.errors import BadFile


def read_labels(path: Path) -> list[str]:
    """One label a line, UTF-8. Raises BadFile if it is not text."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadFile(f"{path.name} is not a text file with one label a line") from error
    return [line.strip() for line in lines]


def best(scores: NDArray[np.float32], *, labels: list[str], count: int) -> list[dict[str, object]]:
    """The ``count`` highest scores of a flat vector with their class numbers and labels."""
    order = np.argsort(-scores, kind="stable")[:count]
    return [
        {
            "class": int(i),
            "label": labels[int(i)] if int(i) < len(labels) else None,
            "score": float(scores[i]),
        }
        for i in order
    ]


def is_classification(output: NDArray[np.float32], *, labels: list[str], image: bool) -> bool:
    """Whether a result reads as one score per class."""
    flat = output.size == output.shape[-1] if output.ndim else False
    if not flat or output.size < 2:
        return False
    if labels:
        return len(labels) == output.size
    total = float(output.sum())
    return image or (bool((output >= 0).all()) and abs(total - 1) < 1e-3)
