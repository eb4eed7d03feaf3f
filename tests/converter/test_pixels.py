"""Images as cameras give them: bytes, interleaved, normalised inside the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from filigree.converter import ConvertOptions, convert
from filigree.converter.errors import UnsupportedModel
from filigree.converter.lowering.program import ConvParams, Program
from filigree.native import enums as c
from filigree.native.model import Model, isas
from tests.converter.small import assert_close, model, onnx_runtime

MEAN, SCALE = np.float32([123.7, 116.3, 103.5]), np.float32([58.4, 57.1, 57.4])
W = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)
CONV = "y = Conv<pads=[1,1,1,1], strides=[2,2]>(t, w)"
TURN = "t = Transpose<perm=[0,3,1,2]>(b)"
NHWC = {
    "divided": ("f = Cast<to=1>(x)", "a = Sub(f, m)", "b = Div(a, s)", TURN),
    "turned around": ("f = Cast<to=1>(x)", "a = Sub(m, f)", "b = Mul(a, s)", TURN),
    "turned first": ("f = Cast<to=1>(x)", "a = Transpose<perm=[0,3,1,2]>(f)", "t = Mul(a, k)"),
    "as they are": ("b = Cast<to=1>(x)", TURN),
}


def image_model(*nodes: str, shape: tuple[int, ...]) -> onnx.ModelProto:
    known = {"m": MEAN, "s": SCALE, "w": W, "k": np.float32([1 / 127.5])}
    used = {k: v for k, v in known.items() if any(f"{k})" in n or f"({k}," in n for n in nodes)}
    proto = model(*nodes, inputs={"x": shape}, **used)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return proto


def photo(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def kinds(program: Program) -> list[int]:
    """The kinds of its operations; the copy to the caller's buffer left out."""
    return [op.kind for op in program.ops if op.kind != c.FIL_OP_MAP]


def assert_converts(proto: onnx.ModelProto, folder: Path, bands: str = "off") -> Program:
    path = folder / "image.onnx"
    onnx.save(proto, path)
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    x = photo(*shape)
    (want,) = onnx_runtime(proto, {"x": x})  # type: ignore[dict-item]
    found = convert(path, options=ConvertOptions(bands=bands))
    for isa in isas():
        for threads in (1, 3):
            packed = Model.from_bytes(found.data, isa=isa, threads=threads)
            assert [p.dtype for p in (*packed.inputs, *packed.outputs)] == ["uint8", "float32"]
            assert_close(np.asarray(packed.run(x)), want, isa)
    return found.program


@pytest.mark.parametrize("how", NHWC)
def test_interleaved_bytes(how: str, tmp_path: Path) -> None:
    proto = image_model(*NHWC[how], CONV, shape=(1, 33, 45, 3))
    program = assert_converts(proto, tmp_path)
    assert kinds(program) == [c.FIL_OP_PIXELS, c.FIL_OP_CONV]


def test_planar_bytes(tmp_path: Path) -> None:
    proto = image_model("f = Cast<to=1>(x)", "t = Mul(f, k)", CONV, shape=(1, 3, 33, 45))
    program = assert_converts(proto, tmp_path)
    assert kinds(program) == [c.FIL_OP_PIXELS, c.FIL_OP_CONV]


def test_a_batch(tmp_path: Path) -> None:
    nodes = [line.replace("Sub", "Add") for line in NHWC["divided"]]
    program = assert_converts(image_model(*nodes, CONV, shape=(2, 16, 20, 3)), tmp_path)
    assert [op.kind for op in program.ops].count(c.FIL_OP_PIXELS) == 2


def test_in_a_band(tmp_path: Path) -> None:
    proto = image_model(*NHWC["divided"], CONV, shape=(1, 96, 64, 3))
    first = assert_converts(proto, tmp_path, "small").ops[0].params
    assert isinstance(first, ConvParams)
    assert (first.band_ops, first.out_ring > 0) == (2, True)


def test_other_ranks(tmp_path: Path) -> None:
    assert_converts(image_model("f = Cast<to=1>(x)", "y = Relu(f)", shape=(3, 50)), tmp_path)


def test_interleaved_floats_are_unwoven_once(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    proto = model(CONV.replace("(t", "(x"), inputs={"x": (1, 3, 32, 40)}, w=W)
    onnx.save(proto, path)
    found = convert(path, options=ConvertOptions(input_layout="NHWC"))
    assert kinds(found.program) == [c.FIL_OP_PIXELS, c.FIL_OP_CONV]
    x = np.random.default_rng(2).standard_normal((1, 3, 32, 40), dtype=np.float32)
    (want,) = onnx_runtime(proto, {"x": x})
    got = Model.from_bytes(found.data).run(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    assert_close(np.asarray(got), want, "NHWC")


def test_only_cast_reads_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(image_model("a = Add(x, x)", "y = Cast<to=1>(a)", shape=(1, 4, 4, 3)), path)
    with pytest.raises(UnsupportedModel) as raised:
        convert(path)
    assert "takes uint8, which only Cast may read" in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (np.zeros((1, 4, 4, 3), np.float32), "expected uint8, got dtype float32"),
        (np.full((1, 4, 4, 3), 256), "expected uint8, got numbers from 256 to 256"),
        (np.full((1, 4, 4, 3), -1), "expected uint8, got numbers from -1 to -1"),
    ],
)
def test_what_is_no_byte(wrong: NDArray[np.generic], text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(image_model("y = Cast<to=1>(x)", shape=(1, 4, 4, 3)), path)
    packed = Model.from_bytes(convert(path).data)
    with pytest.raises(ValueError) as raised:
        packed.run(wrong)
    assert str(raised.value) == f'input "x": {text}'
    ints = np.arange(48).reshape(1, 4, 4, 3)
    np.testing.assert_array_equal(packed.run(ints), packed.run(ints.astype(np.uint8)))
