"""Strided views of tensors: reshaping, transposing, slicing and broadcasting without copying.

A view says where the elements of a value lie: element ``i`` is at
``offset + sum(i[axis] * strides[axis])`` of its tensor. Strides are in elements, 0 broadcasts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class View:
    """A value of ``shape`` inside ``tensor``."""

    tensor: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def transpose(self, perm: Sequence[int]) -> View:
        """Axis i of the result is axis ``perm[i]``."""
        return replace(
            self,
            shape=tuple(self.shape[a] for a in perm),
            strides=tuple(self.strides[a] for a in perm),
        )

    def slice(self, axis: int, start: int, *, count: int, step: int = 1) -> View:
        """``count`` indices of ``axis`` from ``start``, ``step`` (positive) apart."""
        shape, strides = list(self.shape), list(self.strides)
        offset = self.offset + start * strides[axis]
        shape[axis], strides[axis] = count, strides[axis] * step
        return View(self.tensor, offset, tuple(shape), tuple(strides))

    def at(self, axis: int, index: int) -> View:
        """Index ``index`` of ``axis``, which goes away."""
        cut = self.slice(axis, index, count=1)
        return replace(cut, shape=_without(cut.shape, axis), strides=_without(cut.strides, axis))

    def broadcast(self, shape: Sequence[int]) -> View:
        """The view under ``shape`` by ONNX's (numpy's) rule, which must allow it."""
        missing = len(shape) - len(self.shape)
        own = (1,) * missing + self.shape
        strides = (0,) * missing + self.strides
        return replace(
            self,
            shape=tuple(shape),
            strides=tuple(
                0 if n == 1 and want != 1 else s
                for n, s, want in zip(own, strides, shape, strict=True)
            ),
        )

    def reshape(self, shape: Sequence[int]) -> View | None:
        """The same elements in row-major order under ``shape``; None if no strides do that."""
        strides: list[int] = []
        runs = loops(self.shape, self.strides)  # innermost last; each is one arithmetic walk
        left, (step,) = runs.pop() if runs else (1, (1,))
        for dim in reversed(shape):
            if dim == 1:
                strides.append(step)
                continue
            if left == 1 and runs:
                left, (step,) = runs.pop()
            if left % dim:
                return None
            strides.append(step)
            step, left = step * dim, left // dim
        return replace(self, shape=tuple(shape), strides=tuple(reversed(strides)))

    def is_row_major(self) -> bool:
        """Contiguous, in the order of its axes."""
        walk = loops(self.shape, self.strides)
        return not walk or (len(walk) == 1 and walk[0][1] == (1,))

    def unsqueeze(self, axis: int) -> View:
        """A new axis of one element at ``axis``."""
        step = self.strides[axis] * self.shape[axis] if axis < len(self.shape) else 1
        return replace(
            self,
            shape=(*self.shape[:axis], 1, *self.shape[axis:]),
            strides=(*self.strides[:axis], step, *self.strides[axis:]),
        )


Loop = tuple[int, tuple[int, ...]]


def loops(shape: Sequence[int], *strides: Sequence[int]) -> list[Loop]:
    """The fewest nested loops, outermost first, that walk ``shape`` in row-major order, as
    (count, stride of each operand)."""
    found: list[Loop] = []
    for i, count in enumerate(shape):
        steps = tuple(s[i] for s in strides)
        if count == 1:
            continue
        if found and found[-1][1] == tuple(count * step for step in steps):
            found[-1] = (found[-1][0] * count, steps)
        else:
            found.append((count, steps))
    return found


def padded(nest: Sequence[Loop], count: int, *, operands: int) -> list[Loop]:
    """``nest`` with loops of one step put outside it, to ``count`` loops."""
    return [*[(1, (0,) * operands)] * (count - len(nest)), *nest]


def by_memory(view: View) -> list[int]:
    """The axes from the largest stride to the smallest; equal ones keep their order."""
    return sorted(range(len(view.shape)), key=lambda a: -view.strides[a])


def row_major(shape: Sequence[int], *, scale: int = 1) -> tuple[int, ...]:
    """Strides of contiguous elements in the order of the axes, times ``scale``."""
    strides, step = [], scale
    for dim in reversed(shape):
        strides.append(step)
        step *= dim
    return tuple(reversed(strides))


def _without(values: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*values[:axis], *values[axis + 1 :])
