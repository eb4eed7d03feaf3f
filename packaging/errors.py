"""Typed errors of this part; the command line shows ``headline``, ``lines`` and ``hint`` and exits
with ``exit_code``, as it does for the converter's."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class PackagingError(Exception):
    """Base: ``headline`` names the thing; ``lines`` are all the problems; ``hint`` what to do."""

    headline: str
    lines: list[str] = field(default_factory=list)
    hint: str | None = None
    exit_code = 1

    def __str__(self) -> str:
        body = "".join(f"\n  {line}" for line in self.lines)
        return f"{self.headline}{body}" + (f"\n  next: {self.hint}" if self.hint else "")


class ToolMissing(PackagingError):
    """A compiler or emulator is not installed (exit 5); ``hint`` says how to get it."""

    exit_code = 5


class BuildFailed(PackagingError):
    """A compiler or linker refused the runtime's sources (exit 1); ``lines`` are its words."""


class TargetFailed(PackagingError):
    """A run on a target crashed or did not end (exit 1)."""


class BadFile(PackagingError):
    """The runtime on a target refused the packed model (exit 7)."""

    exit_code = 7


class DoesNotFit(PackagingError):
    """A packed model needs more memory than a microcontroller has (exit 4)."""

    exit_code = 4
