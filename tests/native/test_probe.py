"""The probe returns positive numbers; how large they are is the machine's business."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from filigree.native import probe
from filigree.native.model import isas


@pytest.mark.parametrize("isa", isas())
def test_a_peak(isa: str) -> None:
    assert 0 < probe.peak(isa) < math.inf


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("working_set", [1, 4096, 1 << 18])
def test_a_bandwidth(isa: str, working_set: int) -> None:
    assert 0 < probe.Triad(isa, working_set).rate() < math.inf


@pytest.mark.parametrize("isa", isas())
def test_the_triad_computes(isa: str) -> None:
    triad = probe.Triad(isa, 12 * 128)
    a, b, c = (array.view("float32") for array in triad._arrays)
    b[:], c[:] = 1.0, range(128)
    triad.rate()
    assert a.tolist() == [1.0 + 3.0 * i for i in range(128)]


def test_an_absent_instruction_set() -> None:
    with pytest.raises(ValueError, match='"sse9" is not an instruction set that is here'):
        probe.peak("sse9")


def test_levels_grow_and_end_in_main_memory() -> None:
    *caches, last = probe.levels()
    sizes = [level.bytes for level in caches]
    assert last == probe.Level(probe.DRAM, None)
    assert sizes and sizes == sorted(sizes)
    assert probe.near() in caches


def test_caches_as_linux_tells_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (("Data", "1", "48K"), ("Instruction", "1", "32K"), ("Unified", "2", "2M"))
    for i, (kind, level, size) in enumerate(rows):
        folder = tmp_path / f"index{i}"
        folder.mkdir()
        for name, text in (("type", kind), ("level", level), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    monkeypatch.setattr(probe, "_CPU", tmp_path)
    assert [(x.name, x.bytes) for x in probe.levels()] == [
        ("L1", 48 << 10),
        ("L2", 2 << 20),
        ("DRAM", None),
    ]
    monkeypatch.setattr(probe, "_CPU", tmp_path / "nothing")
    assert [x.name for x in probe.levels()] == ["L1", "L2", "DRAM"]
