"""``filigree doctor`` and ``filigree calibrate``."""

from __future__ import annotations

import json

from filigree.native.model import isas
from tests.cli.conftest import Cli


def test_doctor_reports_instruction_sets_packages_and_tools(cli: Cli) -> None:
    done = cli("doctor", "--json")
    findings = {item["name"]: item for item in json.loads(done.out)["findings"]}
    assert (done.code, done.err) == (0, "")
    for isa in isas():
        assert findings[isa]["state"] == "ok, self-test passed"
    assert findings["numpy"]["state"][0].isdigit()
    for name in ("qemu-aarch64", "node", "wasmtime"):
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
