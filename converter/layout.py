"""Which axis of an image is its channels."""

from __future__ import annotations

from collections.abc import Sequence


def is_channels_last(shape: Sequence[int]) -> bool:
    """Whether a batch of images of this shape can only be [N, H, W, C], C being 1 or 3."""
    return len(shape) == 4 and shape[3] in (1, 3) and shape[1] > 3
