"""Every engine runs small models as the host does, and says what is wrong when it cannot."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from filigree.native import enums as c
from filigree.native.model import Model
from filigree.packaging import build, emulate, targets
from filigree.packaging.engines import qemu
from filigree.packaging.errors import BadFile, ToolMissing
from tests.native import tiny
from tests.packaging.conftest import ENGINES, F32, SMALL, need_engine

CASES = [
    (name, isa)
    for name in ENGINES
    for isa in (None, targets.SCALAR, *targets.engine(name).target.isas)
    if isa != qemu.F16_ISA  # it runs other files
]


def host(fil: bytes, *inputs: F32) -> list[F32]:
    got = Model.from_bytes(fil, isa=targets.SCALAR).run(*inputs)
    return list(got) if isinstance(got, tuple) else [got]


def elementwise(size: int) -> bytes:
    """Two inputs, two outputs: sum and product of vectors."""
    t = tiny.Tiny(meta=b"")
    a, b = t.port("a", (size,)), t.port("b", (size,))
    walk = {f: [0, 0, 0, 1] for f in ("sa", "sb", "so")} | {"dim": [1, 1, 1, size]}
    for fn in (c.FIL_MAP_ADD, c.FIL_MAP_MUL):
        t.op(c.FIL_OP_MAP, (a, b), t.port("y", (size,), output=True), fn=fn, p={"map": walk})
    return t.encode()


@pytest.mark.parametrize(("name", "isa"), CASES)
def test_agrees_with_the_host(name: str, isa: str | None, sample: bytes, image: F32) -> None:
    need_engine(name)
    (want,) = host(sample, image)
    others = (tiny.sample(half=True), tiny.sample(four=True))  # the same weights
    for fil in (sample, *(other.encode() for other in others)):
        (got,) = emulate.run(name, fil, [image], isa=isa)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_float16_where_the_processor_has_it() -> None:
    need_engine("arm64")
    fil, x = tiny.converted().encode(), tiny.prime_paint(1, 2, 16)
    want = x + tiny.prime_paint(2, 16)
    for isa in (None, "neon_fp16"):
        (got,) = emulate.run("arm64", fil, [x], isa=isa)
        np.testing.assert_array_equal(got, want)  # small enough to be exact
    with pytest.raises(BadFile) as refused:
        emulate.run("arm64", fil, [x], isa="neon")  # on a processor of before
    assert refused.value.lines[0].startswith("E_ISA")
    with pytest.raises(BadFile) as refused:
        emulate.run("arm64", tiny.one_op().encode(), [x.reshape(-1)[:16]], isa="neon_fp16")
    assert refused.value.lines[0].startswith("E_UNSUPPORTED")


def every_half() -> tuple[bytes, F32]:
    """x of ones to x times every finite float16, by SPMM in parts and by SPMV."""
    bits = np.arange(2**16, dtype=np.uint32).astype(np.uint16)
    halves = bits.view(np.float16)[np.isfinite(bits.view(np.float16))].astype(np.float32)
    t = tiny.Tiny(meta=b"", lanes=4, dtype=c.FIL_F16)
    x = t.port("x", (1, 4), split=1)
    planes = t.port("planes", (halves.size, 4), split=1, output=True)
    vector = t.port("vector", (halves.size,), output=True)
    bias = np.zeros(halves.size, np.float32)
    for kind, out, side, block_rows in (
        (c.FIL_OP_SPMM, planes, 2, 8),
        (c.FIL_OP_SPMV, vector, 1, 16),
    ):
        w = t.matrix(halves[:, None], bias, block_rows=block_rows, coding=c.FIL_CODING_NONE)
        t.op(kind, (x,), out, weights=w, p=tiny._conv(1, side, pitch=4))
    return t.encode(), halves


@pytest.mark.parametrize(("name", "isa"), [case for case in CASES if case[0] not in SMALL])
def test_every_half(name: str, isa: str | None) -> None:
    need_engine(name)
    fil, halves = every_half()
    planes, vector = emulate.run(name, fil, [np.ones((1, 1, 4), np.float32)], isa=isa)
    np.testing.assert_array_equal(planes.reshape(-1, 4), np.repeat(halves[:, None], 4, axis=1))
    np.testing.assert_array_equal(vector.reshape(-1), halves)


def test_relaxed_module_is_found_by_its_isa(sample: bytes, image: F32) -> None:
    need_engine("wasm-wasmtime")
    (got,) = emulate.run("wasm-wasmtime", sample, [image], isa="wasm_relaxed")
    np.testing.assert_allclose(got, host(sample, image)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["arm64", "wasm-threads-node"])
def test_threads_give_the_same_bits(name: str) -> None:
    need_engine(name)
    x = tiny.prime_paint(1, 3, 45, 24)
    for fil in (tiny.shared_out().encode(), tiny.shared_out(four=True).encode()):
        (one,) = emulate.run(name, fil, [x])
        np.testing.assert_allclose(one, host(fil, x)[0], rtol=1e-5, atol=1e-6)
        for threads in (2, 3, 5):
            (got,) = emulate.run(name, fil, [x], threads=threads)
            np.testing.assert_array_equal(got, one)


def test_wasm_with_threads_has_the_bits_of_wasm_without() -> None:
    need_engine("wasm-threads-node")
    fil, x = tiny.shared_out().encode(), tiny.prime_paint(1, 3, 45, 24)
    want = emulate.run("wasm-node", fil, [x], threads=3)  # has one
    np.testing.assert_array_equal(emulate.run("wasm-threads-node", fil, [x], threads=3), want)


def test_a_number_of_threads_that_there_cannot_be() -> None:
    for name in ("arm64", "wasm-threads-node"):
        need_engine(name)
        fil, x = tiny.shared_out().encode(), tiny.prime_paint(1, 3, 45, 24)
        with pytest.raises(targets.UnknownTarget):
            emulate.run(name, fil, [x], threads=1000)


def test_several_ports_and_memory_that_grows(engine: str) -> None:
    # 1 MiB each: more than a fresh WebAssembly memory
    size = 1 << (12 if engine in SMALL else 18)
    fil = elementwise(size)
    inputs = [tiny.prime_paint(1, size), tiny.prime_paint(1, size, period=17)]
    for got, want in zip(emulate.run(engine, fil, inputs), host(fil, *inputs), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_damaged_file_is_refused(engine: str, sample: bytes, image: F32) -> None:
    damaged = sample[:-1] + bytes([sample[-1] ^ 1])
    with pytest.raises(BadFile) as refused:
        emulate.run(engine, damaged, [image])
    assert refused.value.exit_code == 7
    assert refused.value.lines[0].startswith("E_CRC: a checksum does not match (item ")


def test_inputs_that_do_not_fit(engine: str, sample: bytes, image: F32) -> None:
    with pytest.raises(ValueError, match="input 0 has 188 bytes, the model takes 192"):
        emulate.run(engine, sample, [image.ravel()[1:]])
    with pytest.raises(ValueError, match="2 inputs, the model takes 1"):
        emulate.run(engine, sample, [image, image])


def test_an_isa_of_another_family(engine: str, sample: bytes, image: F32) -> None:
    with pytest.raises(targets.UnknownTarget):
        emulate.run(engine, sample, [image], isa="avx512")


@pytest.mark.parametrize("name", [n for n in ENGINES if targets.engine(n).target.is_wasm])
def test_times_every_run(name: str, sample: bytes, image: F32) -> None:
    need_engine(name)
    times = emulate.time(name, sample, [image], 5)
    assert len(times) == 5 and min(times) >= 0


def test_emulated_processors_are_not_timed(sample: bytes, image: F32) -> None:
    with pytest.raises(targets.UnknownTarget, match="its times mean nothing"):
        emulate.time("arm64", sample, [image], 5)


def test_wasm_imports_nothing() -> None:
    need_engine("wasm-wasmtime")
    wasmtime = pytest.importorskip("wasmtime")
    for row in targets.TARGETS:
        if row.is_wasm and not row.has_threads:
            module = wasmtime.Module.from_file(wasmtime.Engine(), str(build.runner(row)))
            assert not module.imports


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No programs on the PATH, no optional packages."""
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    found = importlib.util.find_spec
    optional = {"ziglang", "wasmtime"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in optional else found(name)
    )
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    yield


