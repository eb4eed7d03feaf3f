"""Sliding windows: the geometry that convolutions and pools share."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from filigree.converter.lowering.builder import Refused
from filigree.converter.lowering.view import View
from filigree.converter.passes.graph import dims

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Height, then width, of everything; pads are of the beginning and the end."""

    size: Pair
    out: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    begin: Pair
    end: Pair

    @property
    def is_pointwise(self) -> bool:
        """One tap, stride 1, no padding."""
        return (*self.kernel, *self.stride, *self.begin, *self.end) == (1, 1, 1, 1, 0, 0, 0, 0)

    @property
    def covers_all(self) -> bool:
        """One position that reads every element of the input once."""
        return (
            self.out == (1, 1)
            and self.kernel == self.size
            and self.dilation == (1, 1)
            and not any((*self.begin, *self.end))
        )


def as_planes(x: View) -> View:
    """[N, C, L] or [N, C, H, W] as [N, C, H, W]. Raises Refused for any other rank."""
    if len(x.shape) == 3:
        return x.unsqueeze(2)
    if len(x.shape) != 4:
        raise Refused(f"input of rank {len(x.shape)}; one or two spatial dims are supported")
    return x


def window_of(node: ir.Node, x: View, kernel: tuple[int, ...]) -> Window:
    """The window of a node over ``x`` [N, C, H, W]; ``kernel`` has the node's own spatial rank.

    Raises Refused for attributes that contradict each other.
    """
    spatial = len(kernel)
    size = x.shape[4 - spatial :]
    out = dims(node.outputs[0])[2:]
    given = node.attributes.get_ints("kernel_shape", list(kernel))
    if tuple(given) != kernel:
        raise Refused(f"kernel_shape {list(given)}, weights {list(kernel)}")
    stride = _ints(node, "strides", spatial, default=1)
    dilation = _ints(node, "dilations", spatial, default=1)
    dilation = tuple(d if k > 1 else 1 for d, k in zip(dilation, kernel, strict=True))
    begin, end = _pads(node, size, out, kernel, stride, dilation)
    for axis in range(spatial):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if reach > size[axis] + begin[axis] + end[axis]:
            raise Refused(f"kernel reaches over {reach}, padded input has fewer")
    return Window(
        size=_pair(size, 1),
        out=_pair(out, 1),
        kernel=_pair(kernel, 1),
        stride=_pair(stride, 1),
        dilation=_pair(dilation, 1),
        begin=_pair(begin, 0),
        end=_pair(end, 0),
    )


def _ints(node: ir.Node, name: str, spatial: int, *, default: int) -> tuple[int, ...]:
    values = tuple(node.attributes.get_ints(name, [default] * spatial))
    if len(values) != spatial:
        raise Refused(f"{name} {list(values)} for {spatial} spatial dims")
    return values


def _pads(
    node: ir.Node,
    size: tuple[int, ...],
    out: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    spatial = len(kernel)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode == "VALID":
        return (0,) * spatial, (0,) * spatial
    if mode == "NOTSET":
        pads = node.attributes.get_ints("pads", [0] * (2 * spatial))
        if len(pads) != 2 * spatial:
            raise Refused(f"pads {list(pads)} for {spatial} spatial dims")
        return tuple(pads[:spatial]), tuple(pads[spatial:])
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise Refused(f'auto_pad "{mode}"')
    total = [
        max(0, (out[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - size[i])
        for i in range(spatial)
    ]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    begin, end = (less, more) if mode == "SAME_UPPER" else (more, less)
    return tuple(begin), tuple(end)


def _pair(values: tuple[int, ...], missing: int) -> Pair:
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])
