"""Hostile and broken TFLite files: a typed error in under a second, and nothing written.

Each case builds one file and names the error class it must raise. Files are written as they are
asked for (``tests.models.flat``), or a right one is damaged.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filigree.converter import ConvertOptions, convert
from filigree.converter.errors import BadFile, FiligreeError, UnsupportedModel
from filigree.converter.frontends.tflite import flat_check
from filigree.native import enums as c
from tests.models.flat import File, Scales, Sparsity
from tests.models.tflite import csr

ANY = (BadFile, UnsupportedModel)
Change = Callable[[File], object]


def base() -> File:
    """A convolution, a fully connected layer and a softmax, right in every way. Tensors: 0 x,
    1 w, 2 bias, 3 y, 4 dense weights, 5 dense bias, 6 z, 7 p."""
    draw = np.random.default_rng(0)
    file = File()
    x = file.tensor("x", (1, 4, 4, 2))
    w = file.constant("w", draw.standard_normal((3, 3, 3, 2)).astype(np.float32))
    bias = file.constant("bias", np.zeros(3, np.float32))
    y = file.tensor("y", (1, 4, 4, 3))
    dense = file.constant("dense", draw.standard_normal((5, 48)).astype(np.float32))
    dense_bias = file.constant("dense_bias", np.zeros(5, np.float32))
    z, p = file.tensor("z", (1, 5)), file.tensor("p", (1, 5))
    file.operator("CONV_2D", [x, w, bias], [y], "Conv2DOptions", StrideH=1, StrideW=1)
    file.operator("FULLY_CONNECTED", [y, dense, dense_bias], [z], "FullyConnectedOptions")
    file.operator("SOFTMAX", [z], [p], "SoftmaxOptions", Beta=1.0)
    file.inputs, file.outputs = [x], [p]
    return file


def sparse_base() -> File:
    """``base`` with the dense layer's weights as rows of nonzeros."""
    file = base()
    weights = np.zeros((5, 48), np.float32)
    weights[::2, ::3] = 1
    kept, sparsity = csr(weights)
    file.buffers[file.tensors[4].buffer] = kept.tobytes()
    file.tensors[4].sparsity = sparsity
    return file


def changed(change: Change, start: Callable[[], File] = base) -> bytes:
    file = start()
    change(file)
    return file.finish()


def tensor(index: int, **fields: Any) -> Change:
    return lambda file: [setattr(file.tensors[index], k, v) for k, v in fields.items()]


def operator(index: int, **fields: Any) -> Change:
    return lambda file: [setattr(file.operators[index], k, v) for k, v in fields.items()]


def options(index: int, **fields: Any) -> Change:
    """Other fields in an operator's options."""

    def change(file: File) -> None:
        name, old = file.operators[index].options or ("", {})
        file.operators[index].options = (name, {**old, **fields})

    return change


def whole(**fields: Any) -> Change:
    return lambda file: [setattr(file, k, v) for k, v in fields.items()]


def sparse(
    *,
    order: Sequence[int] = (0, 1),
    levels: Sequence[Any] | None = None,
    blocks: Sequence[int] = (),
    segments: Any = None,
    indices: Any = None,
) -> bytes:
    """``sparse_base`` with other metadata."""

    def change(file: File) -> None:
        right = file.tensors[4].sparsity
        assert right is not None
        rows, (starts, columns) = right.levels
        own = (
            np.asarray(starts if segments is None else segments, "int32"),
            np.asarray(columns if indices is None else indices, "int32"),
        )
        file.tensors[4].sparsity = Sparsity(order, levels or [rows, own], blocks)

    return changed(change, sparse_base)


def with_operator(kind: str | int, inputs: Sequence[int], shape: Sequence[int]) -> bytes:
    """``base`` with one more operator at its end."""

    def change(file: File) -> None:
        made = file.tensor("more", shape)
        file.operator(kind, inputs, [made])
        file.outputs = [made]

    return changed(change)


def custom(file: File) -> None:
    made = file.tensor("made", (1, 5))
    file.operator("CUSTOM", [7], [made])
    file.custom[32], file.outputs = "MyDetector", [made]


