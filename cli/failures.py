"""Exceptions of the libraries and the system, as the errors a user reads."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from filigree.converter.errors import BadFile, FiligreeError, UsageError

NOTHING = " (nothing was written)"
ELSEWHERE = "filigree convert --activations float32, which runs everywhere"


def known(error: Exception) -> FiligreeError | None:
    """The user's error behind an exception; None if it is a bug."""
    if isinstance(error, FiligreeError):
        return error
    refused = getattr(sys.modules.get("filigree.native.model"), "BadFile", None)
    if refused is not None and isinstance(error, refused):
        return BadFile(
            f"{error.source} is not a packed model that can be used",
            [str(error).removeprefix(f"{error.source}: ")],
            hint=ELSEWHERE if error.status == "E_ISA" else "filigree convert makes it again",
        )
    built = getattr(sys.modules.get("filigree.packaging.errors"), "PackagingError", None)
    if built is not None and isinstance(error, built):
        same = FiligreeError(error.headline, error.lines, error.hint)
        same.exit_code = error.exit_code
        return same
    if isinstance(error, OSError) and error.filename is not None:
        return UsageError(f"{error.filename}: {(error.strerror or 'cannot be used').lower()}")
    return None


@contextlib.contextmanager
def nothing_written() -> Iterator[None]:
    """Errors inside say that nothing was written."""
    try:
        yield
    except FiligreeError as error:
        if NOTHING not in error.headline:
            error.headline += NOTHING
        raise


def check_paths(*, reads: list[Path | None], writes: list[Path | None], force: bool) -> None:
    """All that is wrong with the files of a command line, in one UsageError."""
    problems = [*_unreadable(reads), *_unwritable(writes, force=force)]
    if not problems:
        return
    if len(problems) == 1:
        raise UsageError(problems[0])
    raise UsageError(f"{len(problems)} problems with the files given", problems)


def _unreadable(paths: list[Path | None]) -> Iterator[str]:
    for path in paths:
        if path is None or path.is_file():
            continue
        yield f"{path} is a folder, not a file" if path.is_dir() else f"{path} does not exist"


def _unwritable(paths: list[Path | None], *, force: bool) -> Iterator[str]:
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            yield f"{path} is a folder, not a file to write"
        elif not path.parent.is_dir():
            yield f"{path} cannot be written: the folder {path.parent} does not exist"
        elif path.exists() and not force:
            yield f"{path} exists already; --force overwrites it"
