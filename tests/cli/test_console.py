"""The console's own rules."""

from __future__ import annotations

import math

import pytest

from filigree.cli import console


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (422_000, "412 KiB"),
        (3 << 20, "3.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (5 << 40, "5120 GiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert console.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.50 s"), (1.234e-3, "1.23 ms"), (4.56e-5, "45.6 us"), (math.nan, "-")],
)
def test_duration(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_shorten_keeps_both_ends() -> None:
    assert console.shorten("abc", 10) == "abc"
    cut = console.shorten("MobilenetV1/Conv2d_13_pointwise/Relu6", 20)
    assert len(cut) == 20
    assert cut.startswith("Mobilene")
    assert cut.endswith("ise/Relu6"[-9:])


def test_json_has_no_nan() -> None:
    assert console.finite({"a": [math.inf, 1.0, (math.nan,)]}) == {"a": [None, 1.0, [None]]}


def test_columns_line_up() -> None:
    assert console.columns(("a", "b"), [("long name", "1"), ("x", "22")]) == [
        "a          b",
        "long name  1",
        "x          22",
    ]
