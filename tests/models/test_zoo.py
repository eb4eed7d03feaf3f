"""Every real float network: agreement with ONNX Runtime on each ISA, and the published accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from filigree.converter import ConvertOptions, convert
from filigree.native.model import Model, isas
from tests.models.zoo import ZOO, Entry, dataset, sample_inputs

TOLERANCE = 1e-4  # of the output range
NARROW = 0.05  # the same of float16 networks
HALVED = frozenset({"kws", "mobilenet-v1-0.25", "mcu-mbv2"})


@pytest.fixture(scope="module")
def packed(data: Path) -> dict[str, bytes]:
    """Each network converted once per module."""
    return {}


def fil(entry: Entry, data: Path, cache: dict[str, bytes]) -> bytes:
    if entry.name not in cache:
        cache[entry.name] = convert(data / "models" / entry.file, options=ConvertOptions()).data
    return cache[entry.name]


def expected(entry: Entry, data: Path, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(
        str(data / "models" / entry.file), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: row[None]})[0] for row in x])


def relative(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / (want.max() - want.min()))


def accuracy(
    entry: Entry, packed: bytes, found: tuple[NDArray[np.generic], NDArray[np.int64]]
) -> float:
    """Top-1 per cent over images and labels."""
    images, labels = found
    model = Model.from_bytes(packed)
    correct = sum(
        int(np.argmax(model.run(entry.inputs(images[i : i + 1])))) == labels[i] + entry.class_offset
        for i in range(len(images))
    )
    return 100 * correct / len(images)


@pytest.mark.parametrize("entry", ZOO, ids=lambda e: e.name)
def test_agrees_on_every_isa(entry: Entry, data: Path, packed: dict[str, bytes]) -> None:
    x = sample_inputs(entry, data, 3)
    want = expected(entry, data, x)
    for isa in isas():
        model = Model.from_bytes(fil(entry, data, packed), isa=isa)
        got = np.concatenate([model.run(row[None]) for row in x])
        assert relative(got, want) <= TOLERANCE, isa


@pytest.mark.parametrize("target", ["arm64", "wasm-node", "wasm-wasmtime", "wasm-relaxed-node"])
@pytest.mark.parametrize("entry", ZOO, ids=lambda e: e.name)
def test_agrees_on_emulated(
    entry: Entry, target: str, data: Path, packed: dict[str, bytes]
) -> None:
    from filigree.packaging import emulate
    from tests.conftest import need

    reason = emulate.available(target)
    need(
        {"arm64": "qemu", "wasm-wasmtime": "wasmtime"}.get(target, "node"), not reason, reason or ""
    )
    x = sample_inputs(entry, data, 1)
    (got,) = emulate.run(target, fil(entry, data, packed), [x])
    assert relative(got, expected(entry, data, x)) <= TOLERANCE


@pytest.mark.parametrize(
    ("entry", "name", "figure"),
    [(e, name, figure) for e in ZOO for name, figure in e.figures],
    ids=lambda v: v.name if isinstance(v, Entry) else str(v),
)
def test_published_accuracy(
    entry: Entry, name: str, figure: float, data: Path, packed: dict[str, bytes]
) -> None:
    found = dataset(data, name)
    if found is None:
        pytest.skip(f"data set {name} is not here")
    assert round(accuracy(entry, fil(entry, data, packed), found), 1) == figure


@pytest.mark.parametrize("entry", [e for e in ZOO if e.name in HALVED], ids=lambda e: e.name)
def test_float16_activations_on_arm64(entry: Entry, data: Path) -> None:
    """The first class of ONNX Runtime's, and outputs as near as a float16 network's are."""
    from filigree.packaging import emulate
    from tests.conftest import need

    reason = emulate.available("arm64")
    need("qemu", not reason, reason or "")
    options = ConvertOptions(target="arm64", dtype="float16", activations="float16")
    made = convert(data / "models" / entry.file, options=options)
    assert made.report.kept == {}
    x = sample_inputs(entry, data, 2)
    want = expected(entry, data, x)
    got = np.concatenate([emulate.run("arm64", made.data, [row[None]])[0] for row in x])
    assert relative(got, want) <= NARROW
    if entry.figures:
        np.testing.assert_array_equal(got.argmax(1), want.argmax(1))
