"""Tables of figures from real models, as Markdown, row by row as they are found."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from tests.conftest import DATA


def print_header(columns: Sequence[str]) -> None:
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Ends the program, before the first row, where there are no real models."""
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    print_header(columns)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
