"""``filigree doctor``: what this machine has, what each part enables, how to get the rest."""

from __future__ import annotations

from dataclasses import asdict

from filigree.cli.console import console
from filigree.cli.options import json_option, register


@register("doctor", "Show what this machine has and lacks.")
@json_option
def command(as_json: bool) -> None:
    """Look at the processor, Python packages, emulators and compilers; changes nothing."""
    from filigree.cli.tasks.checkup import checkup

    findings = checkup()
    if as_json:
        console.json({"findings": [asdict(finding) for finding in findings]})
    else:
        for area in dict.fromkeys(finding.area for finding in findings):
            console.line(area)
            rows = [f for f in findings if f.area == area]
            console.table(
                ("  what", "state", "for", "to install"),
                [(f"  {f.name}", f.state, f.enables, f.install) for f in rows],
            )
            console.line()
