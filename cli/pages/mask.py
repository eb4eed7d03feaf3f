"""Where a weight matrix is not zero, as a small inline PNG."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIDE = 160


def mask_uri(matrix: NDArray[np.float32]) -> str:
    """A data URI: rows down, columns across, dark where weights are; at most 160 x 160 pixels.

    A larger matrix is averaged, so that grey is the share of nonzeros under a pixel.
    """
    density = _shrink(matrix != 0)
    grey = np.round(255 - 215 * density).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(_png(grey)).decode("ascii")


def _shrink(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows = np.unique(np.linspace(0, mask.shape[0], min(SIDE, mask.shape[0]) + 1).astype(int)[:-1])
    cols = np.unique(np.linspace(0, mask.shape[1], min(SIDE, mask.shape[1]) + 1).astype(int)[:-1])
    total = np.add.reduceat(np.add.reduceat(mask.astype(np.float64), rows, axis=0), cols, axis=1)
    high = np.diff([*rows, mask.shape[0]])
    wide = np.diff([*cols, mask.shape[1]])
    return np.asarray(total / np.outer(high, wide))


def _png(grey: NDArray[np.uint8]) -> bytes:
    height, width = grey.shape
    lines = b"".join(b"\0" + row.tobytes() for row in grey)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
