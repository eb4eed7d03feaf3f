"""Instruction counts of emulated runs repeat exactly, name the kernels and add up."""

from __future__ import annotations

import pytest

from filigree.native.model import Model
from filigree.packaging import count
from tests.conftest import need
from tests.packaging.conftest import F32, need_engine


@pytest.fixture
def counting() -> None:
    need_engine("arm64")
    reason = count.available()
    need("qemu", reason is None, reason or "")


@pytest.mark.parametrize("isa", ["neon", "scalar"])
def test_counts_repeat_and_name_the_kernels(
    counting: None, isa: str, sample: bytes, image: F32
) -> None:
    counts = count.count(sample, [image], isa=isa)
    assert counts == count.count(sample, [image], isa=isa)
    assert counts[f"fil_spmm_{isa}"] > 0
    assert list(counts.values()) == sorted(counts.values(), reverse=True)


def test_opening_is_left_out(counting: None, sample: bytes, image: F32) -> None:
    counts = count.count(sample, [image])
    assert not {"fil_open", "fil_crc32c", "fil_isa_selftest"} & set(counts)
    loop = sum(n for symbol, n in counts.items() if symbol.startswith("fil_run"))
    assert 0 < loop < 1000


@pytest.mark.parametrize("isa", ["neon", "scalar"])
def test_operations_repeat_and_add_up_to_the_whole(
    counting: None, isa: str, sample: bytes, image: F32
) -> None:
    ops = count.count_ops(sample, [image], isa=isa)
    assert ops == count.count_ops(sample, [image], isa=isa)
    assert len(ops) == Model.from_bytes(sample).op_count
    assert min(ops) > 0
    assert sum(ops) == sum(count.count(sample, [image], isa=isa).values())


def test_fuel_repeats(sample: bytes, image: F32) -> None:
    need_engine("wasm-wasmtime")
    used = count.fuel(sample, [image])
    assert used == count.fuel(sample, [image]) > 0
    assert used < count.fuel(sample, [image], isa="scalar")
