"""Cycles of the kernels' inner loops by llvm-mca, beside their multiply-add bound:

    make mca        python -m tests.kernels.mca [--on NAME] [--loops NAME]

arm64: what the packaged compiler makes of ``kernels/*/simd.c``, cut out of the assembly by label,
on LLVM's models of Cortex-A55 and Neoverse N1. WebAssembly: what wasmtime's compiler makes of the
module for x86-64. A pass of a loop is one stored block, or one vector of each output row of a
depthwise convolution; the models know no caches. ``tests/kernels/tables.py`` makes the cost tables
out of these cycles.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filigree.packaging import build, sources, targets, toolchains
from filigree.packaging.errors import ToolMissing

VERSIONS = ("-22", "-21", "-20", "-19", "-18", "")
ITERATIONS = 200
# 128-bit multiply-adds (WebAssembly: products, each with a sum) that a core starts in a cycle. LLVM
# 19's model lets the A55 start two; its guide and its two 64-bit units say one.
STARTS = {"neoverse-n1": 2.0, "cortex-a55": 1.0, "skylake": 1.0, "znver4": 2.0}
ISAS = {"arm64": "neon", "arm64-fp16": "neon_fp16"}
TRIPLE = {"arm64": "aarch64", "arm64-fp16": "aarch64", "wasm": "x86_64", "wasm-relaxed": "x86_64"}
CPUS = {
    "arm64": ("neoverse-n1", "cortex-a55"),
    "arm64-fp16": ("neoverse-n1", "cortex-a55"),
    "wasm": ("skylake", "znver4"),
    "wasm-relaxed": ("skylake", "znver4"),
}
USUAL = r"tile_(1x[4-8]|2x[4-8]|4x[3-6]|8x[123])|square_[35]_[12]_4"
KERNELS = ("spmm", "dwconv", "spmv", "conv")
MULTIPLY = re.compile(r"fmla|v?mulps|vfn?madd\w+ps")
LABEL = re.compile(r"\.L\w+(?=:)")
FUNCTION = re.compile(r"[A-Za-z_]\w*(?=:)")
ADDRESS = re.compile(r"\s*([0-9a-f]+):\s+(\S.*)")
JUMP = re.compile(r"(?:b|b\.\w+|cbn?z|tbn?z|j\w+)\s.*?(\.L\w+|0x[0-9a-f]+)$")


@dataclass(frozen=True)
class Function:
    """One function's instructions; ``targets`` maps jump targets to places in ``body``."""

    name: str
    body: tuple[str, ...]
    targets: Mapping[str, int]

    def loops(self) -> list[tuple[int, int]]:
        """The innermost loops, as slices of ``body``."""
        spans = []
        for i, line in enumerate(self.body):
            jump = JUMP.match(line)
            start = self.targets.get(jump[1]) if jump else None
            if start is not None and start <= i:
                spans.append((start, i + 1))
        return [
            s for s in spans if not any(t != s and s[0] <= t[0] and t[1] <= s[1] for t in spans)
        ]

    def rest(self) -> tuple[str, ...]:
        """What is not in an innermost loop."""
        inside = {i for start, end in self.loops() for i in range(start, end)}
        return tuple(line for i, line in enumerate(self.body) if i not in inside)


@dataclass(frozen=True)
class Loop:
    """A loop that multiplies. ``coding``: how it reads its index list, if it has one."""

    function: str
    coding: str
    body: tuple[str, ...]

    @property
    def multiplies(self) -> int:
        return sum(MULTIPLY.match(line) is not None for line in self.body)


def missing() -> str | None:
    """None if loops can be looked at here, else why not."""
    if tool("llvm-mca") is None:
        return "llvm-mca is not installed (apt-get install llvm-19)"
    try:
        toolchains.find(targets.target("arm64"))
    except ToolMissing as error:
        return error.headline
    return None


@cache
def tool(name: str) -> str | None:
    """One of LLVM's programs, the newest that is installed."""
    return next((path for v in VERSIONS if (path := shutil.which(name + v))), None)


@cache
def functions(on: str) -> dict[str, Function]:
    """Every function of the kernels as ``on`` compiles them."""
    if on not in ISAS:
        return {f.name: f for f in _disassembled(on)}
    return {f.name: f for kernel in KERNELS for f in _assembled(kernel, ISAS[on])}


@cache
def loops(on: str) -> list[Loop]:
    """Every innermost loop that multiplies, in the functions' order."""
    found = []
    for function in functions(on).values():
        for start, end in function.loops():
            body = function.body[start:end]
            loop = Loop(function.name, _coding(body), body)
            if loop.multiplies:
                found.append(loop)
    return found


