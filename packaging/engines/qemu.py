"""Run Linux executables of another processor under QEMU's user-mode emulation."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass

from filigree.packaging.engines import AUTO, Job, Result, files, needs_f16
from filigree.packaging.errors import ToolMissing

F16_ISA = "neon_fp16"
APT = "apt-get install qemu-user"


@dataclass(frozen=True)
class User:
    """QEMU's emulator of one processor, by Linux's name of it: "aarch64", "arm", "riscv64"."""

    machine: str

    @property
    def name(self) -> str:
        return f"qemu-{self.machine}"

    def missing(self) -> str | None:
        if self._is_here() or self._program():
            return None
        return f"{self.name} is not installed ({APT})"

    def run(self, job: Job, *, options: tuple[str, ...] = ()) -> Result:
        """Raises ToolMissing and what files.run raises."""
        return files.run(job, [*self.command(job, options=options), str(job.runner)])

    def command(self, job: Job, *, options: tuple[str, ...] = ()) -> list[str]:
        """The emulator's command line up to the executable; empty on the processor itself."""
        if self._is_here() and not options:
            return []
        program = self._program()
        if program is None:
            raise ToolMissing(f"{self.name} is not installed", hint=APT)
        isa = F16_ISA if job.isa == AUTO and needs_f16(job.fil) else job.isa
        return [program, "-cpu", job.target.cpu_for(isa), *options]

    def plugins_missing(self) -> str | None:
        """Why runs cannot be counted: a -static emulator takes no plugins."""
        return None if shutil.which(self.name) else f"{self.name} is not installed ({APT})"

    def _program(self) -> str | None:
        names = (self.name, f"{self.name}-static")
        return next((path for name in names if (path := shutil.which(name))), None)

    def _is_here(self) -> bool:
        return platform.system() == "Linux" and platform.machine() == self.machine


AARCH64, ARM, RISCV64 = User("aarch64"), User("arm"), User("riscv64")
