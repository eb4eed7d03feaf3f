"""ONNX's own backend node tests, sorted into those that apply and those that do not, with reasons.

A case applies if every operator in it is supported, every shape is static and its data is float32.
Inputs that a deployed network has as constants (weights, statistics, bounds, shapes, axes) are
made initializers; everything else stays an input.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

# operator -> inputs that are constants in a deployed network ("rest": all but the first)
CONSTANT_INPUTS: dict[str, str | tuple[int, ...]] = {
    "BatchNormalization": "rest",
    "Clip": "rest",
    "Conv": "rest",
    "Dropout": "rest",
    "Pad": "rest",
    "ReduceMax": "rest",
    "ReduceMean": "rest",
    "ReduceSum": "rest",
    "Reshape": "rest",
    "Slice": "rest",
    "Split": "rest",
    "Squeeze": "rest",
    "Unsqueeze": "rest",
    "DequantizeLinear": (0, 1, 2),
}


@dataclass(frozen=True)
class Case:
    """A test to run: model with constants inlined, its inputs and expected outputs."""

    name: str
    op: str
    model: onnx.ModelProto
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    rtol: float
    atol: float


@dataclass(frozen=True)
class LeftOut:
    """A test of a supported operator that does not apply, and why."""

    name: str
    op: str
    reason: str


def _ops(graph: onnx.GraphProto) -> set[str]:
    return {
        n.op_type if n.domain in ("", "ai.onnx") else f"{n.domain}.{n.op_type}" for n in graph.node
    }


def _arrays(values: Any) -> tuple[np.ndarray, ...] | None:
    """The data set's values as arrays; None if one is a sequence, a map or absent."""
    if any(not isinstance(v, np.ndarray | np.generic) for v in values):
        return None
    return tuple(np.asarray(v) for v in values)


def _static(graph: onnx.GraphProto) -> bool:
    return all(
        d.WhichOneof("value") == "dim_value"
        for v in (*graph.input, *graph.output)
        for d in v.type.tensor_type.shape.dim
    )


def _baked(graph: onnx.GraphProto) -> set[str]:
    """Names of graph inputs that become constants."""
    names: set[str] = set()
    for node in graph.node:
        which = CONSTANT_INPUTS.get(node.op_type, ())
        picked = range(1, len(node.input)) if which == "rest" else which
        names |= {node.input[i] for i in picked if i < len(node.input)}
    return names


def _sort(test: Any, supported: set[str]) -> Case | LeftOut | None:
    graph = test.model.graph
    ops = _ops(graph)
    if not ops <= supported:
        return None
    op = graph.node[0].op_type if len(graph.node) == 1 else "+".join(sorted(ops))
    if len(test.data_sets) != 1:
        return LeftOut(test.name, op, f"has {len(test.data_sets)} data sets")
    inputs, outputs = (_arrays(v) for v in test.data_sets[0])
    if inputs is None or outputs is None:
        return LeftOut(test.name, op, "data is not plain tensors")
    if not _static(graph):
        return LeftOut(test.name, op, "shapes are not static")
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    baked = _baked(graph)
    live = []
    for value, array in zip(graph.input, inputs, strict=True):
        if value.name in baked:
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
            model.graph.input.remove(next(i for i in model.graph.input if i.name == value.name))
        else:
            live.append(array)
    kinds = sorted({str(a.dtype) for a in (*live, *outputs)} - {"float32"})
    if kinds:
        return LeftOut(test.name, op, f"data is {', '.join(kinds)}")
    if any(a.size == 0 for a in (*live, *outputs)):
        return LeftOut(test.name, op, "a tensor has no elements")
    if not live:
        return LeftOut(test.name, op, "nothing is left to compute: the output is a constant")
    return Case(test.name, op, model, tuple(live), outputs, test.rtol, test.atol)


@cache
def _sorted() -> tuple[Case | LeftOut, ...]:
    """Every case of supported operators; the rest of the suite is other operators."""
    from onnx.backend.test.case.node import collect_testcases

    from filigree.converter.lowering import supported_ops

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = collect_testcases("")
    found = [_sort(t, set(supported_ops())) for t in tests if t.model is not None]
    return tuple(c for c in found if c is not None)


def collect() -> tuple[tuple[Case, ...], tuple[LeftOut, ...]]:
    """The cases to run, and those left out with reasons."""
    cases = tuple(c for c in _sorted() if isinstance(c, Case) and c.name not in REFUSED)
    out = [c for c in _sorted() if isinstance(c, LeftOut)]
    out += [LeftOut(c.name, c.op, REFUSED[c.name]) for c in refused()]
    return cases, tuple(sorted(out, key=lambda c: (c.op, c.name)))


def refused() -> list[Case]:
    """Cases that apply but for a form that the converter refuses."""
    return [c for c in _sorted() if isinstance(c, Case) and c.name in REFUSED]


# Forms of a supported operator that the converter refuses by name, with its reason.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            "test_averagepool_3d_default",
            "test_averagepool_3d_dilations_small",
            *(
                f"test_averagepool_3d_dilations_large_count_include_pad_is_{pad}_ceil_mode_is_{ceil}"
                for pad in (0, 1)
                for ceil in (True, False)
            ),
            "test_maxpool_3d_default",
            "test_maxpool_3d_dilations",
            "test_maxpool_3d_dilations_use_ref_impl",
            "test_maxpool_3d_dilations_use_ref_impl_large",
        ),
        "three spatial dims",
    ),
    **dict.fromkeys(
        (
            "test_batchnorm_example_training_mode",
            "test_batchnorm_epsilon_training_mode",
            "test_training_dropout",
            "test_training_dropout_default",
        ),
        "training mode",
    ),
    **dict.fromkeys(
        ("test_pow", "test_pow_example", "test_pow_bcast_scalar", "test_pow_bcast_array"),
        "the exponent is not one of the constants 0.5, 1, 2",
    ),
    "test_slice_neg_steps": "a negative step",
}