def cycle(file: File) -> None:
    """Two operators that read each other."""
    a, b = file.tensor("a", (1, 5)), file.tensor("b", (1, 5))
    file.operator("ADD", [7, b], [a], "AddOptions")
    file.operator("RELU", [a], [b])
    file.outputs = [b]


def float16(wrong: str) -> Change:
    """Weights in float16 behind a DEQUANTIZE, with too few bytes or another shape."""

    def change(file: File) -> None:
        data = np.zeros((5, 48 if wrong != "bytes" else 47), np.float16)
        shape = (5, 47) if wrong == "shape" else (5, 48)
        half = file.tensor(
            "half", shape, dtype="float16", data=data.tobytes()[: 2 * np.prod(shape)]
        )
        wide = file.tensor("wide", (5, 48), dtype="int32" if wrong == "type" else "float32")
        file.operator("DEQUANTIZE", [half], [wide])
        file.operators.insert(1, file.operators.pop())
        file.operators[2].inputs = [3, wide, 5]

    return change


def chain(count: int, name: str) -> bytes:
    """One RELU behind the other; the results' names begin with ``name``."""

    def change(file: File) -> None:
        last = 7
        for i in range(count):
            made = file.tensor(f"{name}{i}", (1, 5))
            file.operator("RELU", [last], [made])
            last = made
        file.outputs = [last]

    return changed(change)


def shared_constants() -> bytes:
    """Ten thousand tensors that are all of one large buffer."""

    def change(file: File) -> None:
        data = np.zeros(1 << 16, np.float32)
        first = file.constant("many", data)
        for i in range(10000):
            file.tensor(f"more{i}", data.shape)
            file.tensors[-1].buffer = file.tensors[first].buffer

    return changed(change)


def one_name() -> bytes:
    """A thousand tensors whose names are one string of a megabyte."""
    return changed(lambda file: [file.tensor("n" * (1 << 20), (1,)) for _ in range(1000)])


def one_table() -> bytes:
    """A million tensors that are one table."""
    count = 1 << 20
    first = 64 + 4 * count
    data = bytearray(first + 16)
    struct.pack_into("<I4s", data, 0, 24, b"TFL3")
    struct.pack_into("<5H", data, 8, 10, 8, 0, 0, 4)  # a Model of subgraphs alone
    struct.pack_into("<iI", data, 24, 24 - 8, 32 - 28)
    struct.pack_into("<II", data, 32, 1, 48 - 36)
    struct.pack_into("<3H", data, 40, 6, 8, 4)  # a SubGraph of tensors alone
    struct.pack_into("<iII", data, 48, 48 - 40, 60 - 52, 0)
    struct.pack_into("<I", data, 60, count)
    for i in range(count):
        struct.pack_into("<I", data, 64 + 4 * i, first - (64 + 4 * i))
    struct.pack_into("<iII", data, first, first - 40, 4, 0)  # the same vtable: an empty shape
    return bytes(data)


def patched(at: int, value: int) -> bytes:
    """Another 32-bit number at a place of the file."""
    data = bytearray(base().finish())
    struct.pack_into("<I", data, at, value)
    return bytes(data)


def cut(share: float) -> bytes:
    data = base().finish()
    return data[: int(len(data) * share)]


@dataclass(frozen=True)
class Bad:
    name: str
    data: Callable[[], bytes]
    error: type[FiligreeError] | tuple[type[FiligreeError], ...] = BadFile
    mentions: str = ""


def bad(
    name: str,
    change: Change,
    mentions: str = "",
    error: type[FiligreeError] | tuple[type[FiligreeError], ...] = BadFile,
) -> Bad:
    return Bad(name, lambda: changed(change), error, mentions)


def refused(name: str, change: Change, mentions: str) -> Bad:
    return bad(name, change, mentions, UnsupportedModel)


