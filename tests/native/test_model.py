"""The Python API: numbers against numpy, shapes, threads, errors."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from filigree.native import enums as c
from filigree.native.model import ISA_VARIABLE, BadFile, Model, OpTime, isas, load
from tests.native import tiny
from tests.native.tiny import Tiny

F64 = NDArray[np.float64]
X = np.linspace(-2, 2, 48).reshape(1, 3, 4, 4).astype(np.float32)


def window_sum(x: F64, w: F64, b: F64) -> F64:
    """3x3 convolution with zero padding 1: x [C, H, W], w [O, C, 3, 3]."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    h, v = x.shape[1:]
    taps = [padded[:, i : i + h, j : j + v] for i in range(3) for j in range(3)]
    return (
        np.einsum("oct,cthw->ohw", w.reshape(*w.shape[:2], 9), np.stack(taps, 1)) + b[:, None, None]
    )


def hand_written(x: F64) -> F64:
    """tiny.sample() in float64: x (1, 3, 4, 4) -> (1, 3)."""
    paint = tiny.prime_paint
    b4 = paint(4).astype(np.float64)
    a = np.clip(window_sum(x[0], paint(4, 27).reshape(4, 3, 3, 3).astype(np.float64), b4), 0, 6)
    diagonal = np.zeros((4, 4, 3, 3))
    diagonal[range(4), range(4)] = paint(4, 9).reshape(4, 3, 3)
    b = np.clip(window_sum(a, diagonal, b4), 0, 6)
    wide = np.einsum("ok,khw->ohw", tiny._checker(8, 4, 2), b) + paint(8)[:, None, None]
    wide *= np.clip(wide / 6 + 0.5, 0, 1)
    narrow = np.einsum("ok,khw->ohw", tiny._checker(4, 8, 1), wide) + b4[:, None, None] + b
    pooled = narrow.reshape(4, 2, 2, 2, 2).max(axis=(2, 4)) + b4[:, None, None]
    scores = paint(3, 4) @ pooled.mean(axis=(1, 2)) + paint(3)
    mixed = scores @ paint(3, 3).astype(np.float64)
    e = np.exp(mixed - mixed.max())
    return (e / e.sum())[None]


@pytest.mark.parametrize("stored", ["float32", "half", "four"])
@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
@pytest.mark.parametrize("isa", isas())
def test_every_op_agrees_with_numpy(isa: str, lanes: int, stored: str) -> None:
    data = tiny.sample(lanes=lanes, half=stored == "half", four=stored == "four").encode()
    try:
        model = Model.from_bytes(data, isa=isa)
    except ValueError as e:
        assert f"packed for {lanes} lanes" in str(e)
        return
    assert model.isa == isa
    np.testing.assert_allclose(
        model.run(X), hand_written(X.astype(np.float64)), rtol=2e-5, atol=1e-6
    )


@pytest.mark.parametrize("isa", isas())
def test_halves_in_a_band_are_the_same_numbers(isa: str) -> None:
    x = tiny.prime_paint(1, 2, 8, 16)
    floats, halves = (Model.from_bytes(tiny.band(half=h).encode(), isa=isa) for h in (False, True))
    np.testing.assert_array_equal(floats.run(x), halves.run(x))


@pytest.fixture
def model() -> Model:
    return Model.from_bytes(tiny.sample().encode())


def test_description(model: Model) -> None:
    assert [(p.name, p.shape) for p in model.inputs] == [("x", (1, 3, 4, 4))]
    assert [(p.name, p.shape) for p in model.outputs] == [("y", (1, 3))]
    assert (model.op_count, model.format_version, model.lanes) == (10, 1, 16)
    assert model.arena_bytes == tiny.sample().arena_bytes
    assert model.meta == {"name": "tiny"}
    assert repr(model) == f"<Model x[1, 3, 4, 4] -> y[1, 3], {model.isa}>"


def test_a_batch_is_a_loop(model: Model) -> None:
    batch = np.concatenate([X, -X, X * 0.5])
    expected = np.concatenate([np.asarray(model.run(x[None])) for x in batch])
    np.testing.assert_array_equal(model.run(batch), expected)


def test_inputs_by_name_and_of_other_kinds(model: Model) -> None:
    expected = model.run(X)
    np.testing.assert_array_equal(model.run({"x": X}), expected)
    np.testing.assert_array_equal(model.run(X.astype(np.float64)), expected)
    np.testing.assert_array_equal(model.run(X.astype(">f4")), expected)
    np.testing.assert_array_equal(model.run(np.asfortranarray(X)), expected)
    shifted = np.frombuffer(b"\0" + X.tobytes(), np.float32, offset=1).reshape(X.shape)
    assert not shifted.flags.aligned
    np.testing.assert_array_equal(model.run(shifted), expected)
    X.flags.writeable = False
    np.testing.assert_array_equal(model.run(X), expected)


