"""Instruction counts of emulated runs repeat exactly, name the kernels and add up."""

from __future__ import annotations

import pytest

from filigree.native.model import Model
from filigree.packaging import count, firmware, targets
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
    assert 0 < loop < 1500


@pytest.mark.parametrize("isa", ["neon", "scalar"])
def test_operations_repeat_and_add_up_to_the_whole(
    counting: None, isa: str, sample: bytes, image: F32
) -> None:
    ops = count.count_ops(sample, [image], isa=isa)
    assert ops == count.count_ops(sample, [image], isa=isa)
    assert len(ops) == Model.from_bytes(sample).op_count
    assert min(ops) > 0
    assert sum(ops) == sum(count.count(sample, [image], isa=isa).values())


@pytest.mark.parametrize("core", [row.name for row in targets.MCUS])
def test_a_core_counts_and_says_what_memory_it_took(core: str, sample: bytes, image: F32) -> None:
    need_engine(core)
    found = count.measure(sample, [image], target=core)
    assert found == count.measure(sample, [image], target=core)
    assert len(found.instructions) == Model.from_bytes(sample).op_count
    assert min(found.instructions) > 0
    symbols = count.count(sample, [image], target=core)
    assert symbols["fil_spmm_scalar"] > 0
    assert sum(found.instructions) == sum(symbols.values())
    memory, board = found.memory, firmware.board_of(targets.target(core))
    assert memory["arena"] == Model.from_bytes(sample).arena_bytes
    assert memory["model"] == len(sample)
    assert memory["ports"] == 192 + 16
    assert 0 < memory["stack"] < firmware.STACK_BYTES
    assert 0 < memory["static"] < 1024
    assert 4096 < memory["code"] < 64 << 10
    assert (memory["flash_limit"], memory["ram_limit"]) == (board.flash_bytes, board.ram_bytes)


def test_fuel_repeats(sample: bytes, image: F32) -> None:
    need_engine("wasm-wasmtime")
    used = count.fuel(sample, [image])
    assert used == count.fuel(sample, [image]) > 0
    assert used < count.fuel(sample, [image], isa="scalar")
