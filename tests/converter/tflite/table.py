"""Write docs/tflite-operators.md: ``python -m tests.converter.tflite.table``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tflite-operators.md"


def render() -> str:
    """The page as text: operators, their forms, and how many networks test each."""
    from filigree.converter.frontends.tflite.operators import OPERATORS
    from tests.converter.tflite.nets import CASES

    uses = Counter(kind for case in CASES for kind in set(case.net().kinds))
    eight = Counter(kind for case in CASES if case.eight_bits for kind in set(case.net().kinds))
    lines = [
        "# TFLite operators",
        "",
        "Made by `python -m tests.converter.tflite.table`; a test keeps it current.",
        "",
        f"{len(CASES)} small networks are read, converted and compared with ONNX Runtime and, where"
        " ai-edge-litert is installed, with LiteRT; those that TFLite has in eight bits are read as"
        " int8 and uint8, too. Fused activations: NONE, RELU, RELU6, RELU_N1_TO_1, TANH.",
        "",
        "| operator | forms | networks | in eight bits |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {kind} | {found.note} | {uses[kind] or '-'} | {eight[kind] or '-'} |"
        for kind, found in sorted(OPERATORS.items())
    ]
    lines += [
        "",
        "QUANTIZE, DEQUANTIZE, DENSIFY and CAST have tests of their own (`test_numbers.py`): sparse"
        " tensors with rows, columns, both or blocks compressed, indices of 32, 16 or 8 bits;"
        " float16 and 8-bit constants. Everything else is refused, all of it at once.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render())
