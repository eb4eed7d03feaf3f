"""Hostile and broken ONNX files: a typed error in under a second, and nothing written.

Each case builds one file (or folder) and names the error class it must raise.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from filigree.converter import ConvertOptions, convert
from filigree.converter.errors import BadFile, FiligreeError, UnsupportedModel, UsageError

FLOAT = TensorProto.FLOAT
Build = Callable[[Path], None]


def conv_model(
    *,
    x: tuple[int | str, ...] = (1, 3, 8, 8),
    w: tuple[int, ...] = (4, 3, 3, 3),
    y: tuple[int | str, ...] | None = None,
    elem: int = FLOAT,
    **attributes: object,
) -> onnx.ModelProto:
    """One convolution, with whatever is wrong about it."""
    weight = numpy_helper.from_array(np.ones(w, np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", elem, x)],
        [helper.make_tensor_value_info("y", elem, y)],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def op_model(
    op: str, shape: tuple[int, ...] = (1, 4), elem: int = FLOAT, **attributes: object
) -> onnx.ModelProto:
    node = helper.make_node(op, ["x"], ["y"], name=f"bad_{op}", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", elem, shape)],
        [helper.make_tensor_value_info("y", elem, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save(model: onnx.ModelProto) -> Build:
    return lambda path: path.write_bytes(model.SerializeToString()) and None


def cut(share: float) -> Build:
    def build(path: Path) -> None:
        data = conv_model().SerializeToString()
        path.write_bytes(data[: int(len(data) * share)])

    return build


def raw(data: bytes) -> Build:
    return lambda path: path.write_bytes(data) and None


def external(
    location: str, *, prepare: Callable[[Path], None] | None = None, length: int = 432
) -> Build:
    """A weight whose bytes are in another file."""

    def build(path: Path) -> None:
        model = conv_model()
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())
        if prepare:
            prepare(path.parent)

    return build


def outside(folder: Path) -> None:
    (folder.parent / "secret.bin").write_bytes(b"\0" * 432)


def symlink(folder: Path) -> None:
    outside(folder)
    (folder / "link.bin").symlink_to(folder.parent / "secret.bin")


def hardlink(folder: Path) -> None:
    outside(folder)
    os.link(folder.parent / "secret.bin", folder / "hard.bin")


def linked_folder(folder: Path) -> None:
    outside(folder)
    (folder / "sub").symlink_to(folder.parent)


def short_file(folder: Path) -> None:
    (folder / "short.bin").write_bytes(b"\0" * 10)


def declared(shape: tuple[int, ...], data: bytes) -> Build:
    """An initializer whose declared shape and bytes disagree."""

    def build(path: Path) -> None:
        model = conv_model()
        tensor = model.graph.initializer[0]
        del tensor.dims[:]
        tensor.dims.extend(shape)
        tensor.raw_data = data
        path.write_bytes(model.SerializeToString())

    return build


def two_nodes_one_name() -> onnx.ModelProto:
    model = conv_model()
    model.graph.node.append(helper.make_node("Relu", ["y"], ["y"], name="again"))
    return model


def cycle() -> onnx.ModelProto:
    model = op_model("Relu")
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Add", ["x", "b"], ["a"], name="a"))
    model.graph.node.append(helper.make_node("Relu", ["a"], ["b"], name="b"))
    model.graph.node.append(helper.make_node("Relu", ["b"], ["y"], name="c"))
    return model


def sparse_external() -> onnx.ModelProto:
    """A sparse initializer that hides an external location in its values."""
    model = conv_model()
    del model.graph.initializer[:]
    sparse = model.graph.sparse_initializer.add()
    sparse.dims.extend([4, 3, 3, 3])
    sparse.values.name = "w"
    sparse.values.data_type = FLOAT
    sparse.values.dims.extend([1])
    sparse.values.data_location = TensorProto.EXTERNAL
    sparse.values.external_data.add(key="location", value="../secret.bin")
    sparse.indices.data_type = TensorProto.INT64
    sparse.indices.dims.extend([1])
    sparse.indices.raw_data = np.array([-1], np.int64).tobytes()
    return model


def with_value(value: float) -> onnx.ModelProto:
    model = conv_model()
    weight = np.ones((4, 3, 3, 3), np.float32)
    weight[1, 2, 0, 1] = value
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    return model


def subgraph(op: str) -> onnx.ModelProto:
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("z", FLOAT, (1,))])
    node = helper.make_node("If", ["c"], ["y"], name="branch", then_branch=body, else_branch=body)
    if op == "Loop":
        node = helper.make_node("Loop", ["", "c"], ["y"], name="loop", body=body)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, ())],
        [helper.make_tensor_value_info("y", FLOAT, (1,))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def nested(depth: int) -> bytes:
    """``depth`` If nodes in each other, written as bytes: onnx's own helpers refuse it."""

    def field(number: int, data: bytes) -> bytes:
        size, head = len(data), bytearray()
        while size > 0x7F:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([number << 3 | 2, *head, size]) + data

    graph = field(2, b"g")
    for _ in range(depth):
        branch = field(1, b"then_branch") + field(6, graph)
        graph = field(1, field(4, b"If") + field(5, branch)) + field(2, b"g")
    return field(7, graph)


