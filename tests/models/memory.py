"""Memory that a network needs at run time, in filigree and in other engines, as Markdown tables:

    make memory

Arena: ours (with the caller's input and output buffers beside it, as LiteRT's arena holds those)
against LiteRT's. Peak: what one process that loads the network and runs it once has resident at
most (VmHWM), in all and above what importing the engine takes; each in a fresh process, one thread.
The plain C runner imports nothing: its figure is the whole process. Writes memory.json.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from filigree.converter import ConvertOptions, convert
from filigree.native.model import Model
from tests.conftest import DATA, ROOT
from tests.models.network import read
from tests.models.peak_memory import resident
from tests.models.sparsify import sparsify
from tests.models.zoo import ZOO
from tests.native import build

NETWORKS = ("vww", "mobilenet-v1-0.25", "mobilenet-v1", "mobilenet-v2")
TFLITE = {
    "vww": "vww/mlperf_vww_96_float.tflite",
    "mobilenet-v1-0.25": "imagenet/mobilenet_v1_0.25_224_float.tflite",
}
SPARSITY = 0.8
PEERS = ("onnxruntime", "openvino", "litert")
RUNNER_REPEATS = 1_000_000  # more than it gets to do: it is stopped once it has been looked at
RUNNER_SECONDS = 1.0


@dataclass(frozen=True)
class Cell:
    """Bytes, or why there are none: ``peak`` in all, ``above`` what importing took (None: that is
    nothing)."""

    engine: str
    peak: int | None = None
    above: int | None = None
    skipped: str = ""

    @property
    def text(self) -> str:
        if self.peak is None:
            return f"- ({self.skipped})"
        return mb(self.peak) if self.above is None else f"{mb(self.above)} ({mb(self.peak)})"


@dataclass(frozen=True)
class Row:
    """One network: arenas in bytes, and every engine's peak."""

    network: str
    arena: int
    ports: int
    litert_arena: int | None
    skipped: str
    cells: Sequence[Cell]


def mb(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count < 10e6 else f"{count / 1e6:.1f} MB"


def child(engine: str, model: Path) -> dict[str, int] | str:
    """What ``peak_memory`` says, or the last line of its complaint."""
    command = [sys.executable, "-m", "tests.models.peak_memory", engine, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return lines[-1] if lines else f"ended with {done.returncode}"
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def cell(engine: str, label: str, model: Path | str) -> Cell:
    """One engine in a process of its own. ``model``: or why there is none in its format."""
    if isinstance(model, str):
        return Cell(label, skipped=model)
    found = child(engine, model)
    if isinstance(found, str):
        return Cell(label, skipped=found)
    return Cell(label, found["peak"], found["peak"] - found["imported"])


def tflite_of(network: str, source: Path, folder: Path) -> Path | str:
    """The published .tflite of a network, else one written from ``source``, else why not."""
    if network in TFLITE:
        return DATA / "models" / TFLITE[network]
    try:
        from tests.models import tflite

        written = folder / "written.tflite"
        tflite.write(read(source), written)
    except (ImportError, ValueError, KeyError) as error:
        return f"no .tflite of this network: {error}"
    return written


def c_runner() -> Path:
    """native/runner/main.c for this machine, over the library that CMake builds."""
    folder = build.cmake("native-release", "-DCMAKE_BUILD_TYPE=Release")
    made, native = folder / "runner", ROOT / "native"
    command = ["cc", "-std=c11", "-O2", "-pthread", "-I", native, "-I", native / "include"]
    command += [native / "runner" / "main.c", *sorted((native / "hosted").glob("*.c"))]
    command += [folder / "libfiligree.a", "-o", made]
    subprocess.run([str(word) for word in command], check=True)
    return made


def of_runner(runner: Path, model: Path, label: str, folder: Path) -> Cell:
    """The peak of the C runner while it runs: its own last moments are the same."""
    ports = Model.from_bytes(model.read_bytes()).inputs
    inputs = [folder / f"in{i}" for i in range(len(ports))]
    for path, port in zip(inputs, ports, strict=True):
        np.zeros(port.shape, np.float32).tofile(path)
    command = [runner, model, folder / "out", "auto", RUNNER_REPEATS, "1", *inputs]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    peak, end = 0, time.monotonic() + RUNNER_SECONDS
    try:
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
            peak = max(peak, resident("VmHWM", Path(f"/proc/{process.pid}/status")))
    except (OSError, ValueError) as error:
        return Cell(label, skipped=str(error))
    finally:
        process.kill()
        process.wait()
    return Cell(label, peak)


def row(network: str, runner: Path | str, folder: Path) -> Row:
    """Everything about one network. ``runner``: the built C runner, or why there is none."""
    entry = next(e for e in ZOO if e.name == network)
    packed: list[tuple[str, Path]] = []
    whole = folder / "0.onnx"
    for sparsity in (0.0, SPARSITY):
        source, target = folder / f"{sparsity:g}.onnx", folder / f"{sparsity:g}.fil"
        sparsify(DATA / "models" / entry.file, source, sparsity)
        target.write_bytes(convert(source, options=ConvertOptions(effort=0.1)).data)
        packed.append(("dense" if sparsity == 0 else f"{sparsity:.0%} 4x1", target))
    tflite = tflite_of(network, whole, folder)
    cells = []
    for name, path in packed:
        cells.append(cell("filigree", f"filigree {name}", path))
        label = f"C runner {name}"
        cells.append(
            Cell(label, skipped=runner)
            if isinstance(runner, str)
            else of_runner(runner, path, label, folder)
        )
    for peer in PEERS:
        cells.append(cell(peer, peer, tflite if peer == "litert" else whole))
    arena = tflite if isinstance(tflite, str) else child("litert-arena", tflite)
    model = Model.from_bytes(packed[0][1].read_bytes())
    ports = sum(4 * math.prod(port.shape) for port in (*model.inputs, *model.outputs))
    known = None if isinstance(arena, str) else arena["arena"]
    skipped = arena if isinstance(arena, str) else ""
    return Row(network, model.arena_bytes, ports, known, skipped, cells)


def arena_line(r: Row) -> str:
    """Ours, ours with ports, LiteRT's, and how many times ours that is."""
    ours = r.arena + r.ports
    theirs = f"- ({r.skipped})" if r.litert_arena is None else mb(r.litert_arena)
    ratio = "-" if r.litert_arena is None else f"{r.litert_arena / ours:.2f}x"
    return f"| {r.network} | {mb(r.arena)} | {mb(ours)} | {theirs} | {ratio} |"


def show(rows: Sequence[Row]) -> None:
    print("| network | arena | with in- and outputs | LiteRT's arena | to ours |")
    print("|---|---|---|---|---|")
    for r in rows:
        print(arena_line(r))
    print("\nPeak resident memory above the import of the engine (and in all); C runner: in all\n")
    print(f"| network | {' | '.join(c.engine for c in rows[0].cells)} |")
    print("|---" * (len(rows[0].cells) + 1) + "|")
    for r in rows:
        print(f"| {r.network} | {' | '.join(c.text for c in r.cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help="names of the zoo")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    asked = parser.parse_args()
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    runner: Path | str
    try:
        runner = c_runner()
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        runner = f"cannot be built: {error}"
    rows = []
    for name in asked.networks:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(name, runner, Path(folder)))
    asked.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(r) for r in rows], indent=2)
    (asked.out / "memory.json").write_text(text + "\n", encoding="utf-8")
    show(rows)


if __name__ == "__main__":
    main()
