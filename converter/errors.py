"""Typed errors: data first, text made once at the edge.

Each class has the exit code of the command line (``filigree --help``); ``lines`` is the body under
the headline, ``hint`` the "next:" line.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FiligreeError(Exception):
    """Base: ``headline`` names the thing, ``lines`` all the problems, ``hint`` what to do next."""

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
    """One operator form the converter does not have: ``op``, its node's name, and the reason.

    ``before`` is the value the node reads: the model can be cut there.
    """

    op: str
    node: str
    reason: str
    before: str = ""


@dataclass
class UnsupportedModel(FiligreeError):
    """The model uses operators or forms that are not supported (exit 3)."""

    problems: list[Unsupported] = field(default_factory=list)
    exit_code = 3

    @classmethod
    def of(cls, source: str, problems: list[Unsupported]) -> UnsupportedModel:
        """Every problem of the model in file ``source``, those of a kind on one line."""
        kinds: dict[tuple[str, str], list[Unsupported]] = {}
        for problem in problems:
            kinds.setdefault((problem.op, problem.reason), []).append(problem)
        count = len({problem.op for problem in problems})
        noun = "operator" if count == 1 else "operators"
        wide = max(len(op) for op, _ in kinds)
        before = next((p.before for p in problems if p.before), "")
        return cls(
            f"{count} {noun} in {source} {'is' if count == 1 else 'are'} not supported",
            [_kind_line(op.ljust(wide), reason, found) for (op, reason), found in kinds.items()],
            hint=f"filigree inspect {source} --ops"
            + (f"   or cut before: --output {before}" if before else ""),
            problems=problems,
        )


def _kind_line(op: str, reason: str, found: list[Unsupported]) -> str:
    uses = "1 use" if len(found) == 1 else f"{len(found)} uses, first"
    return f'{op}  {uses} at node "{found[0].node}": {reason}'


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
