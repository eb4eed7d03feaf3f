"""Calibration data, and what a network's layers see when it runs on them.

Layers are run by ONNX Runtime on the graph as it stands, a batch at a time; per layer only sums are
kept, so that memory does not grow with the data.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter.errors import BadFile, ToolMissing, UsageError
from filigree.converter.layout import is_channels_last
from filigree.converter.lowering.program import F32
from filigree.converter.passes.graph import constant, dims
from filigree.converter.sparsity.axes import is_layer
from filigree.converter.sparsity.layer import F64

Progress = Callable[[str, float], None]
BROKEN = (zipfile.BadZipFile, zlib.error)
MOST_COLUMNS = 4096  # positions of one sample that a layer with taps contributes


@dataclass(frozen=True)
class Data:
    """``x`` [N, ...] float32, as the model takes it but for the batch axis; ``y`` [N] labels."""

    x: F32
    y: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, size: int) -> Iterator[F32]:
        """Whole batches of ``size``; what does not fill one is left out."""
        for start in range(0, len(self.x) - size + 1, size):
            yield self.x[start : start + size]


def load(path: Path, *, shape: tuple[int, ...], most: int | None = None) -> Data:
    """Samples of ``shape`` (the model's input without its batch axis) from an .npz or .npy file.

    An .npz's first array whose rows have ``shape`` (or, for images, the other layout's) is the
    data; an integer array of as many rows named y or labels is the labels. ``most``: use the first
    so many.
    Raises BadFile for a file of another kind, UsageError for data that does not fit, with every
    problem at once.
    """
    arrays = _arrays(path)
    x = _samples(arrays, shape, path)
    problems = []
    if not np.isfinite(x).all():
        bad = int(np.count_nonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1)))
        problems.append(f"{bad} of {len(x)} samples hold values that are not finite")
    if len(x) == 0:
        problems.append("it has no samples")
    if problems:
        raise UsageError(f"{path.name} cannot be used as data", problems)
    return Data(x[:most], _labels(arrays, len(x), most))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"x": found}
        with found:
            return {name: found[name] for name in found.files}
    except (*BROKEN, ValueError, OSError, EOFError, KeyError, NotImplementedError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadFile(f"{path.name} is not an .npz or .npy file of numbers", [problem]) from error


def _samples(arrays: Mapping[str, NDArray[Any]], shape: tuple[int, ...], path: Path) -> F32:
    numeric = {k: v for k, v in arrays.items() if v.ndim > 1 and v.dtype.kind in "fiu"}
    for array in numeric.values():
        if array.shape[1:] == shape:
            return _float32(array)
    for turn in ((0, 3, 1, 2), (0, 2, 3, 1)) if len(shape) == 3 else ():
        for array in numeric.values():
            if array.ndim == 4 and tuple(array.shape[a] for a in turn[1:]) == shape:
                return _float32(array.transpose(turn))
    for array in numeric.values():
        if math.prod(array.shape[1:]) == math.prod(shape):
            return _float32(array.reshape(len(array), *shape))
    wanted = "x".join(map(str, shape))
    lines = [f"{k}: {'x'.join(map(str, v.shape)) or 'scalar'} {v.dtype}" for k, v in arrays.items()]
    raise UsageError(f"no array in {path.name} has samples of {wanted}", lines)


def _float32(array: NDArray[Any]) -> F32:
    with np.errstate(over="ignore"):  # what becomes infinite is found as not finite
        return np.ascontiguousarray(array, np.float32)


def _labels(
    arrays: Mapping[str, NDArray[Any]], count: int, most: int | None
) -> NDArray[np.int64] | None:
    for name in ("y", "labels", "label", "y12"):
        array = arrays.get(name)
        if array is not None and array.shape == (count,) and array.dtype.kind in "iu":
            return array[:most].astype(np.int64)
    return None


def prepared(data: Data, *, mean: Sequence[float], scale: Sequence[float]) -> Data:
    """(x - mean) / scale, per channel (axis 1, or the last of images that have theirs there) or one
    for all.

    Raises UsageError for another number of values than channels, and for a scale of 0.
    """
    if not mean and not scale:
        return data
    axis = 3 if is_channels_last(data.x.shape) else 1
    rank, channels = data.x.ndim, data.x.shape[axis]
    problems = [
        f"--{name} has {len(values)} values, the data {channels} channels"
        for name, values in (("mean", mean), ("scale", scale))
        if len(values) not in (0, 1, channels)
    ]
    if 0 in scale:
        problems.append("--scale must not be 0")
    if problems:
        raise UsageError("the data cannot be normalised like that", problems)

    def per_channel(values: Sequence[float], missing: float) -> F32:
        array = np.array(values or [missing], np.float32)
        return array.reshape([-1 if a == axis else 1 for a in range(1, rank)])

    return replace(data, x=(data.x - per_channel(mean, 0)) / per_channel(scale, 1))


class Runner:
    """A graph of one input in ONNX Runtime, with the values asked for as outputs.

    Raises UsageError for another number of inputs, and for what ONNX Runtime cannot run.
    """

    def __init__(self, model: ir.Model, values: Sequence[str] = ()) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise ToolMissing(
                "onnxruntime is not installed", hint="pip install filigree[convert]"
            ) from error
        if len(model.graph.inputs) != 1:
            names = [f'"{value.name}"' for value in model.graph.inputs]
            raise UsageError("data can be given to models of one input only", names)
        self.batch = dims(model.graph.inputs[0])[0]
        proto = ir.serde.serialize_model(model)
        if values:  # and nothing else: what they do not need is not run
            del proto.graph.output[:]
            for name in dict.fromkeys(values):
                proto.graph.output.add(name=name)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        with _told_by_runtime():
            self.session = ort.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        self.values = list(values) or [model.graph.outputs[0].name or ""]
        self._input = self.session.get_inputs()[0].name

    def run(self, x: F32) -> list[F32]:
        """The values for one batch."""
        with _told_by_runtime():
            return [np.asarray(v) for v in self.session.run(self.values, {self._input: x})]


@contextlib.contextmanager
def _told_by_runtime() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # it raises types of its own, which have no base
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError("ONNX Runtime cannot run the model", [problem]) from error


@dataclass(frozen=True)
class Moments:
    """Per layer, over all columns x that it saw: ``gram`` = mean of x x^T, ``mean`` of x; and
    ``cross`` = mean of (the other network's x) x^T, where there is another."""

    gram: F64
    mean: F64
    cross: F64 | None = None
    other_mean: F64 | None = None


def layers_of(model: ir.Model) -> list[ir.Node]:
    """Layers with a weight matrix, in order."""
    return [node for node in model.graph if is_layer(node)]


def moments(
    model: ir.Model,
    nodes: Sequence[str],
    data: Data,
    *,
    other: ir.Model | None = None,
    progress: Progress | None = None,
) -> dict[str, Moments]:
    """What the layers named ``nodes`` see; ``other``: the same network with other weights.

    Raises UsageError if the data does not fill one batch.
    """
    found = {n.name or "": n for n in layers_of(model) if n.name in set(nodes)}
    inputs = {name: node.inputs[0].name or "" for name, node in found.items() if node.inputs[0]}
    values = list(dict.fromkeys(inputs.values()))
    mine, theirs = Runner(model, values), Runner(other, values) if other is not None else None
    if len(data) < mine.batch:
        raise UsageError(f"the model takes {mine.batch} samples at once, the data has {len(data)}")
    sums: dict[str, _Sums] = {}
    count = len(data) // mine.batch
    for i, x in enumerate(data.batches(mine.batch)):
        seen = dict(zip(values, mine.run(x), strict=True))
        compared = dict(zip(values, theirs.run(x), strict=True)) if theirs is not None else None
        for name, node in found.items():
            columns = columns_of(node, seen[inputs[name]])
            pair = columns_of(node, compared[inputs[name]]) if compared is not None else None
            sums.setdefault(name, _Sums()).add(columns, pair)
        if progress is not None:
            progress("calibrating", (i + 1) / max(1, count))
    return {name: total.moments() for name, total in sums.items()}


class _Sums:
    def __init__(self) -> None:
        self.count = 0
        self.gram: Any = 0.0
        self.total: Any = 0.0
        self.cross: Any = None
        self.other_total: Any = None

    def add(self, x: F32, other: F32 | None) -> None:
        """``x`` [cols, n]; ``other``: the same columns in the other network."""
        self.count += x.shape[1]
        self.gram = self.gram + (x @ x.T).astype(np.float64)
        self.total = self.total + x.sum(axis=1, dtype=np.float64)
        if other is not None:
            product = (other @ x.T).astype(np.float64)
            total = other.sum(axis=1, dtype=np.float64)
            self.cross = product if self.cross is None else self.cross + product
            self.other_total = total if self.other_total is None else self.other_total + total

    def moments(self) -> Moments:
        n = max(1, self.count)
        cross = None if self.cross is None else self.cross / n
        other = None if self.other_total is None else self.other_total / n
        return Moments(self.gram / n, self.total / n, cross, other)


def columns_of(node: ir.Node, x: F32) -> F32:
    """What the weight matrix of a layer is multiplied with: [cols, samples x positions].

    A grouped convolution's groups share one matrix width, so their columns are put side by side.
    """
    if node.op_type != "Conv":
        flat = x.reshape(-1, x.shape[-1])
        if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) == 1:
            flat = x.T
        return np.ascontiguousarray(flat.T)
    weight = constant(node.inputs[1])
    assert weight is not None
    return _taps(node, x, weight.shape[2:], weight.shape[1])