WRONG: list[tuple[tuple[Any, ...], str]] = [
    ((X[0],), 'input "x": expected shape [1, 3, 4, 4], got [3, 4, 4]'),
    ((X[:, :2],), 'input "x": expected shape [1, 3, 4, 4], got [1, 2, 4, 4]'),
    ((X[:0],), 'input "x": expected shape [1, 3, 4, 4], got [0, 3, 4, 4]'),
    ((np.float32(1),), 'input "x": expected shape [1, 3, 4, 4], got []'),
    ((X.astype(complex),), 'input "x": expected numbers, got dtype complex128'),
    ((["a"],), 'input "x": expected numbers, got dtype <U1'),
    ((X, X), "expected 1 inputs, got 2"),
    ((), "expected 1 inputs, got 0"),
    (({"z": X},), "expected inputs ['x'], got ['z']"),
]


@pytest.mark.parametrize(("inputs", "text"), WRONG)
def test_wrong_inputs(model: Model, inputs: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ValueError) as e:
        model.run(*inputs)
    assert str(e.value) == text


def test_several_outputs_and_scalar_ports() -> None:
    t = Tiny(meta=b"", lanes=1)
    x = t.port("x", ())
    y, z = t.port("y", (), output=True), t.port("z", (), output=True)
    t.io[0].rank = t.io[1].rank = 0
    once = {"map": {"dim": [1, 1, 1, 1]}}
    t.op(c.FIL_OP_MAP, (x, x), y, fn=c.FIL_MAP_ADD, p=once)
    t.op(c.FIL_OP_MAP, (y, x), z, fn=c.FIL_MAP_MUL, p=once)
    doubled, product = Model.from_bytes(t.encode()).run(np.float32(3))
    assert doubled.shape == () and doubled == 6
    assert product.shape == (1,) and product == 18


def test_threads_share_a_model(model: Model) -> None:
    inputs = [X * k for k in range(1, 9)]
    expected = [model.run(x) for x in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(200):
            if not np.array_equal(model.run(inputs[k]), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_profile_names_every_op(model: Model) -> None:
    t = tiny.sample()
    t.meta = b'{"nodes":["stem"]}'
    times = Model.from_bytes(t.encode()).profile(X, repeats=3)
    assert [o.kind for o in times[:3]] == ["conv", "dwconv", "spmm"]
    assert times[0].node == "stem" and times[9] == OpTime(9, "softmax", "", times[9].seconds)
    assert all(o.seconds > 0 for o in times)
    with pytest.raises(ValueError, match="one sample"):
        model.profile(np.concatenate([X, X]))


def test_tensors_after_a_run(model: Model) -> None:
    with pytest.raises(ValueError, match="before the first run"):
        model.tensor(1)
    y = model.run(X)
    mixed = model.tensor(9).astype(np.float64)
    e = np.exp(mixed - mixed.max())
    np.testing.assert_allclose(e / e.sum(), np.asarray(y)[0], rtol=1e-5)
    assert model.tensor(1).shape == (4, 4, 4)
    np.testing.assert_array_equal(model.tensor(11), tiny.prime_paint(3, 3))
    with pytest.raises(ValueError, match="the caller has it"):
        model.tensor(0)
    with pytest.raises(IndexError):
        model.tensor(13)


def test_load_maps_a_file(sample_file: Path, model: Model) -> None:
    np.testing.assert_array_equal(load(sample_file).run(X), model.run(X))


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.fil"
    path.write_bytes(b"")
    with pytest.raises(BadFile, match=r"bad\.fil: the file is shorter than it says"):
        load(path)
    path.write_bytes(tiny.sample().encode()[:-1] + b"!")
    with pytest.raises(BadFile) as e:
        load(path)
    assert str(e.value) == "bad.fil: a checksum does not match (section 5) [E_CRC]"
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.fil")


@pytest.mark.parametrize("meta", [b"{", b"\xff", b"[1]", b"[" * 100_000])
def test_metadata_that_is_not_an_object(meta: bytes) -> None:
    t = tiny.sample()
    t.meta = meta
    with pytest.raises(BadFile, match="metadata is not"):
        _ = Model.from_bytes(t.encode()).meta


def test_isa_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.sample().encode()
    monkeypatch.setenv(ISA_VARIABLE, "scalar")
    assert Model.from_bytes(data).isa == "scalar"
    monkeypatch.setenv(ISA_VARIABLE, "mmx")
    with pytest.raises(ValueError) as e:
        Model.from_bytes(data)
    present = ", ".join(isas())
    assert str(e.value) == f'FILIGREE_ISA "mmx" is not an instruction set; present: {present}'
    monkeypatch.delenv(ISA_VARIABLE)
    assert Model.from_bytes(data).isa == isas()[-1]


def test_isa_that_this_machine_lacks() -> None:
    absent = "neon" if "neon" not in isas() else "avx2"
    with pytest.raises(ValueError, match=f'"{absent}" is not present here; present: scalar'):
        Model.from_bytes(tiny.sample().encode(), isa=absent)


def test_version_is_the_package_version() -> None:
    from importlib.metadata import version

    from filigree.native._ffi import ffi, lib

    assert bytes(ffi.string(lib.fil_version())).decode() == version("filigree")
