"""Write docs/onnx-operators.md: ``python -m tests.onnx_nodes.table``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.onnx_nodes.cases import collect

PAGE = Path(__file__).resolve().parents[2] / "docs" / "onnx-operators.md"


def render() -> str:
    """The page as text: supported operators, tests run, tests left out with reasons."""
    from filigree.converter.lowering import supported_ops

    cases, left_out = collect()
    run = Counter(c.op for c in cases)
    out = Counter(c.op for c in left_out)
    lines = [
        "# ONNX operators",
        "",
        "Made by `python -m tests.onnx_nodes.table`; a test keeps it current.",
        "",
        f"{len(cases)} of ONNX's own backend node tests apply and pass on every ISA;"
        f" {len(left_out)} more belong to supported operators and are left out for the reasons"
        " below.",
        "",
        "| operator | forms | tests run | left out |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {op} | {note} | {run[op]} | {out[op]} |" for op, note in sorted(supported_ops().items())
    ]
    mixed = sum(n for op, n in run.items() if op not in supported_ops())
    lines += [
        "",
        f"{mixed} further tests that run are functions expanded into several of these operators.",
        "",
        "## Left out",
        "",
        "| test | operators | reason |",
        "|---|---|---|",
    ]
    lines += [f"| {c.name} | {c.op} | {c.reason} |" for c in left_out]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render())
