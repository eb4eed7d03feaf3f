"""Microcontroller images: what does not fit is refused, what goes wrong is named, and only the
operations that a model uses are there."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from filigree.converter import packfile
from filigree.native import enums as c
from filigree.packaging import build, emulate, firmware, packed, sources, targets
from filigree.packaging.engines import Job, board
from filigree.packaging.errors import BadFile, DoesNotFit, TargetFailed
from tests.native import tiny
from tests.packaging.conftest import F32, SMALL, need_engine

CORE = "cortex-m4"
DEEP = (
    "static int deep(volatile int *n) { volatile int more[16] = {*n}; "
    "return *n > 9999 ? 0 : (*n)++, deep(n) + more[0]; }"
)
# What a broken kernel might come to, chosen by the first input, and what is said of it.
WILD = (
    ("*(volatile uint32_t *)0 = 1;", "no access to 0x00000000"),
    ("*(volatile uint32_t *)0x20040000 = 1;", "no access to 0x20040000"),
    ("*(volatile uint32_t *)0x40000000 = 1;", "no access to 0x40000000"),
    ("(void)*(volatile uint32_t *)0x60000000;", "no access to 0x60000000"),
    ("volatile int n = 0; r->s.part.count = (uint32_t)deep(&n);", "the stack has overflowed"),
)
WILD_V6M = (
    ("*(volatile uint32_t *)0x20040000 = 1;", "the run wrote past the end of RAM"),
    ('__asm__ volatile("ldr %0, [%0]" :: "r"(0x20000101) : "memory");', "fault at 0x"),
    ("(void)*(volatile uint32_t *)0x60000000;", "fault at 0x"),
    WILD[-1],
)
CASES = [
    *((CORE, i) for i in range(len(WILD))),
    *(("cortex-m33", i) for i in (0, 2, 3, 4)),
    *(("cortex-m0plus", i) for i in range(len(WILD_V6M))),
]


def wild(core: str) -> tuple[tuple[str, str], ...]:
    return WILD_V6M if core == "cortex-m0plus" else WILD


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The parts of a runtime that does what the first input chooses, of each core."""
    native, made = sources.native(), {}
    for name in dict.fromkeys(core for core, _ in CASES):
        if emulate.available(name) is not None:
            continue
        folder = tmp_path_factory.mktemp(name)
        copy = folder / "native"
        shutil.copytree(native, copy, ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
        break_run(copy / "runtime" / "run.c", wild(name))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sources, "native", lambda copy=copy: copy)
            patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            made[name] = build.runner(targets.target(name))
    return made


def break_run(run: Path, statements: tuple[tuple[str, str], ...]) -> None:
    text, start = run.read_text(encoding="utf-8"), "static void run_op(shared *r) {"
    assert start in text
    tests = "".join(
        f"  if (which == {i}) {{ {statement} }}\n" for i, (statement, _) in enumerate(statements)
    )
    which = "  int which = (int)*(const float *)r->s.inputs[0];\n"
    run.write_text(text.replace(start, f"{DEEP}\n{start}\n{which}{tests}"), encoding="utf-8")


@pytest.fixture
def core() -> targets.Target:
    need_engine(CORE)
    return targets.target(CORE)


def test_what_a_model_needs(sample: bytes) -> None:
    found = packed.needs(sample)
    assert found.ports_bytes == 192 + 16
    kinds = {op.kind for op in packfile.decode(sample).ops}
    assert found.ops == tuple(name for i, name in enumerate(sources.ops()) if i in kinds)


@pytest.mark.parametrize("size", [0, 3, 63, 64, 100, 300])
def test_a_file_that_ends_early(sample: bytes, size: int) -> None:
    with pytest.raises(BadFile):
        packed.needs(sample[:size])


def test_a_file_that_is_something_else(sample: bytes) -> None:
    with pytest.raises(BadFile, match="not a packed model"):
        packed.needs(b"FIL2" + sample[4:])


def test_more_than_the_part_has(core: targets.Target, sample: bytes) -> None:
    part = dataclasses.replace(firmware.board_of(core), ram_bytes=8192, flash_bytes=4096)
    with pytest.raises(DoesNotFit) as refused:
        firmware.check(core.name, part, packed.needs(sample), len(sample))
    assert refused.value.exit_code == 4
    assert refused.value.lines == [
        f"RAM: {packed.needs(sample).arena_bytes:,} arena + 208 ports + 4,096 stack, "
        "cortex-m4 has 8,192",
        f"flash: {len(sample):,} bytes, cortex-m4 has 4,096",
    ]


@pytest.mark.parametrize(("limit", "what"), [("flash_bytes", "flash"), ("ram_bytes", "RAM")])
def test_the_linker_has_the_last_word(
    core: targets.Target, sample: bytes, tmp_path: Path, limit: str, what: str
) -> None:
    """The model fits by itself, beside code or variables it does not."""
    needs = packed.needs(sample)
    tight = {
        "flash_bytes": len(sample) + 4096,
        "ram_bytes": needs.arena_bytes + needs.ports_bytes + firmware.STACK_BYTES,
    }
    part = dataclasses.replace(firmware.board_of(core), **{limit: tight[limit]})
    row = dataclasses.replace(core, board=part)
    with pytest.raises(DoesNotFit) as refused:
        firmware.link(row, build.runner(core), sample, tmp_path / "image.elf")
    assert any(f"{what} overflows" in line for line in refused.value.lines)


@pytest.mark.parametrize("name", SMALL)
def test_only_what_is_used_is_linked(name: str, tmp_path: Path) -> None:
    need_engine(name)
    t = tiny.Tiny(meta=b"")
    a = t.port("a", (8,))
    walk = {f: [0, 0, 0, 1] for f in ("sa", "sb", "so")} | {"dim": [1, 1, 1, 8]}
    t.op(c.FIL_OP_MAP, (a, a), t.port("y", (8,), output=True), fn=c.FIL_MAP_ADD, p={"map": walk})
    row = targets.target(name)
    firmware.link(row, build.runner(row), t.encode(), tmp_path / "image.elf")
    image = (tmp_path / "image.elf").read_bytes()
    assert b"fil_map_scalar" in image
    scalar = ("spmm_scalar", "qspmm_scalar", "spmm4_scalar", "softmax_scalar")
    for absent in (*scalar, "qspmm_dsp", "qdwconv_dsp"):
        assert f"fil_{absent}".encode() not in image


@pytest.mark.parametrize(("name", "case"), CASES)
def test_what_goes_wrong_is_named(
    name: str, case: int, sample: bytes, image: F32, broken: dict[str, Path]
) -> None:
    need_engine(name)
    chosen = image.copy()
    chosen.flat[0] = case
    with pytest.raises(TargetFailed) as failed:
        board.run(Job(targets.target(name), broken[name], sample, [chosen]))
    assert failed.value.headline == f"the run on {name} failed (exit code 1)"
    assert wild(name)[case][1] in failed.value.lines[-1]
