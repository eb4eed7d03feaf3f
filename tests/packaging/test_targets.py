"""The table of targets agrees with native's own lists."""

from __future__ import annotations

import pytest

from filigree.converter import pipeline
from filigree.native import enums as c
from filigree.packaging import sources, targets


def test_isas_are_those_of_the_headers() -> None:
    assert len(sources.isas()) == c.FIL_ISA_COUNT
    assert list(sources.isas())[c.FIL_ISA_WASM_RELAXED] == "wasm_relaxed"


def test_every_target_and_processor_names_known_isas() -> None:
    named = [*(t.isas for t in targets.TARGETS), *sources.processors().values()]
    assert {isa for isas in named for isa in isas} | {targets.SCALAR} == set(sources.isas())


def test_arm64_is_what_cmake_builds_for_the_processor() -> None:
    assert targets.target("arm64").isas == sources.processors()["aarch64"]


def test_flags_are_cmakes() -> None:
    assert sources.isa_flags("wasm_relaxed") == ("-msimd128", "-mrelaxed-simd")
    assert sources.isa_flags("neon") == ("-mtune=cortex-a55", "-fno-unroll-loops")
    assert sources.isa_flags("scalar") == ()


def test_an_isa_picks_the_build_that_has_it() -> None:
    wasm = targets.target("wasm")
    assert targets.with_isa(wasm, None) is wasm
    assert targets.with_isa(wasm, "scalar") is wasm
    assert targets.with_isa(wasm, "wasm_relaxed") is targets.target("wasm-relaxed")


def test_cores_are_the_converters() -> None:
    assert tuple(row.name for row in targets.MCUS) == pipeline.CORES


def test_operations_are_those_of_the_headers() -> None:
    kinds = [getattr(c, f"FIL_OP_{name}") for name in sources.ops()]
    assert kinds == list(range(c.FIL_OP_COUNT))


def test_unknown_isa_and_target() -> None:
    with pytest.raises(targets.UnknownTarget) as isa:
        targets.with_isa(targets.target("arm64"), "avx2")
    assert isa.value.lines == ["it has scalar, neon, neon_dotprod, neon_fp16"]
    assert isa.value.headline == "arm64 has no instruction set avx2"
    with pytest.raises(targets.UnknownTarget) as target:
        targets.engine("pdp11")
    assert str(target.value).startswith('"pdp11" is not a target\n  targets: wasm, arm64, ')
    assert target.value.exit_code == 2