def test_what_is_missing_says_how_to_install_it(
    bare_machine: None, sample: bytes, image: F32
) -> None:
    names = ("arm64", "wasm", "cortex-m4", "wasm-wasmtime")
    assert {name: emulate.available(name) for name in names} == {
        "arm64": "qemu-aarch64 is not installed (apt-get install qemu-user)",
        "wasm": "node is not installed (apt-get install nodejs)",
        "cortex-m4": "qemu-system-arm is not installed (apt-get install qemu-system-arm)",
        "wasm-wasmtime": "the Python package wasmtime is not installed "
        '(pip install "filigree[emulate]")',
    }
    with pytest.raises(ToolMissing) as missing:
        emulate.run("arm64", sample, [image])
    assert missing.value.exit_code == 5


def test_missing_compilers(bare_machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in emulate.PROGRAMS.values():
        owner = qemu.User if isinstance(program, qemu.User) else program
        monkeypatch.setattr(owner, "missing", lambda *_: None)
    assert emulate.available("arm64") == (
        'no compiler for arm64 (pip install "filigree[cross]"   '
        "or: apt-get install gcc-aarch64-linux-gnu)"
    )
    assert emulate.available("wasm") == (
        'no compiler for wasm (pip install "filigree[cross]"   or: apt-get install clang-19 lld-19)'
    )
    assert emulate.available("cortex-m4") == (
        'no compiler for cortex-m4 (pip install "filigree[cross]")'
    )
