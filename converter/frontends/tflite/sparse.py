"""TFLite's sparse tensors become dense: levels of dense axes and compressed rows, over blocks.

``block_map`` splits some of the dense axes: the last ``len(block_map)`` of the stored axes go
inside blocks of axis ``block_map[i]``. ``traversal_order`` says which of these axes each level
walks. A level of format DENSE has every index; one of SPARSE_CSR has, for each place of the levels
before it, the indices between two neighbouring segments (Kjolstad et al., "The tensor algebra
compiler", 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tflite as schema
from numpy.typing import NDArray

Array = NDArray[Any]
Ints = NDArray[np.int64]
FREE_PLACES = 1 << 20  # rows without values are possible, but not any number of them
VECTORS: dict[int, str] = {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"}


def expand(raw: Any, stored: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The dense array of ``shape``. ``stored``: the bytes of the values that are kept.

    Raises ValueError for metadata that contradicts itself, the shape or the values.
    """
    order, blocks = _ints(raw.TraversalOrderAsNumpy()), _ints(raw.BlockMapAsNumpy())
    levels = raw.DimMetadataLength()
    if len(order) > 2 * len(shape) or levels != len(order):
        raise ValueError(f"is sparse with {levels} levels, {len(order)} in their order")
    if sorted(order) != list(range(len(shape) + len(blocks))):
        raise ValueError(f"is sparse with levels {order}, of rank {len(shape)}, {blocks} in blocks")
    if any(not 0 <= axis < len(shape) for axis in blocks) or len(set(blocks)) != len(blocks):
        raise ValueError(f"is sparse with blocks of axes {blocks}, of rank {len(shape)}")
    metadata = [raw.DimMetadata(i) for i in range(levels)]
    sizes = _sizes(metadata, order, blocks, shape)
    if len(stored) % dtype.itemsize:
        raise ValueError(f"is sparse with {len(stored)} bytes of {dtype}")
    values = stored.view(dtype.newbyteorder("<"))
    places = np.zeros((1, 0), np.int64)
    for level, axis in zip(metadata, order, strict=True):
        places = _walk(level, places, sizes[axis], most=len(values))
    if len(places) != len(values):
        raise ValueError(f"is sparse with {len(values)} values in {len(places)} places")
    where = np.empty((levels, len(places)), np.int64)
    where[order] = places.T
    return _scatter(values, where, blocks, shape, sizes)


def _sizes(
    metadata: Sequence[Any], order: Sequence[int], blocks: Sequence[int], shape: Sequence[int]
) -> list[int]:
    """Of every stored axis: of the outer ones as many as there are blocks."""
    inner = {}
    for level, axis in zip(metadata, order, strict=True):
        if axis >= len(shape):
            if level.Format() != schema.DimensionType.DENSE:
                raise ValueError("is sparse inside its blocks")
            inner[axis] = level.DenseSize()
    sizes = [*shape, *(inner[axis] for axis in sorted(inner))]
    for i, axis in enumerate(blocks):
        size = sizes[len(shape) + i]
        if size < 1 or shape[axis] % size:
            raise ValueError(f"is sparse in blocks of {size} of {shape[axis]}")
        sizes[axis] = shape[axis] // size
    return sizes


def _walk(level: Any, places: Ints, size: int, *, most: int) -> Ints:
    """Every place of the levels so far, with every index that this level has there: [places, k]."""
    if level.Format() == schema.DimensionType.DENSE:
        if level.DenseSize() != size:
            raise ValueError(f"is sparse with a dense level of {level.DenseSize()} for {size}")
        counts = np.full(len(places), size, np.int64)
        if len(places) * size > max(FREE_PLACES, 4 * most):
            raise ValueError(f"is sparse with {len(places) * size} rows for {most} values")
        index = np.tile(np.arange(size), len(places))
    elif level.Format() == schema.DimensionType.SPARSE_CSR:
        counts, index = _compressed(level, len(places), size)
    else:
        raise ValueError(f"is sparse with a level of the unknown format {level.Format()}")
    return np.column_stack([np.repeat(places, counts, axis=0), index])


def _compressed(level: Any, places: int, size: int) -> tuple[Ints, Ints]:
    segments = _union(level.ArraySegmentsType(), level.ArraySegments(), "segments")
    index = _union(level.ArrayIndicesType(), level.ArrayIndices(), "indices")
    if len(segments) != places + 1:
        raise ValueError(f"is sparse with {len(segments)} segments for {places} rows")
    counts = np.diff(segments)
    if segments[0] != 0 or segments[-1] != len(index) or (counts < 0).any():
        raise ValueError(f"is sparse with segments that do not divide {len(index)} indices")
    if len(index) and (index.min() < 0 or index.max() >= size):
        raise ValueError(f"is sparse with an index outside of 0 to {size - 1}")
    rises = np.diff(index) > 0
    rises[segments[1:-1][(segments[1:-1] > 0) & (segments[1:-1] < len(index))] - 1] = True
    if not rises.all():
        raise ValueError("is sparse with indices that do not rise along their row")
    return counts, index


def _union(kind: int, raw: Any, what: str) -> Ints:
    if kind not in VECTORS or raw is None:
        raise ValueError(f"is sparse without {what}")
    table = getattr(schema, VECTORS[kind])()
    table.Init(raw.Bytes, raw.Pos)
    found = table.ValuesAsNumpy()
    return found.astype(np.int64) if isinstance(found, np.ndarray) else np.zeros(0, np.int64)


def _scatter(
    values: Array, where: Ints, blocks: Sequence[int], shape: tuple[int, ...], sizes: Sequence[int]
) -> Array:
    """``values`` at indices ``where`` [stored axes, values], zeros elsewhere."""
    full = list(where[: len(shape)])
    for i, axis in enumerate(blocks):
        full[axis] = full[axis] * sizes[len(shape) + i] + where[len(shape) + i]
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[np.ravel_multi_index(full, shape)] = values
    return dense.reshape(shape)


def _ints(raw: Any) -> list[int]:
    return [int(i) for i in raw[:64]] if isinstance(raw, np.ndarray) else []
