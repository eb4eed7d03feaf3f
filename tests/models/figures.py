"""Agreement and accuracy of every real network of FILIGREE_DATA, as Markdown tables:

    make figures

Agreement: the largest difference to ONNX Runtime over ``INPUTS`` real inputs, relative to the
output range, with every instruction set forced in turn, and emulated targets with one input.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from filigree.converter import convert
from filigree.native.model import Model, isas
from filigree.packaging import emulate
from tests.conftest import DATA
from tests.models.markdown import print_header
from tests.models.test_zoo import accuracy, expected, relative
from tests.models.zoo import ZOO, Entry, dataset, sample_inputs

INPUTS = 3
EMULATED = ("arm64", "wasm-node", "wasm-relaxed-node", "wasm-wasmtime")


def agreement(entry: Entry, packed: bytes) -> list[str]:
    """One cell per instruction set, then one per emulated target."""
    x = sample_inputs(entry, DATA, INPUTS)
    want = expected(entry, DATA, x)
    cells = []
    for isa in isas():
        model = Model.from_bytes(packed, isa=isa)
        got = np.concatenate([model.run(row[None]) for row in x])
        cells.append(f"{relative(got, want):.1e}")
    for target in EMULATED:
        if emulate.available(target):
            cells.append("-")
            continue
        (got,) = emulate.run(target, packed, [x[:1]])
        cells.append(f"{relative(got, want[:1]):.1e}")
    return cells


def accuracies(entry: Entry, packed: bytes) -> list[str]:
    """ "94.4 (94.4)": ours and the published one, for every data set that is here."""
    cells = []
    for name, published in entry.figures:
        found = dataset(DATA, name)
        if found is not None:
            cells.append(f"{name} {accuracy(entry, packed, found):.1f} ({published:.1f})")
    return cells


def main() -> None:
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    columns = [*isas(), *EMULATED]
    columns = ["network", *columns, "accuracy, % (published)", "arena", "bound", "convert"]
    print_header(columns)
    for entry in ZOO:
        start = time.perf_counter()
        converted = convert(DATA / "models" / entry.file)
        seconds = time.perf_counter() - start
        plan = converted.program.plan
        assert plan is not None
        cells = agreement(entry, converted.data)
        cells.append(", ".join(accuracies(entry, converted.data)) or "-")
        cells += [f"{plan.arena_bytes:,}", f"{plan.arena_bytes / plan.lower_bound:.3f}x"]
        print(f"| {entry.name} | {' | '.join(cells)} | {seconds:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
