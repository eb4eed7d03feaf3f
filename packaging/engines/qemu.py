"""Run Linux executables of another processor under QEMU's user-mode emulation."""

from __future__ import annotations

import platform
import shutil

from filigree.packaging.engines import AUTO, Job, Result, files, needs_f16
from filigree.packaging.errors import ToolMissing

F16_ISA = "neon_fp16"
PROGRAMS = ("qemu-aarch64", "qemu-aarch64-static")


def missing() -> str | None:
    if _is_native() or _program():
        return None
    return "qemu-aarch64 is not installed (apt-get install qemu-user)"


def run(job: Job, *, options: tuple[str, ...] = ()) -> Result:
    """Raises ToolMissing and what files.run raises."""
    return files.run(job, [*command(job, options=options), str(job.runner)])


def command(job: Job, *, options: tuple[str, ...] = ()) -> list[str]:
    """The emulator's command line up to the executable; empty on the processor itself."""
    if _is_native() and not options:
        return []
    program = _program()
    if program is None:
        raise ToolMissing("qemu-aarch64 is not installed", hint="apt-get install qemu-user")
    isa = F16_ISA if job.isa == AUTO and needs_f16(job.fil) else job.isa
    return [program, "-cpu", job.target.cpu_for(isa), *options]


def _program() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def _is_native() -> bool:
    return platform.system() == "Linux" and platform.machine() == "aarch64"
