"""Threads: the same bits for any number of them, no data race, and what Python adds."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from filigree.converter import convert
from filigree.native.model import Model, isas
from tests.conftest import need
from tests.models.zoo import ZOO, sample_inputs
from tests.native import build, tiny
from tests.native.test_c import run

COUNTS = (1, 2, 3, 5)
X = tiny.prime_paint(1, 3, 45, 24)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Packed models of every kind of op, a band, float16 and int4 weights, for all lanes."""
    folder = tmp_path_factory.mktemp("threads")
    made = []
    for lanes in (1, 4, 16):
        models = (
            tiny.sample(lanes=lanes),
            tiny.band(lanes=lanes),
            tiny.pixels(lanes=lanes),
            tiny.shared_out(lanes=lanes),
            tiny.shared_out(lanes=lanes, half=True),
            tiny.shared_out(lanes=lanes, four=True),
            tiny.pixels(lanes=lanes, four=True),
        )
        for model in models:
            path = folder / f"{len(made)}.fil"
            path.write_bytes(model.encode())
            made.append(str(path))
    return made


@pytest.fixture(scope="module")
def race_checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the C tests, built with ThreadSanitizer."""
    need("cmake", build.find_tool("cmake") is not None, "cmake is not installed")
    folder = build.cmake("native-tsan", "-DFIL_TSAN=ON", "-DFIL_BUILD_TESTS=ON")
    done = subprocess.run([folder / "test_runtime"], capture_output=True, text=True, check=False)
    need(
        "tsan",
        "unexpected memory mapping" not in done.stderr,
        "this kernel's addresses are not "
        "those that ThreadSanitizer knows (sysctl vm.mmap_rnd_bits=28)",
    )
    return folder


def test_no_data_race(race_checked: Path, files: list[str]) -> None:
    run(race_checked / "test_threads", *files)


def test_no_part_reaches_too_far(sanitized: Path, files: list[str]) -> None:
    run(sanitized / "test_threads", *files)


def digest(model: Model, x: tiny.F32) -> str:
    return hashlib.sha256(np.asarray(model.run(x)).tobytes()).hexdigest()


def same_bits(packed: bytes, x: tiny.F32) -> None:
    """On every instruction set, whatever the number of threads."""
    for isa in isas():
        hashes = {n: digest(Model.from_bytes(packed, isa=isa, threads=n), x) for n in COUNTS}
        assert set(hashes.values()) == {hashes[1]}, isa


def test_embedded_network(digits: Path) -> None:
    converted = convert(digits / "digits_sparse80.onnx")
    same_bits(converted.data, np.load(digits / "digits_test.npz")["x"][:1])


@pytest.mark.parametrize("name", ["vww", "kws", "resnet8", "ad", "mobilenet-v2"])
def test_real_networks(name: str, data: Path) -> None:
    (entry,) = [e for e in ZOO if e.name == name]
    converted = convert(data / "models" / entry.file)
    same_bits(converted.data, sample_inputs(entry, data, 1))


@pytest.fixture
def packed() -> bytes:
    return tiny.shared_out().encode()


def test_number_of_threads(packed: bytes) -> None:
    assert [Model.from_bytes(packed, threads=n).threads for n in (1, 3)] == [1, 3]
    for wrong in (0, -1, 257, 10**9):
        with pytest.raises(ValueError) as e:
            Model.from_bytes(packed, threads=wrong)
        assert str(e.value) == f"threads: 1 to 256, got {wrong}"


def count_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.fixture
def only_linux() -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("no list of threads on this system")


def test_threads_end_with_the_model(packed: bytes, only_linux: None) -> None:
    before = count_threads()
    model = Model.from_bytes(packed, threads=4)
    want = digest(model, X)
    assert count_threads() == before + 3
    model.close()
    model.close()
    assert (count_threads(), model.threads) == (before, 1)
    assert digest(model, X) == want
    model = Model.from_bytes(packed, threads=4)
    del model
    gc.collect()
    assert count_threads() == before


def test_a_fork_has_threads_of_its_own(packed: bytes, only_linux: None) -> None:
    model = Model.from_bytes(packed, threads=3)
    want = digest(model, X)
    child = os.fork()
    if child == 0:
        ok = digest(model, X) == want and count_threads() == 3
        model.close()
        os._exit(0 if ok and count_threads() == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert digest(model, X) == want


def test_callers_take_turns(packed: bytes) -> None:
    model = Model.from_bytes(packed, threads=3)
    want, wrong = digest(model, X), []

    def work() -> None:
        wrong.extend(k for k in range(50) if digest(model, X) != want)

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_traces_come_from_the_caller(packed: bytes) -> None:
    model = Model.from_bytes(packed, threads=3)
    seen: list[tuple[int, int]] = []
    model.trace(X, after=lambda op: seen.append((op, threading.get_ident())))
    assert seen == [(op, threading.get_ident()) for op in range(model.op_count)]
    assert len(model.profile(X, repeats=2)) == model.op_count
