"""Bias correction: what rounding does to the mean of a layer's results, its bias takes back.

Empirical, layer by layer in the order of the graph, each behind the corrected ones before it
(Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019,
section 4.2, with data). Means over few samples are uncertain themselves, and a correction by chance
is noise: those of a layer are shrunk together by the share of their squares that their variance
explains (James and Stein's positive part, "Estimation with quadratic loss", 1961).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from filigree.converter.calibration import Data, Progress, Runner
from filigree.converter.passes.graph import constant, initializer
from filigree.converter.quantize.ranges import F64


def biases(
    exact: ir.Model,
    quantised: ir.Model,
    layers: Sequence[str],
    data: Data,
    *,
    progress: Progress | None = None,
) -> None:
    """Correct the int32 biases of ``layers`` in ``quantised``, in place. Layers without such a bias
    are left alone."""
    ours, theirs = ({n.name or "": n for n in m.graph} for m in (quantised, exact))
    names = [n for n in layers if _bias_of(ours[n]) is not None]
    wanted = _means(exact, [_result(theirs[n]) for n in names], data)
    for i, name in enumerate(names):
        result = _result(ours[name])
        found = _means(quantised, [result], data)[result]
        _shift(quantised, ours[name], certain(wanted[_result(theirs[name])] - found))
        if progress is not None:
            progress("correcting", (i + 1) / len(names))


def _result(node: ir.Node) -> str:
    return node.outputs[0].name or ""


def copy(source: ir.Model, target: ir.Model, layers: Sequence[str]) -> None:
    """Give ``layers`` of ``target`` the biases of the same network in another batch."""
    given = {n.name or "": n for n in source.graph}
    nodes = {n.name or "": n for n in target.graph}
    for name in layers:
        one, other = _bias_of(given[name]), _bias_of(nodes[name])
        if one is not None and other is not None and other.inputs[0] is not None:
            array = constant(one.inputs[0])
            assert array is not None
            other.replace_input_with(0, initializer(target, other.inputs[0], array))


def _means(model: ir.Model, values: Sequence[str], data: Data) -> dict[str, F64]:
    """The means of each value per sample and channel (axis 1): [samples, channels]."""
    runner = Runner(model, values)
    rows: dict[str, list[F64]] = {name: [] for name in values}
    for x in data.batches(runner.batch):
        for name, seen in zip(values, runner.run(x), strict=True):
            axes = tuple(range(2, seen.ndim))
            rows[name].append(seen.mean(axis=axes, dtype=np.float64))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def certain(shifts: F64) -> F64:
    """The mean of each column of [samples, channels], less what chance makes of all of them."""
    mean: F64 = shifts.mean(axis=0)
    if len(shifts) == 1 or not mean.any():
        return mean
    chance = shifts.var(axis=0, ddof=1) / len(shifts)
    shrunk: F64 = mean * max(0.0, 1 - float(chance.sum() / (mean**2).sum()))
    return shrunk


def _bias_of(node: ir.Node) -> ir.Node | None:
    """The DequantizeLinear of a layer's bias."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    maker = bias.producer() if bias is not None else None
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _shift(model: ir.Model, node: ir.Node, by: F64) -> None:
    maker = _bias_of(node)
    assert maker is not None and maker.inputs[0] is not None
    q, grid = constant(maker.inputs[0]), constant(maker.inputs[1])
    assert q is not None and grid is not None
    steps = np.rint(by / grid.astype(np.float64))
    total = np.clip(q.astype(np.float64) + steps, -(2**31) + 1, 2**31 - 1)
    maker.replace_input_with(0, initializer(model, maker.inputs[0], total.astype(np.int32)))