def _taps(node: ir.Node, x: F32, kernel: tuple[int, ...], taken: int) -> F32:
    spatial = len(kernel)
    strides = node.attributes.get_ints("strides", [1] * spatial)
    dilations = node.attributes.get_ints("dilations", [1] * spatial)
    padded = np.pad(x, [(0, 0), (0, 0), *_pads(node, x.shape[2:], kernel, strides, dilations)])
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, tuple(range(2, 2 + spatial)))
    whole = [slice(None)] * 2
    steps = [slice(None, None, step) for step in (*strides, *dilations)]
    taps = windows[(*whole, *steps)]
    n, channels, *rest = taps.shape
    positions = int(np.prod(rest[:spatial]))
    groups = channels // taken
    moved = taps.reshape(n, groups, taken, positions, -1)
    if positions > MOST_COLUMNS and int(np.prod(kernel)) > 1:
        moved = moved[:, :, :, :: -(-positions // MOST_COLUMNS)]
    columns = moved.transpose(2, 4, 0, 1, 3)
    return np.ascontiguousarray(columns.reshape(taken * int(np.prod(kernel)), -1))


def _pads(
    node: ir.Node,
    size: tuple[int, ...],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    spatial = len(kernel)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = node.attributes.get_ints("pads", [0] * 2 * spatial) if mode == "NOTSET" else []
        pads = list(pads) or [0] * 2 * spatial
        return [(pads[i], pads[spatial + i]) for i in range(spatial)]
    found = []
    for i in range(spatial):
        out = -(-size[i] // strides[i])
        total = max(0, (out - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - size[i])
        less, more = total // 2, total - total // 2
        found.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return found


def accuracy(model: ir.Model, data: Data, *, offset: int = 0) -> float:
    """Share of samples whose largest output is the label (plus ``offset``), in per cent.

    A last batch that is not full is filled up with copies of the last sample.
    """
    if data.y is None:
        raise UsageError("the data has no labels (an integer array y)")
    runner = Runner(model)
    right = 0
    for start in range(0, len(data), runner.batch):
        x, y = data.x[start : start + runner.batch], data.y[start : start + runner.batch]
        filled = np.concatenate([x, *[x[-1:]] * (runner.batch - len(x))])
        scores = runner.run(filled)[0].reshape(runner.batch, -1)[: len(x)]
        right += int(np.count_nonzero(scores.argmax(axis=1) == y + offset))
    return 100 * right / len(data)
