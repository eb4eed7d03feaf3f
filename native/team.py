"""The threads of a model: a team of ``native/hosted/team.c`` and their scratch."""

from __future__ import annotations

import os
import weakref
from typing import Any

from filigree.native._ffi import ffi, lib


class Team:
    """``threads - 1`` threads beside the caller's, and ``scratch_bytes`` for each of them
    (``fil_parallel_scratch``).

    Raises ValueError for a number of threads that there cannot be, OSError if the system starts no
    more. A forked child gets threads of its own at its first run.
    """

    def __init__(self, threads: int, *, scratch_bytes: int) -> None:
        if not 1 <= threads <= lib.FIL_MAX_THREADS:
            raise ValueError(f"threads: 1 to {lib.FIL_MAX_THREADS}, got {threads}")
        self._scratch = ffi.new("uint8_t[]", (threads - 1) * scratch_bytes + lib.FIL_ALIGN)
        address = int(ffi.cast("uintptr_t", self._scratch))
        self._parallel = ffi.new("fil_parallel *", {"threads": threads})
        self._parallel.run = ffi.addressof(lib, "fil_team_run")
        self._parallel.scratch = self._scratch + -address % lib.FIL_ALIGN
        self._parallel.scratch_bytes = scratch_bytes
        if threads > 1:
            self._start()

    @property
    def threads(self) -> int:
        return int(self._parallel.threads)

    @property
    def parallel(self) -> Any:
        """The ``fil_parallel`` to run with; NULL for one thread."""
        if self.threads == 1:
            return ffi.NULL
        if os.getpid() != self._pid:
            self._start()
        return self._parallel

    def close(self) -> None:
        """End the threads: there is one from now on. Nothing may be running."""
        if self.threads > 1:
            self._parallel.threads = 1
            self._end()

    def _start(self) -> None:
        team = lib.fil_team_create(self.threads)
        if team == ffi.NULL:
            raise OSError(f"the system does not start {self.threads - 1} more threads")
        self._parallel.self = team
        self._pid = os.getpid()
        self._end = weakref.finalize(self, _destroy, team, self._pid)
        self._end.atexit = False  # another thread may still be running the model


def _destroy(team: Any, pid: int) -> None:
    if os.getpid() == pid:  # a forked child has none of its parent's threads
        lib.fil_team_destroy(team)
