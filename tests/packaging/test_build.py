"""Building the runner: every toolchain, the cache, and what a failure leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from filigree.native.model import Model
from filigree.packaging import build, emulate, sources, targets, toolchains
from filigree.packaging.engines import Job
from filigree.packaging.errors import BuildFailed
from tests.conftest import need
from tests.packaging.conftest import F32, need_engine

WASM = targets.target("wasm")
ARM64 = targets.target("arm64")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "filigree"


@pytest.fixture
def own_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the C sources, to change."""
    copy = tmp_path / "native"
    shutil.copytree(sources.native(), copy, ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    monkeypatch.setattr(sources, "native", lambda: copy)
    return copy


@pytest.fixture
def chain() -> toolchains.Toolchain:
    found = next(iter(toolchains.candidates(WASM)), None)
    need("ziglang", found is not None, "no compiler for wasm (pip install ziglang)")
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["arm64", "wasm-node"])
def test_every_toolchain_builds_a_runner_that_agrees(
    name: str, sample: bytes, image: F32, own_cache: Path
) -> None:
    need_engine(name)
    engine = targets.engine(name)
    want = Model.from_bytes(sample).run(image)
    for chain in toolchains.candidates(engine.target):
        if "cc" in chain.link:
            continue  # zig compiles a C library first: a minute
        runner = build.runner(engine.target, toolchain=chain)
        job = Job(engine.target, runner, sample, [image])
        (got,) = emulate.PROGRAMS[engine.program].run(job).outputs
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6, err_msg=chain.name)


def test_built_once(chain: toolchains.Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.runner(WASM, toolchain=chain)
    monkeypatch.setattr(build, "call", None)
    assert build.runner(WASM, toolchain=chain) == first
    assert [path.name for path in first.parent.iterdir()] == ["runner.wasm"]


def test_the_key_changes_with_sources_and_flags(
    chain: toolchains.Toolchain, own_sources: Path
) -> None:
    before = build.key(WASM, chain)
    assert build.key(WASM, chain) == before
    assert build.key(targets.target("wasm-relaxed"), chain) != before
    header = own_sources / "include" / "filigree" / "filigree.h"
    header.write_text(header.read_text() + "\n")
    assert build.key(WASM, chain) != before


def test_a_failed_build_leaves_nothing(
    chain: toolchains.Toolchain, own_cache: Path, own_sources: Path
) -> None:
    (own_sources / "runtime" / "run.c").write_text('#error "no"\n')
    with pytest.raises(BuildFailed) as failed:
        build.runner(WASM, toolchain=chain)
    assert failed.value.headline == "compiling run.c for wasm failed"
    assert any('"no"' in line for line in failed.value.lines)
    assert [path for path in own_cache.rglob("*") if path.is_file()] == []


def test_undefined_symbols_do_not_become_imports(
    chain: toolchains.Toolchain, own_cache: Path, own_sources: Path
) -> None:
    run = own_sources / "runtime" / "run.c"
    run.write_text(
        run.read_text() + "void missing(void);\nvoid fil_run_more(void);\n"
        '__attribute__((export_name("more"))) void fil_run_more(void) { missing(); }\n'
    )
    with pytest.raises(BuildFailed, match=r"(?s)linking for wasm failed.*undefined symbol"):
        build.runner(WASM, toolchain=chain)