def hot(on: str) -> list[Loop]:
    """One loop for each function and coding, the shortest: others are the way of rare cases."""
    found: dict[tuple[str, str], Loop] = {}
    for loop in loops(on):
        key = loop.function, loop.coding
        if key not in found or len(loop.body) < len(found[key].body):
            found[key] = loop
    return list(found.values())


def _coding(body: tuple[str, ...]) -> str:
    text = "\n".join(body)
    if re.search(r"\b(ldrb|movzb\w)\b", text):
        return "d8"
    return "u16" if re.search(r"\b(ldrh|movzw\w)\b", text) else "none"


@cache
def cycles(body: tuple[str, ...], triple: str, cpu: str) -> float:
    """Cycles of one pass of ``body`` when it is repeated."""
    program = tool("llvm-mca")
    if program is None:
        raise ToolMissing("llvm-mca is not installed", hint="apt-get install llvm-19")
    command = [program, f"-mtriple={triple}", f"-mcpu={cpu}", f"-iterations={ITERATIONS}"]
    done = subprocess.run(
        command, input="\n".join(body), capture_output=True, text=True, check=True
    )
    total = re.search(r"^Total Cycles:\s+(\d+)", done.stdout, re.MULTILINE)
    if total is None:
        raise ValueError(f"llvm-mca says no cycles:\n{done.stdout[:2000]}")
    return int(total[1]) / ITERATIONS


def _assembled(kernel: str, isa: str) -> Iterator[Function]:
    target = targets.target("arm64")
    units = (u for u in build.units(target) if u.isa == isa)
    unit = next(u for u in units if u.source.parent.name == kernel)
    includes = ("-I", str(sources.native()), "-I", str(sources.native() / "include"))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "kernel.s"
        flags = (*build.FLAGS, *target.flags, *unit.flags, *includes)
        command = [
            *toolchains.find(target).compile,
            *flags,
            "-S",
            str(unit.source),
            "-o",
            str(made),
        ]
        build.call(command, f"compiling {kernel} to assembly")
        yield from _parsed(made.read_text(encoding="utf-8"))


def _parsed(text: str) -> Iterator[Function]:
    name, body, places = "", list[str](), dict[str, int]()
    for line in [*text.splitlines(), "end:"]:
        line = line.partition("//")[0].rstrip()
        if FUNCTION.match(line):
            if body:
                yield Function(name, tuple(body), places)
            name, body, places = line.partition(":")[0], [], {}
        elif label := LABEL.match(line):
            places[label[0]] = len(body)
        elif line.strip() and not line.strip().startswith("."):
            body.append(" ".join(line.split()))


def _disassembled(on: str) -> Iterator[Function]:
    """wasmtime's machine code of the runner, by function of the kernels."""
    import wasmtime

    program = tool("llvm-objdump")
    if program is None:
        raise ToolMissing("llvm-objdump is not installed", hint="apt-get install llvm-19")
    config = wasmtime.Config()
    config.wasm_simd = config.wasm_relaxed_simd = True
    module = wasmtime.Module.from_file(
        wasmtime.Engine(config), str(build.runner(targets.target(on)))
    )
    with tempfile.NamedTemporaryFile(suffix=".elf") as file:
        file.write(module.serialize())
        file.flush()
        command = [program, "-d", "--no-show-raw-insn", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    for part in re.split(r"\n(?=[0-9a-f]+ <)", done.stdout):
        head, _, lines = part.partition("\n")
        name = re.search(r"::(\w+)>:", head)
        rows = [row for line in lines.splitlines() if (row := ADDRESS.match(line))]
        if name and rows:
            body = tuple(" ".join(re.sub(r"\s*(<.*>|#.*)", "", row[2]).split()) for row in rows)
            yield Function(name[1], body, {f"0x{row[1]}": i for i, row in enumerate(rows)})


def row(loop: Loop, on: str) -> str:
    """A line of the table: instructions, multiply-adds, and for each core its cycles, the bound and
    how far above it they are."""
    cells = [f"{loop.function:20} {loop.coding:5} {len(loop.body):12} {loop.multiplies:13}"]
    for cpu in CPUS[on]:
        bound = loop.multiplies / STARTS[cpu]
        took = cycles(loop.body, TRIPLE[on], cpu)
        cells.append(f"{took:9.2f} {bound:6.1f} {took / bound - 1:+7.0%}")
    return "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=CPUS, default="arm64")
    parser.add_argument("--loops", default=USUAL, help="functions, as a pattern; .* for all")
    given = parser.parse_args()
    why = missing()
    if why:
        sys.exit(why)
    heads = "".join(f"{cpu:>16} bound        " for cpu in CPUS[given.on]).rstrip()
    print(f"{'loop':20} {'index':5} instructions multiply-adds{heads}")
    for loop in hot(given.on):
        if re.fullmatch(given.loops, loop.function):
            print(row(loop, given.on), flush=True)


if __name__ == "__main__":
    main()
