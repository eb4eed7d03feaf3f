"""The int8 kernels of microcontrollers give what the scalar ones do, and touch nothing outside of
their buffers: an image of guarded.c, where the memory protection unit watches (kernels/test_shapes
does the same where there is an operating system)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from filigree.packaging import build, firmware, sources, targets, toolchains
from filigree.packaging.engines import board
from tests.packaging.conftest import need_engine

HERE = Path(__file__).resolve().parent
CASES = [(row.name, isa) for row in targets.MCUS for isa in row.isas]
STACK, BUFFERS = 1 << 13, 8 << 14
SECONDS = 900
SHAPES = int(os.environ.get("FILIGREE_SHAPES", "6000"))  # an instruction set, in four runs
ROUNDS = -(-SHAPES // (4 * 6))  # of the six kernels that there may be
LEAST = 4 * ROUNDS  # shapes


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The image of each core that has an instruction set of its own."""
    return {
        name: image(targets.target(name), tmp_path_factory.mktemp(name))
        for name in dict.fromkeys(name for name, _ in CASES)
        if board.missing() is None
    }


def image(core: targets.Target, folder: Path) -> Path:
    part, chain = firmware.board_of(core), toolchains.find(core)
    have = [sources.have_define(isa) for isa in core.isas]
    objects = []
    for source in (HERE / "guarded.c", sources.native() / "runner" / "mcu_start.c"):
        objects.append(folder / f"{source.stem}-runner.o")
        build.compile(core, chain, source, objects[-1], *have, f"-DROUNDS={ROUNDS}")
    parts = build.runner(core)
    needed = (parts / build.RUNTIME, parts / build.ARITHMETIC)
    registry = firmware.registry(core, ())
    sizes = {
        **{"flash": part.flash, "flash_bytes": part.flash_bytes},
        **{"ram": part.ram, "ram_bytes": part.ram_bytes},
        **{"harness": part.harness, "harness_bytes": firmware.HARNESS_BYTES},
        **{"stack_bytes": STACK, "arena_bytes": BUFFERS, "ports_bytes": 0},
    }
    symbols = [f"--defsym=mcu_{name}={value:#x}" for name, value in sizes.items()]
    script = ("--gc-sections", "-T", str(sources.native() / firmware.SCRIPT), *symbols)
    made = folder / "guarded.elf"
    files = map(str, (*objects, registry, *needed))
    build.call([*chain.link, *script, *files, "-o", str(made)], "linking")
    return made


def run(name: str, made: Path, *words: str) -> subprocess.CompletedProcess[str]:
    part = firmware.board_of(targets.target(name))
    arguments = ",".join(f"arg={word}" for word in ("image", *words))
    command = [
        *(str(shutil.which(board.PROGRAM)), "-M", part.machine, *part.options),
        *("-kernel", str(made), "-display", "none", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", f"enable=on,target=native,{arguments}"),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.mark.parametrize("end", ["after", "before"])
@pytest.mark.parametrize("keep", ["0", "1"])
@pytest.mark.parametrize(("core", "isa"), CASES)
def test_kernels_stay_inside(
    core: str, isa: str, keep: str, end: str, images: dict[str, Path]
) -> None:
    need_engine(core)
    done = run(core, images[core], isa, end, keep)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) >= LEAST


@pytest.mark.parametrize("end", ["after", "before"])
@pytest.mark.parametrize(("core", "isa"), CASES)
def test_a_byte_too_far_is_seen(core: str, isa: str, end: str, images: dict[str, Path]) -> None:
    need_engine(core)
    done = run(core, images[core], isa, end, "2")
    assert done.returncode == 1
    assert "no access to 0x" in done.stderr
