"""Run microcontroller images under QEMU's system emulation; semihosting lends files and the
console."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from filigree.packaging import firmware
from filigree.packaging.engines import Job, Result, files
from filigree.packaging.errors import ToolMissing

PROGRAM = "qemu-system-arm"
APT = "apt-get install qemu-system-arm"


def missing() -> str | None:
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed ({APT})"


def run(job: Job, *, options: tuple[str, ...] = ()) -> Result:
    """Raises ToolMissing, DoesNotFit, BuildFailed and what files.run raises."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise ToolMissing(f"{PROGRAM} is not installed", hint=APT)
    with tempfile.TemporaryDirectory(prefix="filigree-") as folder:
        image = Path(folder) / "image.elf"
        firmware.link(job.target, job.runner, job.fil, image)
        board = firmware.board_of(job.target)
        machine = ("-M", board.machine, *board.options, "-kernel", str(image))
        quiet = ("-display", "none", "-monitor", "none", "-serial", "none", "-net", "none")
        return files.run(job, [program, *machine, *quiet, *options], words=_semihosting)


def _semihosting(words: list[str]) -> list[str]:
    arguments = ",".join(f"arg={word}" for word in ("image", *words))
    return ["-semihosting-config", f"enable=on,target=native,{arguments}"]
