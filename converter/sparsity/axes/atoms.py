"""Every index of every axis is an atom; rules of operators tie atoms together or pin them.

Atoms that are tied form a class: one channel, wherever it appears. Classes that appear on the same
axes, equally often, and whose appearances are tied in the same way, can be exchanged for each
other: they form a variable.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from filigree.converter.passes.graph import dims

Ints = NDArray[np.int64]


@dataclass
class Atoms:
    """``axes``: first atom and count of each axis, by (name, axis); ``names`` that no value has are
    groups of a grouped convolution."""

    axes: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    count: int = 0
    _ties: list[tuple[Ints, Ints]] = field(default_factory=list)
    _pins: list[tuple[Ints, str]] = field(default_factory=list)

    def axis(self, name: str, axis: int, size: int) -> Ints:
        """The atoms of an axis."""
        if (name, axis) not in self.axes:
            self.axes[name, axis] = (self.count, size)
            self.count += size
        start, _ = self.axes[name, axis]
        return np.arange(start, start + size)

    def of(self, value: ir.Value, axis: int) -> Ints:
        """The atoms of axis ``axis`` (may be negative) of a value."""
        shape = shape_of(value)
        axis %= len(shape)
        return self.axis(value.name or "", axis, shape[axis])

    def tie(self, a: Ints, b: Ints) -> None:
        """Atom ``a[i]`` is the channel that ``b[i]`` is. Both of one length."""
        if a.shape != b.shape:
            raise ValueError(f"{a.size} channels cannot be {b.size} channels")
        self._ties.append((a, b))

    def pin(self, atoms: Ints, reason: str) -> None:
        """These atoms stay where they are."""
        self._pins.append((atoms, reason))

    def classes(self) -> Ints:
        """The class number of every atom."""
        if not self._ties:
            return np.arange(self.count)
        a = np.concatenate([x for x, _ in self._ties])
        b = np.concatenate([y for _, y in self._ties])
        graph = coo_array((np.ones(a.size, bool), (a, b)), shape=(self.count, self.count))
        return np.asarray(connected_components(graph, directed=False)[1], np.int64)

    def exchangeable(self, classes: Ints) -> list[Ints]:
        """Sets of two classes or more that can be exchanged for each other.

        The n-th appearance of a class on an axis takes the place of the other's n-th; so they must
        appear on the same axes (those of one index, too: that one channel is meant), equally often,
        and their appearances must be tied to each other in the same way.
        """
        axis, nth = self._appearances(classes)
        count = int(classes.max(initial=-1)) + 1
        seen = _by_class(classes, np.stack([axis, nth], axis=1), count)
        a = np.concatenate([x for x, _ in self._ties]) if self._ties else np.zeros(0, np.int64)
        b = np.concatenate([y for _, y in self._ties]) if self._ties else np.zeros(0, np.int64)
        tied = _by_class(classes[a], np.stack([axis[a], nth[a], axis[b], nth[b]], axis=1), count)
        alike: dict[tuple[bytes, bytes], list[int]] = {}
        for number, signature in enumerate(zip(seen, tied, strict=True)):
            alike.setdefault(signature, []).append(number)
        return [np.array(members, np.int64) for members in alike.values() if len(members) > 1]

    def _appearances(self, classes: Ints) -> tuple[Ints, Ints]:
        """For each atom the number of its axis, and how often its class was on that axis before."""
        axis = np.repeat(np.arange(len(self.axes)), [size for _, size in self.axes.values()])
        order = np.lexsort((np.arange(self.count), classes, axis))
        first = np.ones(self.count, bool)
        first[1:] = (np.diff(axis[order]) != 0) | (np.diff(classes[order]) != 0)
        begins = np.maximum.accumulate(np.where(first, np.arange(self.count), 0))
        nth = np.empty(self.count, np.int64)
        nth[order] = np.arange(self.count) - begins
        return axis, nth

    def pinned(self, classes: Ints) -> dict[int, str]:
        """Pinned classes and the first reason for each."""
        found: dict[int, str] = {}
        for atoms, reason in self._pins:
            for number in np.unique(classes[atoms]):
                found.setdefault(int(number), reason)
        return found


def _by_class(classes: Ints, rows: Ints, count: int) -> list[bytes]:
    """The set of ``rows`` [n, k] that belong to each of ``count`` classes, as bytes."""
    found = np.unique(np.column_stack([classes, rows]), axis=0)
    ends = np.searchsorted(found[:, 0], np.arange(count + 1))
    return [found[i:k, 1:].tobytes() for i, k in itertools.pairwise(ends)]


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The static shape of a value, constants included."""
    if value.shape is None and value.const_value is not None:
        return tuple(int(dim) for dim in value.const_value.numpy().shape)
    return dims(value)
