"""The one console object: results to stdout, progress and errors to stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from filigree.converter.errors import FiligreeError

Progress = Callable[[str, float], None]


class Console:
    """Everything a command says goes through here; ``debug`` asks for tracebacks."""

    debug = False

    def line(self, text: str = "") -> None:
        """One line of result, to stdout."""
        click.echo(text)

    def json(self, value: Any) -> None:
        """One JSON document, to stdout; numbers that JSON cannot hold become null."""
        click.echo(json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns padded to their widest cell; all but the last are cut to 40 characters."""
        for text in columns(header, rows):
            click.echo(text)

    def note(self, text: str) -> None:
        """Something worth knowing that is no result, to stderr."""
        click.echo(text, err=True)

    def error(self, error: FiligreeError) -> None:
        """What is wrong, all problems, what next, to stderr."""
        click.echo(f"{self._red('error:')} {error.headline}", err=True)
        for problem in error.lines:
            click.echo(f"  {problem}", err=True)
        if error.hint:
            click.echo(f"  next: {error.hint}", err=True)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """A function (stage, fraction 0..1) that draws on a terminal and is silent elsewhere."""
        if not sys.stderr.isatty():
            yield lambda stage, fraction: None
            return
        try:
            from rich.progress import Progress as Bar
        except ImportError:
            yield _plain_progress
            _plain_progress("", 1.0)
            return
        from rich.console import Console as RichConsole

        with Bar(console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda stage, fraction: bar.update(task, description=stage, completed=fraction)

    def _red(self, text: str) -> str:
        plain = "NO_COLOR" in os.environ or not sys.stderr.isatty()
        return text if plain else click.style(text, fg="red", bold=True)


console = Console()


def _plain_progress(stage: str, fraction: float) -> None:
    sys.stderr.write(f"\r\x1b[K{stage} {fraction:4.0%}" if stage else "\r\x1b[K")
    sys.stderr.flush()


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a plain table."""
    cut = [[shorten(cell, 40) for cell in row[:-1]] + list(row[-1:]) for row in rows]
    table = [list(header), *cut]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in table]


def shorten(text: str, most: int) -> str:
    """The text with its middle cut out if it is longer than ``most``."""
    if len(text) <= most:
        return text
    head = (most - 3) // 2
    return f"{text[:head]}...{text[len(text) - (most - 3 - head) :]}"


def finite(value: Any) -> Any:
    """The value with every NaN and infinity replaced by None, for strict JSON."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def size(count: float) -> str:
    """Bytes for people: ``412 KiB``."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024 or unit == "GiB":
            break
    return f"{count:.1f} {unit}" if count < 10 else f"{count:.0f} {unit}"


def duration(seconds: float) -> str:
    """Time for people: ``1.23 ms``."""
    if not math.isfinite(seconds):
        return "-"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds * 1e6:.1f} us"


def shape(dims: Sequence[int]) -> str:
    """``1x3x96x96``; a scalar is ``scalar``."""
    return "x".join(str(dim) for dim in dims) or "scalar"


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def plural(count: int, noun: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
