"""Typed errors: data first, text made once at the edge.

Each class has the exit code of the command line (``filigree --help``); ``lines`` is the body under
the headline, ``hint`` the "next:" line.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FiligreeError(Exception):
    """Base: ``headline`` names the thing; ``lines`` are all the problems; ``hint`` what to do next."""

    headline: str
    lines: list[str] = field(default_factory=list)
    hint: str | None = None
    exit_code = 1

    def __str__(self) -> str:
        body = "".join(f"\n  {line}" for line in self.lines)
        return f"{self.headline}{body}" + (f"\n  next: {self.hint}" if self.hint else "")


class UsageError(FiligreeError):
    """An option or argument that makes no sense for this model (exit 2)."""

    exit_code = 2


@dataclass
class Unsupported:
    """One operator form the converter does not have: ``op``, its node's name, and the reason."""

    op: str
    node: str
    reason: str


class UnsupportedModel(FiligreeError):
    """The model uses operators or forms that are not supported (exit 3)."""

    exit_code = 3


class DoesNotFit(FiligreeError):
    """The packed model is too large for the target (exit 4)."""

    exit_code = 4


class ToolMissing(FiligreeError):
    """A compiler, emulator or optional Python package is not installed (exit 5)."""

    exit_code = 5


class NumbersDisagree(FiligreeError):
    """Outputs differ from the reference by more than is allowed (exit 6)."""

    exit_code = 6


class BadFile(FiligreeError):
    """A file that is truncated, damaged, hostile or of another kind (exit 7)."""

    exit_code = 7
