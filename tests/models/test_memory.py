"""The memory tables' arithmetic, and one process of our own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from filigree.converter import convert
from tests.models import memory, peak_memory
from tests.models.memory import Cell, Row

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def test_resident_memory_as_linux_tells_it(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
    assert peak_memory.resident("VmHWM", status) == 2 << 20
    assert peak_memory.resident("VmRSS", status) == 1 << 20
    with pytest.raises(ValueError, match="has no VmSwap"):
        peak_memory.resident("VmSwap", status)


def test_cells_and_rows() -> None:
    assert Cell("ours", 30_000_000, 2_000_000).text == "2.00 MB (30.0 MB)"
    assert Cell("runner", 3_000_000).text == "3.00 MB"
    assert Cell("other", skipped="it is not here").text == "- (it is not here)"
    row = Row("net", 200_000, 50_000, 500_000, "", [])
    assert memory.arena_line(row) == "| net | 0.20 MB | 0.25 MB | 0.50 MB | 2.00x |"
    row = Row("net", 200_000, 50_000, None, "no model", [])
    assert memory.arena_line(row) == "| net | 0.20 MB | 0.25 MB | - (no model) | - |"


@linux
def test_a_process_of_our_own(tmp_path: Path, digits: Path) -> None:
    packed = tmp_path / "digits.fil"
    packed.write_bytes(convert(digits / "digits_sparse80.onnx").data)
    found = memory.cell("filigree", "ours", packed)
    assert found.peak is not None and found.above is not None
    assert 0 < found.above < found.peak


@linux
def test_an_engine_that_fails_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.fil"
    broken.write_bytes(b"no model")
    found = memory.cell("filigree", "ours", broken)
    assert found.peak is None and "BadFile" in found.skipped
    assert memory.cell("litert", "LiteRT", "no model").skipped == "no model"


@linux
def test_the_arena_of_litert(data: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    found = memory.child("litert-arena", data / "models" / memory.TFLITE["vww"])
    assert isinstance(found, dict)
    assert found["arena"] > 4 * 3 * 96 * 96
