"""Geometry shared by the convolution and pooling tests."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tests.kernels.harness import F32, F64


@dataclass(frozen=True)
class Window:
    """An input of h x w under a kernel of kh x kw; the output is as large as padding allows."""

    h: int
    w: int
    kh: int
    kw: int
    sh: int = 1
    sw: int = 1
    dh: int = 1
    dw: int = 1
    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    @property
    def out_h(self) -> int:
        return (self.h + self.top + self.bottom - (self.kh - 1) * self.dh - 1) // self.sh + 1

    @property
    def out_w(self) -> int:
        return (self.w + self.left + self.right - (self.kw - 1) * self.dw - 1) // self.sw + 1

    def __str__(self) -> str:
        pads = f"{self.top}.{self.left}.{self.bottom}.{self.right}"
        steps = f"s{self.sh}.{self.sw}-d{self.dh}.{self.dw}"
        return f"{self.h}x{self.w}-k{self.kh}x{self.kw}-{steps}-p{pads}"

    def fields(self) -> dict[str, Any]:
        """The fields of fil_conv and fil_pool that say the same."""
        names = ("kh", "kw", "sh", "sw", "dh", "dw")
        found = {name: value for name, value in asdict(self).items() if name in names}
        sizes = {"in_h": self.h, "in_w": self.w, "out_h": self.out_h, "out_w": self.out_w}
        return {**found, **sizes, "pad_top": self.top, "pad_left": self.left}

    def ring(self, x: F32, first: int, rows: int) -> F32:
        """x (channels, h, w) as a ring of just the rows that output rows [first, first + rows)
        read: row y lies at y % its height. One row, not read, where they read none."""
        low = max(0, first * self.sh - self.top)
        high = min(self.h, (first + rows - 1) * self.sh + (self.kh - 1) * self.dh + 1 - self.top)
        if high <= low:
            return np.full_like(x[:, :1], np.nan)
        held = np.empty_like(x[:, low:high])
        for y in range(low, high):
            held[:, y % (high - low)] = x[:, y]
        return held

    def taps(self, x: F64, *, outside: float = 0.0) -> F64:
        """(channels, kh * kw, out_h * out_w): what each tap reads of x (channels, h, w)."""
        high = (self.out_h - 1) * self.sh + (self.kh - 1) * self.dh + 1
        wide = (self.out_w - 1) * self.sw + (self.kw - 1) * self.dw + 1
        grown = np.full(
            (x.shape[0], max(high, self.top + self.h), max(wide, self.left + self.w)), outside
        )
        grown[:, self.top : self.top + self.h, self.left : self.left + self.w] = x
        found = [
            grown[:, ky : ky + (self.out_h - 1) * self.sh + 1 : self.sh][
                :, :, kx : kx + (self.out_w - 1) * self.sw + 1 : self.sw
            ]
            for ky in range(0, self.kh * self.dh, self.dh)
            for kx in range(0, self.kw * self.dw, self.dw)
        ]
        return np.stack(found, axis=1).reshape(x.shape[0], self.kh * self.kw, -1)


def random_windows(count: int, *, most: int = 40) -> list[Window]:
    """Windows of every kind, the same ones every time; each has at least one output."""
    draw = random.Random(count)
    found: list[Window] = []
    while len(found) < count:
        pads = [draw.choice((0, 0, 1, 2, 3)) for _ in range(4)]
        sizes = [draw.randint(1, limit) for limit in (most, most, 7, 7)]
        steps = (draw.choice((1, 1, 2, 3)), draw.choice((1, 1, 2, 2, 3, 4)))
        window = Window(*sizes, *steps, draw.choice((1, 1, 2)), draw.choice((1, 1, 2, 3)), *pads)
        if min(window.out_h, window.out_w) >= 1:
            found.append(window)
    return found
