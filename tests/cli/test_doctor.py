"""``filigree doctor`` and ``filigree calibrate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filigree.converter.sparsity.cost import CostTable
from filigree.native.model import isas
from tests.cli.conftest import Cli


def test_doctor_reports_instruction_sets_packages_and_tools(cli: Cli) -> None:
    done = cli("doctor", "--json")
    findings = {item["name"]: item for item in json.loads(done.out)["findings"]}
    assert (done.code, done.err) == (0, "")
    for isa in isas():
        assert findings[isa]["state"] == "ok, self-test passed"
    assert findings["numpy"]["state"][0].isdigit()
    for name in ("qemu-aarch64", "qemu-system-arm", "node", "wasmtime"):
        missing = findings[name]["state"] == "missing"
        assert missing == bool(findings[name]["install"])


def test_doctor_as_text(cli: Cli) -> None:
    done = cli("doctor")
    assert (done.code, done.err) == (0, "")
    headings = [line for line in done.out.splitlines() if line and not line.startswith(" ")]
    assert headings == [
        "machine",
        "instruction sets",
        "Python packages",
        "emulators and compilers",
    ]


def test_calibrate_writes_a_table_of_an_instruction_set(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = CostTable.load("x86-64-avx2")
    asked: list[str | None] = []

    def measured(isa: str | None = None, *, progress: object = None) -> CostTable:
        asked.append(isa)
        return table

    monkeypatch.setattr(CostTable, "measure", measured)
    out = tmp_path / "costs.json"
    done = cli("calibrate", "--isa", "avx2", "-o", out)
    assert (done.code, done.out, done.err) == (0, f"wrote {out}\n", "")
    assert (asked, CostTable.load(out)) == (["avx2"], table)


def test_calibrate_of_an_absent_instruction_set(cli: Cli, tmp_path: Path) -> None:
    done = cli("calibrate", "--isa", "sse9", "-o", tmp_path / "costs.json")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f'error: "sse9" is not here; present: {", ".join(isas())}\n'
        "  next: filigree doctor lists what is present\n"
    )
