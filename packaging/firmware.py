"""Images for microcontrollers: the runtime with the operations of one packed model, the model in
flash, and buffers of exactly its sizes (native/runner/mcu.ld)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from filigree.packaging import build, packed, sources, toolchains
from filigree.packaging.errors import BuildFailed, DoesNotFit
from filigree.packaging.targets import Board, Target

STACK_BYTES = 4096
HARNESS_BYTES = 1 << 16
SCRIPT = "runner/mcu.ld"
OVERFLOWS = " overflows"  # how its assertions end


def link(target: Target, parts: Path, fil: bytes, made: Path) -> None:
    """Write the image of the packed model to ``made``, beside files of its own; ``parts`` is what
    build.runner made. Raises DoesNotFit, BadFile, BuildFailed."""
    board = board_of(target)
    needs = packed.needs(fil)
    check(target.name, board, needs, len(fil))
    chain = toolchains.find(target)
    model, source = made.with_name("model.bin"), made.with_name("model.S")
    model.write_bytes(fil)
    source.write_text(f'.section .model, "a"\n.balign 64\n.incbin "{model.name}"\n')
    blob = made.with_name("model.o")
    command = [*chain.compile, *target.flags, f"-I{made.parent}", "-c", str(source)]
    build.call([*command, "-o", str(blob)], f"embedding the model for {target.name}")
    runtime = [parts / name for name in (build.RUNTIME, build.RUNNER, build.ARITHMETIC)]
    files = map(str, (registry(target, needs.ops), blob, *runtime))
    script = ("--gc-sections", "-T", str(sources.native() / SCRIPT), *_symbols(board, needs))
    try:
        build.call([*chain.link, *script, *files, "-o", str(made)], f"linking for {target.name}")
    except BuildFailed as error:
        over = [line for line in error.lines if line.endswith(OVERFLOWS)]
        if not over:
            raise
        headline = f"the model does not fit {target.name} beside code, variables and stack"
        raise DoesNotFit(headline, over, hint=SMALLER) from error


def check(name: str, board: Board, needs: packed.Needs, model_bytes: int) -> None:
    """DoesNotFit if the model alone is too much for the board; the linker knows the rest."""
    ram = needs.arena_bytes + needs.ports_bytes + STACK_BYTES
    problems = []
    if ram > board.ram_bytes:
        problems.append(
            f"RAM: {needs.arena_bytes:,} arena + {needs.ports_bytes:,} ports + {STACK_BYTES:,} "
            f"stack, {name} has {board.ram_bytes:,}"
        )
    if model_bytes > board.flash_bytes:
        problems.append(f"flash: {model_bytes:,} bytes, {name} has {board.flash_bytes:,}")
    if problems:
        raise DoesNotFit(f"the model does not fit {name}", problems, hint=SMALLER)


SMALLER = "filigree convert --bands small, or a quantised model"


def board_of(target: Target) -> Board:
    """The board of a microcontroller."""
    assert target.board is not None
    return target.board


def registry(target: Target, ops: tuple[str, ...]) -> Path:
    """The compiled registry with these operations alone; made if it is not cached."""
    chain = toolchains.find(target)
    digest = hashlib.sha256(repr((build.key(target, chain), ops)).encode()).hexdigest()[:20]
    path = Path(f"{target.name}-ops-{digest}") / "registry.o"
    return build.cached(path, lambda made: _compile_registry(target, ops, made))


def _compile_registry(target: Target, ops: tuple[str, ...], made: Path) -> None:
    rows = sources.ops()
    made.with_name("ops.def").write_text("".join(f"{rows[name]}\n" for name in ops))
    flags = ('-DFIL_OPS="ops.def"', f"-I{made.parent}")
    source = sources.native() / "runtime" / "registry.c"
    build.compile(target, toolchains.find(target), source, made, *flags)


def _symbols(board: Board, needs: packed.Needs) -> list[str]:
    values = {
        "flash": board.flash,
        "flash_bytes": board.flash_bytes,
        "ram": board.ram,
        "ram_bytes": board.ram_bytes,
        "harness": board.harness,
        "harness_bytes": HARNESS_BYTES,
        "stack_bytes": STACK_BYTES,
        "arena_bytes": needs.arena_bytes,
        "ports_bytes": needs.ports_bytes,
    }
    return [f"--defsym=mcu_{name}={value:#x}" for name, value in values.items()]