def flipped(position: float) -> Build:
    def build(path: Path) -> None:
        data = bytearray(conv_model().SerializeToString())
        # structure only: the weight bytes in the middle carry no structure to break
        at = int(position * 40)
        data[at] ^= 0xFF
        path.write_bytes(bytes(data))

    return build


def many_nodes(count: int) -> onnx.ModelProto:
    model = op_model("Relu")
    del model.graph.node[:]
    names = ["x", *(f"v{i}" for i in range(count - 1)), "y"]
    model.graph.node.extend(
        helper.make_node("Relu", [a], [b], name=b) for a, b in itertools.pairwise(names)
    )
    return model


@dataclass(frozen=True)
class Bad:
    name: str
    build: Build
    error: type[FiligreeError] | tuple[type[FiligreeError], ...]
    mentions: str = ""


ANY = (BadFile, UnsupportedModel)
CASES = [
    Bad("empty", raw(b""), BadFile),
    Bad("one-byte", raw(b"\x08"), BadFile),
    Bad("text", raw(b"this is not a model\n" * 50), BadFile),
    Bad("zip", raw(b"PK\x03\x04" + b"\0" * 200), BadFile),
    Bad("png", raw(b"\x89PNG\r\n\x1a\n" + b"\0" * 200), BadFile),
    Bad("tflite", raw(b"\x1c\0\0\0TFL3" + b"\0" * 200), BadFile),
    Bad("fil", raw(b"FIL1" + b"\0" * 200), BadFile),
    Bad("pickle", raw(b"\x80\x04\x95\x10\0\0\0\0\0\0\0cos\nsystem\n."), BadFile),
    Bad("zeros", raw(b"\0" * 4096), BadFile),
    Bad("huge-varint", raw(b"\x3a" + b"\xff" * 9 + b"\x7f"), BadFile),
    *(Bad(f"cut-{int(s * 100)}", cut(s), ANY) for s in (0.1, 0.3, 0.5, 0.7, 0.9, 0.98)),
    *(Bad(f"flip-{i}", flipped(i / 40), (*ANY, UsageError)) for i in (0, 2, 3, 4, 5, 8, 9, 12)),
    Bad("input-float64", save(conv_model(elem=TensorProto.DOUBLE)), ANY),
    Bad("input-int32", save(op_model("Relu", elem=TensorProto.INT32)), ANY),
    Bad("input-string", save(op_model("Identity", elem=TensorProto.STRING)), ANY),
    Bad("input-unknown-type", save(op_model("Relu", elem=77)), ANY),
    Bad("zero-dim", save(conv_model(x=(1, 3, 0, 8))), ANY),
    Bad("zero-batch", save(conv_model(x=(0, 3, 8, 8))), ANY),
    Bad("negative-dim", save(conv_model(x=(1, 3, -5, 8))), ANY),
    Bad("huge-dim", save(conv_model(x=(1, 3, 2**40, 8))), ANY),
    Bad("product-overflow", save(op_model("Relu", (2**16, 2**16, 2**16, 2**16))), ANY),
    Bad("over-elements", save(op_model("Relu", (2**15, 2**15))), ANY),
    Bad("rank-7", save(op_model("Relu", (1, 1, 1, 1, 1, 1, 2))), ANY),
    Bad(
        "symbolic-dim",
        save(conv_model(x=(1, 3, "height", 8))),
        (UsageError, UnsupportedModel),
        "height",
    ),
    Bad("channels-disagree", save(conv_model(x=(1, 5, 8, 8))), ANY, "conv"),
    Bad("zero-stride", save(conv_model(strides=[0, 1])), ANY, "conv"),
    Bad("negative-stride", save(conv_model(strides=[-1, 1])), ANY, "conv"),
    Bad("zero-dilation", save(conv_model(dilations=[0, 1])), ANY, "conv"),
    Bad("negative-pad", save(conv_model(pads=[-1, 0, 0, 0])), ANY, "conv"),
    Bad("huge-pad", save(conv_model(pads=[2**30, 0, 0, 0])), ANY, "conv"),
    Bad("zero-group", save(conv_model(group=0)), ANY, "conv"),
    Bad("group-does-not-divide", save(conv_model(group=2)), ANY, "conv"),
    Bad("kernel-over-input", save(conv_model(x=(1, 3, 2, 2))), ANY, "conv"),
    Bad("kernel-shape-disagrees", save(conv_model(kernel_shape=[5, 5])), ANY, "conv"),
    Bad("weight-bytes-missing", declared((4, 3, 3, 3), b"\0" * 8), ANY),
    Bad("weight-zero-dim", declared((4, 0, 3, 3), b""), ANY),
    Bad("weight-huge-dim", declared((2**31, 2**31, 3, 3), b"\0" * 8), ANY),
    Bad("weight-negative-dim", declared((-4, 3, 3, 3), b"\0" * 432), ANY),
    Bad("weight-nan", save(with_value(float("nan"))), ANY, "w"),
    Bad("weight-inf", save(with_value(float("inf"))), ANY, "w"),
    Bad("duplicate-output", save(two_nodes_one_name()), ANY),
    Bad("cycle", save(cycle()), ANY),
    Bad("unknown-operator", save(op_model("Wibble")), ANY, "bad_Wibble"),
    Bad("if", save(subgraph("If")), ANY, "If"),
    Bad("loop", save(subgraph("Loop")), ANY, "Loop"),
    Bad("deep-subgraphs", raw(nested(2000)), ANY),
    Bad("many-nodes", save(many_nodes(9000)), ANY),
    Bad("external-missing", external("nowhere.bin"), BadFile, "nowhere.bin"),
    Bad("external-parent", external("../secret.bin", prepare=outside), BadFile, "secret.bin"),
    Bad("external-absolute", external("/etc/hostname"), BadFile, "hostname"),
    Bad("external-symlink", external("link.bin", prepare=symlink), BadFile, "link.bin"),
    Bad("external-hardlink", external("hard.bin", prepare=hardlink), BadFile, "hard.bin"),
    Bad(
        "external-linked-folder",
        external("sub/secret.bin", prepare=linked_folder),
        BadFile,
        "secret.bin",
    ),
    Bad("external-short", external("short.bin", prepare=short_file), BadFile, "short.bin"),
    Bad("external-sparse", save(sparse_external()), ANY),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_bad_file(case: Bad, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "model.onnx"
    case.build(path)
    before = sorted(tmp_path.rglob("*"))
    start = time.process_time()
    with pytest.raises(case.error) as raised:
        convert(path, options=ConvertOptions(external_data=True))
    assert time.process_time() - start < 1.0
    assert case.mentions in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_external_data_is_read_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    external("weights.bin")(path)
    (tmp_path / "weights.bin").write_bytes(np.ones(108, np.float32).tobytes())
    with pytest.raises(BadFile, match=r"weights\.bin(.|\n)*--external-data"):
        convert(path)
    packed = convert(path, options=ConvertOptions(external_data=True))
    assert packed.program.weights["conv"].matrix.tolist() == np.ones((4, 27)).tolist()


def test_there_are_enough() -> None:
    assert len(CASES) >= 40 and len({c.name for c in CASES}) == len(CASES)