HUGE = 2**31 - 1
CASES = [
    Bad("empty", lambda: b""),
    Bad("magic-alone", lambda: b"\x08\0\0\0TFL3"),
    Bad("text", lambda: b"this is not a model\n" * 50, BadFile, "not a TFLite model"),
    Bad("zeros-behind-the-magic", lambda: b"\x1c\0\0\0TFL3" + b"\0" * 200),
    Bad("root-outside", lambda: patched(0, 2**31), BadFile, "ends at byte"),
    Bad("root-at-the-end", lambda: patched(0, len(base().finish()) - 2)),
    Bad("ones", lambda: b"\x08\0\0\0TFL3" + b"\xff" * 4096),
    Bad("one-tensor-a-million-times", one_table, BadFile, "over 131072 tables"),
    Bad("one-name-a-thousand-times", one_name, BadFile, "overlap"),
    *(
        Bad(f"cut-{int(s * 100)}", lambda s=s: cut(s))
        for s in (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
    ),
    bad("version-2", whole(version=2), "version is 2"),
    bad("no-subgraph", whole(subgraphs=0), "no subgraph"),
    refused("two-subgraphs", whole(subgraphs=2), "control flow"),
    bad("no-inputs", whole(inputs=[]), "inputs"),
    bad("no-outputs", whole(outputs=[]), "outputs"),
    bad("input-out-of-range", whole(inputs=[99]), "tensor 99"),
    bad("input-negative", whole(inputs=[-1]), "tensor -1"),
    bad("output-out-of-range", whole(outputs=[HUGE]), f"tensor {HUGE}"),
    bad("output-twice", whole(outputs=[7, 7]), "one tensor"),
    bad("input-twice", whole(inputs=[0, 0]), '"x"'),
    bad("input-is-constant", whole(inputs=[1]), '"w" is a constant'),
    bad("output-of-nothing", lambda f: f.outputs.append(f.tensor("lost", (1,))), '"lost"'),
    bad("many-inputs", whole(inputs=[0] * 65)),
    bad("buffer-out-of-range", tensor(1, buffer=77), "buffer 77"),
    bad("buffer-too-small", lambda f: f.buffers.__setitem__(1, b"\0" * 8), "8 bytes"),
    bad("buffer-too-large", lambda f: f.buffers.__setitem__(1, b"\0" * 220), "needs 216"),
    bad("buffer-missing", tensor(1, buffer=0), '"w"'),
    bad("dim-zero", tensor(0, shape=[1, 0, 4, 2]), "each must be 1 to"),
    bad("dim-negative", tensor(0, shape=[1, -4, 4, 2]), "each must be 1 to"),
    bad("dim-huge", tensor(0, shape=[1, HUGE, 4, 2]), "each must be 1 to"),
    bad("elements-huge", tensor(0, shape=[1, 2**15, 2**15, 2]), "over"),
    bad("rank-7", tensor(0, shape=[1] * 7), "7 dims"),
    bad("rank-huge", tensor(0, shape=[1] * 100000), "dims"),
    bad("weight-dims-huge", tensor(1, shape=[2**10, 2**10, 2**8, 1]), '"w"'),
    bad("weight-rank-2", tensor(1, shape=[27, 2]), "rank 2"),
    bad("shape-disagrees", tensor(3, shape=[1, 4, 4, 4]), '"y"'),
    bad("shape-of-height-disagrees", tensor(3, shape=[1, 3, 4, 4]), '"y"'),
    bad("result-shape-disagrees", tensor(7, shape=[1, 6]), '"p"'),
    bad("channels-disagree", tensor(0, shape=[1, 4, 4, 3]), "CONV_2D"),
    bad("dense-disagrees", tensor(4, shape=[48, 5]), "FULLY_CONNECTED"),
    bad(
        "bias-too-long",
        lambda f: (
            f.buffers.__setitem__(2, b"\0" * 16),
            setattr(f.tensors[2], "shape", [4]),
        ),
        "4 biases for 3",
    ),
    refused("type-complex", tensor(0, kind=8), "COMPLEX64"),
    refused("type-string", tensor(3, kind=5), "STRING"),
    refused("type-unknown", tensor(0, kind=77), "77"),
    refused("input-int32", tensor(0, kind=2), "int32"),
    refused("input-float16", tensor(0, kind=1), "float16"),
    bad("operator-reads-out-of-range", operator(0, inputs=[0, 99, 2]), "tensor 99"),
    bad("operator-reads-negative", operator(0, inputs=[0, -2, 2]), "tensor -2"),
    bad("operator-reads-nothing", operator(0, inputs=[]), "0 inputs"),
    bad("operator-input-left-out", operator(0, inputs=[0, -1, 2]), "left out"),
    bad("operator-with-many-inputs", operator(0, inputs=[0] * 100000)),
    bad("operator-makes-out-of-range", operator(0, outputs=[99]), "tensor 99"),
    bad("operator-makes-left-out", operator(0, outputs=[-1]), "tensor -1"),
    bad("operator-makes-nothing", operator(0, outputs=[]), "makes nothing"),
    bad("operator-makes-a-constant", operator(0, outputs=[2]), '"bias", which exists'),
    bad("operator-makes-its-input", operator(2, outputs=[6]), '"z", which exists'),
    bad("two-producers", operator(2, inputs=[3], outputs=[3]), '"y", which exists'),
    bad("reads-what-comes-later", operator(0, inputs=[7, 1, 2]), "nothing before it makes"),
    bad("cycle", cycle, "nothing before it makes"),
    bad("opcode-out-of-range", operator(0, code=50), "code 50"),
    bad("opcode-huge", operator(0, code=2**32 - 1), f"code {2**32 - 1}"),
    refused("builtin-unknown", lambda f: f.codes.__setitem__(2, 9999), "BUILTIN_9999"),
    refused("builtin-negative", lambda f: f.codes.__setitem__(2, -5), "BUILTIN_"),
    refused("custom-operator", custom, "MyDetector"),
    bad("options-missing", operator(0, options=None), "options"),
    bad("options-of-another", operator(0, options=("AddOptions", {})), "not Conv2DOptions"),
    bad("stride-zero", options(0, StrideH=0), "strides"),
    bad("stride-negative", options(0, StrideW=-1), "strides"),
    bad("stride-huge", options(0, StrideW=HUGE), "strides"),
    bad("dilation-zero", options(0, DilationHFactor=0), "dilations"),
    bad("padding-unknown", options(0, Padding=9), "padding 9"),
    bad("kernel-over-input", options(0, Padding=1, DilationHFactor=3), "window"),
    refused("activation-unknown", options(0, FusedActivationFunction=77), "77"),
    refused("activation-sign", options(0, FusedActivationFunction=5), "SIGN_BIT"),
    refused("weights-shuffled", options(1, WeightsFormat=1), "shuffled"),
    bad("softmax-nan", options(2, Beta=float("nan")), "beta"),
    bad("dense-weights-are-an-image", operator(1, inputs=[3, 3, 5]), "weights"),
    Bad(
        "resize",
        lambda: with_operator("RESIZE_BILINEAR", [3], (1, 8, 8, 3)),
        UnsupportedModel,
        "tflite.RESIZE_BILINEAR",
    ),
    Bad(
        "mean-of-axis-9",
        lambda: changed(
            lambda f: (
                f.constant("axes", np.array([9], np.int32)),
                f.tensor("m", (1, 5)),
                f.operator("MEAN", [7, 8], [9]),
                setattr(f, "outputs", [9]),
            )
        ),
        BadFile,
        "axis 9",
    ),
    Bad(
        "slice-of-more-than-there-is",
        lambda: changed(
            lambda f: (
                f.constant("begin", np.array([0, 2**62], np.int64)),
                f.constant("size", np.array([1, 2**62], np.int64)),
                f.tensor("m", (1, 5)),
                f.operator("SLICE", [7, 8, 9], [10]),
                setattr(f, "outputs", [10]),
            )
        ),
        BadFile,
        "more than there is",
    ),
    Bad(
        "a-million-axes",
        lambda: changed(
            lambda f: (
                f.constant("axes", np.zeros(1 << 20, np.int32)),
                f.tensor("m", (1,)),
                f.operator("MEAN", [7, 8], [9]),
                setattr(f, "outputs", [9]),
            )
        ),
        BadFile,
        "1048576 indices",
    ),
    Bad(
        "reshape-of-another-size",
        lambda: with_operator("RESHAPE", [7], (1, 6)),
        BadFile,
        "[1, 5] as [1, 6]",
    ),
    Bad(
        "squeeze-of-another-size",
        lambda: with_operator("SQUEEZE", [7], (4,)),
        BadFile,
        "[1, 5] as [4]",
    ),
    Bad(
        "concat-of-ranks",
        lambda: changed(
            lambda f: (
                f.tensor("m", (1, 10)),
                f.operator("CONCATENATION", [7, 3], [8], "ConcatenationOptions", Axis=1),
                setattr(f, "outputs", [8]),
            )
        ),
        BadFile,
        "rank",
    ),
    Bad("add-of-shapes", lambda: with_operator("ADD", [7, 2], (1, 5)), BadFile, "more"),
    Bad(
        "transpose-twice-one-axis",
        lambda: changed(
            lambda f: (
                f.constant("perm", np.array([0, 0], np.int32)),
                f.tensor("m", (1, 5)),
                f.operator("TRANSPOSE", [7, 8], [9]),
                setattr(f, "outputs", [9]),
            )
        ),
        BadFile,
        "order [0, 0]",
    ),
    Bad(
        "pad-negative",
        lambda: changed(
            lambda f: (
                f.constant("pads", np.array([[0, 0], [-1, 1]], np.int32)),
                f.tensor("m", (1, 5)),
                f.operator("PAD", [7, 8], [9]),
                setattr(f, "outputs", [9]),
            )
        ),
        BadFile,
        "pads",
    ),
    bad("scale-zero", tensor(3, scales=Scales([0.0])), "scale"),
    bad("scale-negative", tensor(3, scales=Scales([-1.0])), "scale"),
    bad("scale-nan", tensor(3, scales=Scales([float("nan")])), "scale"),
    bad("scale-inf", tensor(3, scales=Scales([float("inf")])), "scale"),
    bad("scales-too-few", tensor(1, scales=Scales([1.0, 1.0])), "2 scales along axis 0"),
    bad("scales-of-no-axis", tensor(1, scales=Scales([1.0] * 3, [0] * 3, 9)), "axis 9"),
    bad("zero-points-too-many", tensor(1, scales=Scales([1.0], [0, 0])), "zero points"),
    bad("zero-point-too-large", tensor(3, kind=9, scales=Scales([1.0], [128])), "zero point"),
    bad("float16-bytes", float16("bytes"), "470 bytes"),
    bad("float16-shape", float16("shape"), "DEQUANTIZE"),
    bad("float16-to-integers", float16("type"), "DEQUANTIZE"),
    Bad("weight-nan", lambda: changed(lambda f: f.buffers.__setitem__(1, b"\xff" * 216)), ANY, "w"),
    Bad("sparse-no-order", lambda: sparse(order=()), BadFile, "levels"),
    Bad("sparse-order-twice", lambda: sparse(order=(0, 0)), BadFile, "levels"),
    Bad("sparse-order-out-of-range", lambda: sparse(order=(0, 7)), BadFile, "levels"),
    Bad("sparse-order-negative", lambda: sparse(order=(0, -1)), BadFile, "levels"),
    Bad("sparse-order-wrong", lambda: sparse(order=(1, 0)), BadFile, "dense level"),
    Bad(
        "sparse-block-of-no-axis",
        lambda: sparse(order=(0, 1, 2), levels=[5, 48, 1], blocks=(9,)),
        BadFile,
        "blocks",
    ),
    Bad(
        "sparse-block-does-not-divide",
        lambda: sparse(order=(0, 1, 2), levels=[5, 48, 7], blocks=(1,)),
        BadFile,
        "blocks of 7",
    ),
    Bad(
        "sparse-block-zero",
        lambda: sparse(order=(0, 1, 2), levels=[5, 48, 0], blocks=(1,)),
        BadFile,
        "blocks of 0",
    ),
    Bad(
        "sparse-block-negative",
        lambda: sparse(order=(0, 1, 2), levels=[5, 48, -4], blocks=(1,)),
        BadFile,
        "blocks of -4",
    ),
    Bad("sparse-dense-size-wrong", lambda: sparse(levels=[4, 48]), BadFile, "dense level"),
    Bad("sparse-dense-size-huge", lambda: sparse(levels=[HUGE, 48]), BadFile, "dense level"),
    Bad("sparse-values-too-few", lambda: sparse(levels=[5, 48]), BadFile, "48 values in 240"),
    Bad("sparse-segments-too-few", lambda: sparse(segments=[0, 48]), BadFile, "segments"),
    Bad(
        "sparse-segments-fall", lambda: sparse(segments=[0, 16, 8, 32, 32, 48]), BadFile, "segments"
    ),
    Bad(
        "sparse-segments-negative",
        lambda: sparse(segments=[-8, 16, 16, 32, 32, 48]),
        BadFile,
        "segments",
    ),
    Bad(
        "sparse-segments-over",
        lambda: sparse(segments=[0, 16, 16, 32, 32, 99]),
        BadFile,
        "segments",
    ),
    Bad("sparse-index-over", lambda: sparse(indices=[*range(0, 45, 3), 48] * 3), BadFile, "index"),
    Bad(
        "sparse-index-negative",
        lambda: sparse(indices=[-1, *range(0, 45, 3)] * 3),
        BadFile,
        "index",
    ),
    Bad("sparse-index-twice", lambda: sparse(indices=[0, *range(0, 45, 3)] * 3), BadFile, "rise"),
    Bad("sparse-indices-missing", lambda: sparse(indices=[]), BadFile, "segments"),
    Bad(
        "sparse-without-data", lambda: changed(tensor(4, buffer=0), sparse_base), BadFile, "sparse"
    ),
    Bad(
        "sparse-bytes-odd",
        lambda: changed(lambda f: f.buffers.__setitem__(3, b"\0" * 7), sparse_base),
        BadFile,
        "7 bytes",
    ),
    Bad(
        "sparse-unpacks-to-far-more",
        lambda: changed(tensor(4, shape=[2**10, 2**18]), sparse_base),
        BadFile,
        "far more",
    ),
    Bad("shared-constants", shared_constants, BadFile, "far more"),
    Bad("many-operators", lambda: chain(c.FIL_MAX_OPS + 1, "t"), ANY, "operators"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_bad_file(case: Bad, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "model.tflite"
    path.write_bytes(case.data())
    before = sorted(tmp_path.rglob("*"))
    start = time.process_time()
    with pytest.raises(case.error) as raised:
        convert(path, options=ConvertOptions(target="x86-64"))
    assert time.process_time() - start < 1.0
    assert case.mentions in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_file_that_is_damaged_is_right(tmp_path: Path) -> None:
    for name, file in (("base", base()), ("sparse", sparse_base())):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(file.finish())
        convert(path, options=ConvertOptions(target="x86-64"))


def test_every_flipped_byte_and_every_length(tmp_path: Path) -> None:
    """The check of the bytes never fails in a way of its own, and what it lets through never makes
    the front end do so."""
    from filigree.converter.frontends import tflite

    file = File()
    x, y = file.tensor("x", (1, 2)), file.tensor("y", (1, 3), dtype="int8", scales=Scales([1.0]))
    kept, sparsity = csr(np.eye(3, 2, dtype=np.float32))
    w = file.tensor("w", (3, 2), data=kept, sparsity=sparsity)
    z = file.tensor("z", (1, 3))
    file.operator("FULLY_CONNECTED", [x, w], [z], "FullyConnectedOptions")
    file.operator("QUANTIZE", [z], [y])
    file.inputs, file.outputs = [x], [y]
    data, path = file.finish(), tmp_path / "model.tflite"
    for at in range(len(data)):
        assert flat_check.fault(data[:at]) or at >= len(data) - 8, at
    passed = 0
    for at in range(8, len(data)):
        for mask in (0x01, 0x80, 0xFF):
            hurt = bytearray(data)
            hurt[at] ^= mask
            if not flat_check.fault(bytes(hurt)):
                path.write_bytes(hurt)
                try:
                    tflite.load(path)
                    passed += 1
                except FiligreeError:
                    pass
    assert passed


def test_there_are_enough() -> None:
    assert len(CASES) >= 60 and len({c.name for c in CASES}) == len(CASES)
