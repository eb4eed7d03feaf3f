"""Convolution and pooling in PyTorch, with ONNX's paddings.

ONNX pads before and after by different amounts, and may count windows that hang over the end;
PyTorch does neither, so both are made of explicit padding (shape letters: [N, C, *spatial]).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from filigree.converter.passes.graph import dims

CONV = {1: F.conv1d, 2: F.conv2d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d}
LARGEST = {1: F.max_pool1d, 2: F.max_pool2d}


@dataclass(frozen=True)
class Window:
    """Along each spatial axis; ``over``: what is needed after ``after`` for the last window."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    over: tuple[int, ...]

    def padding(self, *, over: bool) -> list[int]:
        """As torch.nn.functional.pad takes it: the last axis first."""
        found = []
        for i in reversed(range(len(self.kernel))):
            found += [self.before[i], self.after[i] + (self.over[i] if over else 0)]
        return found


def window(node: ir.Node, kernel: Sequence[int]) -> Window:
    """Raises ValueError for other than one or two spatial axes."""
    spatial = len(kernel)
    if spatial not in CONV:
        raise ValueError(f"{spatial} spatial axes")
    size, out = dims(_first(node))[2:], dims(node.outputs[0])[2:]
    attributes = node.attributes
    strides = tuple(attributes.get_ints("strides", [1] * spatial))
    dilations = tuple(attributes.get_ints("dilations", [1] * spatial))
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    spans = [(n - 1) * s + r for n, s, r in zip(out, strides, reach, strict=True)]
    mode = attributes.get_string("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = [max(0, span - n) for span, n in zip(spans, size, strict=True)]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
    else:
        pads = list(attributes.get_ints("pads", [])) if mode == "NOTSET" else []
        pads = pads or [0] * 2 * spatial
        before, after = pads[:spatial], pads[spatial:]
    whole = [b + n + a for b, n, a in zip(before, size, after, strict=True)]
    over = tuple(max(0, span - n) for span, n in zip(spans, whole, strict=True))
    return Window(tuple(kernel), strides, dilations, tuple(before), tuple(after), over)


def conv(node: ir.Node, opset: int) -> Callable[..., Tensor]:
    weight = node.inputs[1]
    assert weight is not None
    w = window(node, dims(weight)[2:])
    run, groups = CONV[len(w.kernel)], node.attributes.get_int("group", 1)
    even = w.before if w.before == w.after else None

    def apply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if even is None:
            x = F.pad(x, w.padding(over=False))
        return run(x, weight, bias, w.strides, even or 0, w.dilations, groups)

    return apply


def average_pool(node: ir.Node, opset: int) -> Callable[..., Tensor]:
    """The sum over a window by the number of cells that count: those of the input, and of the
    padding if ``count_include_pad``, never what hangs over."""
    w = window(node, node.attributes.get_ints("kernel_shape"))
    if any(d != 1 for d in w.dilations):
        raise ValueError("dilated windows")
    run, out = AVERAGE[len(w.kernel)], dims(node.outputs[0])[2:]
    padded = node.attributes.get_int("count_include_pad", 0) == 1
    size = dims(_first(node))[2:]
    counted = torch.ones(1, 1, *size)
    counted = F.pad(counted, w.padding(over=False), value=1.0 if padded else 0.0)
    counted = F.pad(counted, _only_over(w))
    share = _cropped(run(counted, w.kernel, w.strides), out)

    def apply(x: Tensor) -> Tensor:
        sums = run(F.pad(x, w.padding(over=True)), w.kernel, w.strides)
        return _cropped(sums, out) / share

    return apply


def max_pool(node: ir.Node, opset: int) -> Callable[..., Tensor]:
    w = window(node, node.attributes.get_ints("kernel_shape"))
    run, out = LARGEST[len(w.kernel)], dims(node.outputs[0])[2:]

    def apply(x: Tensor) -> Tensor:
        x = F.pad(x, w.padding(over=True), value=float("-inf"))
        return _cropped(run(x, w.kernel, w.strides, 0, w.dilations), out)

    return apply


def _only_over(w: Window) -> list[int]:
    found = []
    for over in reversed(w.over):
        found += [0, over]
    return found


def _cropped(x: Tensor, size: Sequence[int]) -> Tensor:
    """Without windows that ONNX does not count."""
    return x[(slice(None), slice(None), *(slice(n) for n in size))]


def _first(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value
