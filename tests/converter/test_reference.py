"""The float64 reference against plain numpy and scipy, and the runtime against the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal, special

from filigree.converter import activate, packfile, reference
from filigree.converter.lowering.plan import plan
from filigree.converter.lowering.program import (
    F32,
    Activation,
    ConvParams,
    MapParams,
    MatmulParams,
    Op,
    Place,
    PoolParams,
    Port,
    Program,
    ReduceParams,
    SoftmaxParams,
    Tensor,
    Weights,
)
from filigree.converter.sparsity import PATTERNS, pack
from filigree.converter.sparsity.pattern import encode
from filigree.native import enums as c
from filigree.native.model import Model, isas
from tests.converter import programs
from tests.kernels.harness import ACTS, activated, paint
from tests.kernels.windows import Window
from tests.native.tiny import sample

F64 = NDArray[np.float64]
FLAT = (1, 1, 1)
ALL_ACTS = (*ACTS, ("exp", 0.0, 0.0), ("sqrt", 0.0, 0.0))
WINDOWS = [
    Window(5, 7, 1, 1),
    Window(6, 6, 3, 3, top=1, left=1, bottom=1, right=1),
    Window(9, 8, 3, 2, 2, 3, top=1, bottom=2, right=1),
    Window(11, 10, 3, 3, 1, 2, 2, 3, left=3, right=2),
    Window(2, 3, 5, 5, 3, 2, top=4, left=3, bottom=4, right=3),
]


def act_of(act: tuple[str, float, float]) -> Activation:
    return Activation(getattr(c, f"FIL_ACT_{act[0].upper()}"), act[1], act[2])


def planes_copy(tensors: dict[str, Tensor], source: str, target: str) -> Op:
    """All of ``source`` to ``target``: as many planes and positions, other pitches."""
    a, b = tensors[source], tensors[target]
    sa, so = (0, 0, a.pitch, 1), (0, 0, b.pitch, 1)
    params = MapParams((1, 1, a.planes, a.positions), sa, (0, 0, 0, 0), so)
    return Op(c.FIL_OP_MAP, f"copy {source}", (source,), target, params)


def around(op: Op, shapes: Sequence[tuple[int, int, int]], out: tuple[int, int, int]) -> Program:
    """``op`` from arena planes "a0", "a1" that are copies of the inputs "x0", "x1" of ``shapes``,
    to arena planes "b" of shape ``out``, filled with -1 before and copied to "y" after. The planes
    of "a1" are LANES further apart than they need to be."""
    tensors = {"b": programs.planes("b", *out), "y": Tensor("y", out, 1, out[1] * out[2])}
    tensors["y"] = replace(tensors["y"], place=Place.OUTPUT)
    for i, shape in enumerate(shapes):
        tensors[f"x{i}"] = Tensor(f"x{i}", shape, 1, shape[1] * shape[2], Place.INPUT)
        planes = programs.planes(f"a{i}", *shape)
        tensors[f"a{i}"] = replace(planes, pitch=planes.pitch + i * programs.LANES)
    still = (0, 0, 0, 0)
    size = tensors["b"].planes * tensors["b"].pitch
    params = MapParams((1, 1, 1, size), still, still, (0, 0, 0, 1))
    fill = Op(c.FIL_OP_MAP, "fill", (), "b", params, Activation(lo=-1.0), c.FIL_MAP_FILL)
    copies = [planes_copy(tensors, f"x{i}", f"a{i}") for i in range(len(shapes))]
    ops = [fill, *copies, op, planes_copy(tensors, "b", "y")]
    return programs.program(list(tensors.values()), ops)


def with_weights(program: Program, matrix: F32) -> Program:
    bias = paint(matrix.shape[0], seed=5)
    return replace(program, weights={"w": Weights("layer", matrix, bias)})


def check(program: Program, want: F64, *, pattern: str = "dense", scale: float = 1.0) -> None:
    """The reference gives ``want`` at every stage; every instruction set gives it in float32.

    ``scale``: the sum of the magnitudes that one output adds up."""
    inputs = [paint(*port.shape, seed=i) for i, port in enumerate(program.inputs)]
    packed, _ = pack(program, costs=programs.COSTS, pattern=pattern)
    planned = plan(packed)
    data = packfile.encode(planned)
    (golden,) = reference.run(program, *inputs)
    assert golden.dtype == np.float64 and golden.shape == program.outputs[0].shape
    np.testing.assert_allclose(golden.reshape(want.shape), want, rtol=1e-12, atol=1e-12)
    for stage in (packed, planned, packfile.decode(data)):
        assert np.array_equal(reference.run(stage, *inputs)[0], golden)
    for isa in isas():
        got = Model(data, isa=isa).run(*inputs)
        np.testing.assert_allclose(got, golden, rtol=2e-6, atol=2e-6 * scale, err_msg=isa)


def correlated(x: F64, kernel: F64, w: Window) -> F64:
    """One channel under one kernel (kh, kw), by scipy: (out_h, out_w)."""
    grown = np.pad(x, ((w.top, w.bottom), (w.left, w.right)))
    dilated = np.zeros(((w.kh - 1) * w.dh + 1, (w.kw - 1) * w.dw + 1))
    dilated[:: w.dh, :: w.dw] = kernel
    found = signal.correlate2d(grown, dilated, mode="valid")
    return np.asarray(found[:: w.sh, :: w.sw])


def inputs_of(program: Program) -> list[F64]:
    """What ``check`` feeds, in float64 and storage order."""
    given = [paint(*port.shape, seed=i) for i, port in enumerate(program.inputs)]
    shapes = [program.tensors[port.tensor].shape for port in program.inputs]
    return [x.astype(np.float64).reshape(s) for x, s in zip(given, shapes, strict=True)]


def gapped(rows: int, cols: int, *, zeros: float) -> F32:
    """No weights in the first 4 rows but two columns far apart, which u8 steps have to bridge."""
    matrix = programs.sparse(rows, cols, zeros=zeros, block=4)
    matrix[:4] = 0
    matrix[:4, [3, cols - 10]] = paint(4, 2)
    return matrix


def test_gapped_has_bridges_and_both_codings() -> None:
    bias = np.zeros(12, np.float32)
    few, many = (encode(gapped(12, 600, zeros=zeros), bias, block_rows=4) for zeros in (0.99, 0.9))
    assert few.coding == c.FIL_CODING_U16
    assert (many.coding, many.bridges) == (c.FIL_CODING_D8, 2)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("zeros", [0.9, 0.99])
@pytest.mark.parametrize("residual", [False, True])
def test_spmm_with_offsets(pattern: str, zeros: float, residual: bool) -> None:
    """Reads channels 1 to 600 of 601, writes rows 2 to 13 of 15."""
    rows, cols, h, w = 12, 600, 3, 5
    matrix = gapped(rows, cols, zeros=zeros)
    pitch = programs.padded(h * w)
    op = Op(
        c.FIL_OP_SPMM,
        "layer",
        ("a0", "a1") if residual else ("a0",),
        "b",
        ConvParams(cols, h, w, h, w, pitch, w, 1),
        act_of(("clamp", -1.5, 2.0)),
        weights="w",
        x_offset=pitch,
        y_offset=3 * (pitch + programs.LANES) if residual else 0,
        out_offset=2 * pitch,
    )
    shapes = [(cols + 1, h, w), (rows + 3, h, w)][: 1 + residual]
    program = with_weights(around(op, shapes, (rows + 3, h, w)), matrix)
    x, *y = inputs_of(program)
    sums = np.einsum("rk,kyx->ryx", matrix.astype(np.float64), x[1:])
    sums += program.weights["w"].bias[:, None, None]
    want = np.full((rows + 3, h, w), -1.0)
    want[2 : 2 + rows] = np.clip(sums + (y[0][3:] if residual else 0), -1.5, 2.0)
    check(program, want, pattern=pattern, scale=10)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("layout", ["planar", "camera"])
def test_conv(window: Window, layout: str) -> None:
    channels, rows = 3, 9
    taps = window.kh * window.kw
    matrix = programs.sparse(rows, channels * taps, zeros=0.5, block=2)
    h, w = window.h, window.w
    strides = {"planar": (programs.padded(h * w), w, 1), "camera": (1, w * channels, channels)}
    cs, ys, xs = strides[layout]
    params = ConvParams(channels, cs=cs, ys=ys, xs=xs, **window.fields())
    op = Op(c.FIL_OP_CONV, "layer", ("a0",), "b", params, weights="w")
    # camera: one plane of (y, x, channel)
    shape = (channels, h, w) if layout == "planar" else (1, h, w * channels)
    program = with_weights(around(op, [shape], (rows, window.out_h, window.out_w)), matrix)
    (x,) = inputs_of(program)
    if layout == "camera":
        x = x.reshape(h, w, channels).transpose(2, 0, 1)
    kernels = matrix.astype(np.float64).reshape(rows, channels, window.kh, window.kw)
    sums = [
        sum(correlated(x[i], kernels[r, i], window) for i in range(channels)) for r in range(rows)
    ]
    want = np.array(sums, np.float64) + program.weights["w"].bias[:, None, None]
    for pattern in ("dense", "2x1"):
        check(program, want, pattern=pattern, scale=channels * taps)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_dwconv_with_residual(window: Window) -> None:
    channels, cs = 5, programs.padded(window.h * window.w)
    matrix = paint(channels, window.kh * window.kw, seed=3)
    params = ConvParams(channels, cs=cs, ys=window.w, xs=1, **window.fields())
    act = act_of(("hardswish", 1 / 6, 0.5))
    op = Op(c.FIL_OP_DWCONV, "layer", ("a0", "a1"), "b", params, act, weights="w")
    out = (channels, window.out_h, window.out_w)
    program = with_weights(around(op, [(channels, window.h, window.w), out], out), matrix)
    x, y = inputs_of(program)
    kernels = matrix.astype(np.float64).reshape(channels, window.kh, window.kw)
    sums = np.array([correlated(x[i], kernels[i], window) for i in range(channels)])
    sums += program.weights["w"].bias[:, None, None] + y
    want = activated(sums, ("hardswish", 1 / 6, 0.5))
    check(program, want, scale=window.kh * window.kw)


@pytest.mark.parametrize("act", ALL_ACTS, ids=lambda act: act[0])
@pytest.mark.parametrize("residual", [False, True])
def test_spmv_and_activations(act: tuple[str, float, float], residual: bool) -> None:
    """cols of 40 values from the third on; a residual from its second value on."""
    rows, cols = 21, 37
    matrix = programs.sparse(rows, cols, zeros=0.6)
    if act[0] == "sqrt":  # of positive sums
        matrix = np.zeros_like(matrix)
    op = Op(
        c.FIL_OP_SPMV,
        "layer",
        ("a0", "a1") if residual else ("a0",),
        "b",
        ConvParams(cols),
        act_of(act),
        weights="w",
        x_offset=2,
        y_offset=1 if residual else 0,
        out_offset=4,
    )
    shapes = [(1, 1, 40), (1, 1, 30)][: 1 + residual]
    program = with_weights(around(op, shapes, (1, 1, 30)), matrix)
    if act[0] == "sqrt":
        weights = replace(program.weights["w"], bias=np.arange(2, 2 + rows, dtype=np.float32))
        program = replace(program, weights={"w": weights})
    x, *y = (v.reshape(-1) for v in inputs_of(program))
    sums = matrix.astype(np.float64) @ x[2:39] + program.weights["w"].bias
    want = np.full(30, -1.0)
    want[4 : 4 + rows] = activated(sums + (y[0][1 : 1 + rows] if residual else 0), act)
    check(program, want, pattern="4x1", scale=20)


def pooled(x: F64, w: Window, mode: int, *, hang: int) -> F64:
    """One plane, cell by cell. The last ``hang`` rows and columns past the input never count."""
    found = np.zeros((w.out_h, w.out_w))
    for oy, ox in np.ndindex(w.out_h, w.out_w):
        values, padded = [], 0
        for ky, kx in np.ndindex(w.kh, w.kw):
            y, x_at = oy * w.sh + ky * w.dh - w.top, ox * w.sw + kx * w.dw - w.left
            padded += y < w.h + w.bottom - hang and x_at < w.w + w.right - hang
            if 0 <= y < w.h and 0 <= x_at < w.w:
                values.append(x[y, x_at])
        if values:
            counts = {c.FIL_POOL_AVG: len(values), c.FIL_POOL_AVG_PAD: padded}
            is_max = mode == c.FIL_POOL_MAX
            found[oy, ox] = max(values) if is_max else sum(values) / counts[mode]
    return found


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("mode", [c.FIL_POOL_MAX, c.FIL_POOL_AVG, c.FIL_POOL_AVG_PAD])
def test_pool(window: Window, mode: int) -> None:
    hang = 1 if min(window.bottom, window.right) else 0  # ceil mode
    params = PoolParams(
        3, mode=mode, pad_bottom=window.bottom - hang, pad_right=window.right - hang,
        **window.fields(),
    )  # fmt: skip
    pitch = programs.padded(window.h * window.w)
    op = Op(c.FIL_OP_POOL, "pool", ("a0",), "b", params, act_of(("abs", 0, 0)), x_offset=pitch)
    shape, out = (4, window.h, window.w), (3, window.out_h, window.out_w)
    program = around(op, [shape], out)
    (x,) = inputs_of(program)
    check(program, np.abs([pooled(plane, window, mode, hang=hang) for plane in x[1:]]))


def test_pool_window_without_a_tap_is_zero() -> None:
    window = Window(2, 2, 1, 1, 3, 3, top=3, left=3)
    for mode in (c.FIL_POOL_MAX, c.FIL_POOL_AVG, c.FIL_POOL_AVG_PAD):
        params = PoolParams(1, mode=mode, **window.fields())
        op = Op(c.FIL_OP_POOL, "pool", ("a0",), "b", params)
        program = around(op, [(1, 2, 2)], (1, 2, 2))
        check(program, np.array([[[0, 0], [0, inputs_of(program)[0][0, 0, 0]]]]))


MAPS: dict[str, Callable[[F64, F64], F64]] = {
    "COPY": lambda x, y: x,
    "ADD": lambda x, y: x + y,
    "SUB": lambda x, y: x - y,
    "MUL": lambda x, y: x * y,
    "DIV": lambda x, y: x / y,
    "MIN": lambda x, y: np.where(x < y, x, y),
    "MAX": lambda x, y: np.where(x > y, x, y),
    "PRELU": lambda x, y: np.where(x < 0, x * y, x),
}


@pytest.mark.parametrize("name", MAPS)
def test_map_permutes_and_broadcasts(name: str) -> None:
    """b[x, 1 + c, y] = fn(a0[c, y, x], a1[x]); plane 0 and the rows 0 stay filled."""
    channels, h, w = 3, 4, 5
    a, b = programs.padded(h * w), programs.padded((channels + 1) * h)
    operands = ("a0",) if name == "COPY" else ("a0", "a1")
    params = MapParams(
        (1, channels, h, w), (0, a, w, 1), (0, 0, 0, 1) if operands[1:] else (0,) * 4, (1, h, 1, b)
    )
    op = Op(
        c.FIL_OP_MAP, "map", operands, "b", params, act_of(("neg", 0, 0)),
        getattr(c, f"FIL_MAP_{name}"), y_offset=1 if operands[1:] else 0, out_offset=b + h,
    )  # fmt: skip
    shapes = [(channels, h, w), (1, 1, w + 1)][: len(operands)]
    program = around(op, shapes, (w + 1, channels + 1, h))
    x, *y = inputs_of(program)
    second = y[0].reshape(-1)[1:] if y else np.zeros(w)
    want = np.full((w + 1, channels + 1, h), -1.0)
    want[1:, 1:] = -MAPS[name](x, second).transpose(2, 0, 1)
    check(program, want)


def test_map_in_place() -> None:
    params = MapParams((1, 1, 1, 8), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 1))
    twice = Op(c.FIL_OP_MAP, "twice", ("b", "b"), "b", params, fn=c.FIL_MAP_ADD)
    check(around(twice, [FLAT], (1, 1, 8)), np.full(8, -2.0))


@pytest.mark.parametrize("name", ["MEAN", "SUM", "MAX"])
def test_reduce(name: str) -> None:
    """Rows 1 to 3 of every plane, over x or over y."""
    channels, h, w = 3, 4, 5
    pitch = programs.padded(h * w)
    functions: dict[str, Callable[..., F64]] = {"MEAN": np.mean, "SUM": np.sum, "MAX": np.max}
    code = getattr(c, f"FIL_REDUCE_{name}")
    act = act_of(("leakyrelu", 0.25, 0))
    over_x = ReduceParams(channels, w, 3, pitch, 1, w, 16, 1, code)
    over_y = ReduceParams(channels, 3, w, pitch, w, 1, 16, 1, code)
    for params, axis, n in ((over_x, 2, 3), (over_y, 1, w)):
        op = Op(c.FIL_OP_REDUCE, "reduce", ("a0",), "b", params, act, x_offset=w)
        program = around(op, [(channels, h, w)], (channels, 1, n))
        found = functions[name](inputs_of(program)[0][:, 1:], axis=axis)
        check(program, np.where(found < 0, 0.25 * found, found))


@pytest.mark.parametrize("axis", [0, 2])
def test_softmax(axis: int) -> None:
    channels, h, w = 3, 2, 5
    pitch = programs.padded(h * w)
    params = {
        0: SoftmaxParams(1, channels, h * w, 0, pitch, 1),
        2: SoftmaxParams(channels, w, h, pitch, 1, w),
    }[axis]
    op = Op(c.FIL_OP_SOFTMAX, "softmax", ("a0",), "b", params)
    program = around(op, [(channels, h, w)], (channels, h, w))
    check(program, np.asarray(special.softmax(inputs_of(program)[0], axis=axis)))


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul(transposed: bool) -> None:
    """Two heads of A [m, k], or A [k, m] read backwards, by one B [k, n]."""
    batch, m, n, k = 2, 3, 7, 5
    pa, pb, pc = (programs.padded(size) for size in (m * k, k * n, m * n))
    am, ak = (1, m) if transposed else (k, 1)
    params = MatmulParams(batch, m, n, k, pa, am, ak, 0, n, pc, n)
    act = act_of(("clamp", 0, math.inf))
    op = Op(c.FIL_OP_MATMUL, "matmul", ("a0", "a1"), "b", params, act, y_offset=pb + programs.LANES)
    shape = (batch, k, m) if transposed else (batch, m, k)
    program = around(op, [shape, (2, k, n)], (batch, m, n))
    a, b = inputs_of(program)
    letters = "bkm,kn->bmn" if transposed else "bmk,kn->bmn"
    check(program, np.maximum(np.einsum(letters, a, b[1]), 0), scale=k)


def test_every_row_of_the_lists_is_covered() -> None:
    assert sorted(reference._KINDS) == list(range(c.FIL_OP_COUNT))
    assert sorted(activate._ACTIVATIONS) == list(range(c.FIL_ACT_COUNT))
    rest = {c.FIL_MAP_COPY, c.FIL_MAP_FILL}
    assert sorted(reference._MAPS.keys() | rest) == list(range(c.FIL_MAP_COUNT))


def test_a_program_of_every_op() -> None:
    data = sample().encode()
    x = paint(1, 3, 4, 4)
    (golden,) = reference.run(packfile.decode(data), x)
    for isa in isas():
        np.testing.assert_allclose(Model(data, isa=isa).run(x), golden, rtol=1e-5, atol=1e-6)


def test_inner_tensors_are_those_of_the_runtime() -> None:
    """Any tensor can be asked for; padding is left out."""
    program = packfile.decode(sample().encode())
    assert program.plan is not None
    # of tensors in the same bytes, the runtime has the one that was written last
    kept = {at: name for name, at in program.plan.offsets.items()}.values()
    assert len(kept) == 8
    ports = tuple(Port(name, name, program.tensors[name].shape) for name in kept)
    x = paint(1, 3, 4, 4)
    golden = reference.run(replace(program, outputs=ports), x)
    model = Model(sample().encode())
    model.run(x)
    index = {name: i for i, name in enumerate(program.tensors)}
    for name, value in zip(kept, golden, strict=True):
        np.testing.assert_allclose(model.tensor(index[name]), value, atol=1e-5, err_msg=name)


def test_inputs_and_constants_can_be_asked_for() -> None:
    program = programs.two_layers()
    outputs = (Port("in", "x", (8, 8)), Port("const", "shift", (48,)), *program.outputs)
    x = np.arange(64)
    given, shift, y = reference.run(replace(program, outputs=outputs), x)
    assert np.array_equal(given, x.reshape(8, 8))
    assert np.array_equal(shift, np.linspace(-1, 1, 48, dtype=np.float32))
    assert y.shape == (1, 10)


def test_results_do_not_share_memory() -> None:
    program = programs.two_layers()
    x = np.zeros(64)
    twice = replace(program, outputs=program.outputs * 2 + (Port("in", "x", (64,)),))
    first, second, given = reference.run(twice, x)
    first[:], given[:] = 7, 7
    assert not (second == 7).any() and not x.any()


def test_an_encoding_bug_shows() -> None:
    packed = programs.packed(programs.two_layers())
    weights = packed.weights["w2"]
    assert weights.packing is not None
    wrong = replace(weights.packing, values=-weights.packing.values)
    damaged = replace(packed, weights={**packed.weights, "w2": replace(weights, packing=wrong)})
    x = paint(64)
    assert np.array_equal(reference.run(damaged, x)[0], -reference.run(packed, x)[0])


def test_reading_padding_shows() -> None:
    """The largest of two planes' 16 elements each, of which 15 are positions."""
    params = ReduceParams(1, 32, 1, 0, 1, 0, 1, 1, c.FIL_REDUCE_MAX)
    op = Op(c.FIL_OP_REDUCE, "reduce", ("a0",), "b", params)
    program = around(op, [(2, 3, 5)], FLAT)
    assert np.isnan(reference.run(program, paint(2, 3, 5))[0]).all()


@pytest.mark.parametrize("field", ["x_offset", "out_offset"])
def test_an_access_outside_a_tensor_is_refused(field: str) -> None:
    name = {"x_offset": "x", "out_offset": "hidden"}[field]
    program = programs.two_layers()
    for offset in (1, -1):
        wrong: Any = {field: offset}
        ops = (replace(program.ops[0], **wrong), *program.ops[1:])
        with pytest.raises(ValueError, match=f'op "fc1" reaches outside tensor "{name}"'):
            reference.run(replace(program, ops=ops), np.zeros(64))


@dataclass(frozen=True)
class Refusal:
    inputs: tuple[Any, ...]
    text: str


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal((), 'expected 1 inputs ("x"), got 0'),
        Refusal((np.zeros(64), 1), 'expected 1 inputs ("x"), got 2'),
        Refusal((np.zeros((1, 63)),), 'input "x": expected shape [1, 64], got [1, 63]'),
        Refusal((np.array(["a"] * 64),), 'input "x": expected numbers, got dtype <U1'),
    ],
)
def test_wrong_inputs_are_refused(refusal: Refusal) -> None:
    with pytest.raises(ValueError) as error:
        reference.run(programs.two_layers(), *refusal.inputs)
    assert str(error.value) == refusal.text
