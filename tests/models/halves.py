"""What float16 costs: every real network of FILIGREE_DATA, as a Markdown table.

    make halves

Accuracy is top-1 in per cent with float32, with float16 weights and, for the first NARROW samples,
with float16 activations too (arm64 under QEMU); the difference is the largest of an output over all
samples, relative to the range of all outputs; sizes are of the packed models.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from filigree.converter import Converted, ConvertOptions, convert
from filigree.native.model import Model
from filigree.packaging import emulate
from tests.conftest import DATA
from tests.models.markdown import print_header
from tests.models.test_zoo import relative
from tests.models.zoo import ZOO, Entry, dataset, sample_inputs

F32 = NDArray[np.float32]
NOISE = 20  # samples of a network without a data set
NARROW = 60  # samples that are emulated, one process each


def packed(entry: Entry, dtype: str) -> Converted:
    return convert(DATA / "models" / entry.file, options=ConvertOptions(dtype=dtype))


def narrow(entry: Entry) -> Converted:
    """With activations of float16 too, for arm64."""
    options = ConvertOptions(target="arm64", dtype="float16", activations="float16")
    return convert(DATA / "models" / entry.file, options=options)


def samples(entry: Entry) -> Iterator[tuple[str, F32, NDArray[np.int64]]]:
    """Name, inputs and labels of every data set that is here; without one: inputs, no labels."""
    for name, _ in entry.figures:
        found = dataset(DATA, name)
        if found is not None:
            yield name, entry.inputs(found[0]), found[1] + entry.class_offset
    if not entry.figures:
        yield "", sample_inputs(entry, DATA, NOISE), np.zeros(0, np.int64)


def outputs(made: Converted, x: F32) -> F32:
    model = Model.from_bytes(made.data)
    return np.stack([np.asarray(model.run(row[None])).reshape(-1) for row in x])


def emulated(made: Converted, x: F32) -> F32:
    rows = [emulate.run("arm64", made.data, [row[None]])[0] for row in x]
    return np.stack([row.reshape(-1) for row in rows])


def narrow_cells(entry: Entry, wide: Converted) -> tuple[str, str, str]:
    """The same of the first samples, with float16 activations: accuracy, difference and arena."""
    if emulate.available("arm64"):
        return "-", "-", "-"
    made = narrow(entry)
    texts, gaps = [], []
    for name, x, labels in samples(entry):
        few = x[:NARROW]
        want, got = outputs(wide, few), emulated(made, few)
        gaps.append(relative(got, want))
        if labels.size:
            hits = [int((y.argmax(1) == labels[:NARROW]).sum()) for y in (want, got)]
            texts.append(f"{name} {hits[0]} -> {hits[1]} of {len(few)}")
    arenas = [_unbanded(entry, activations) for activations in ("float16", "float32")]
    return ", ".join(texts) or "-", f"{max(gaps):.1e}", f"{arenas[0] / arenas[1]:.2f}x"


def _unbanded(entry: Entry, activations: str) -> int:
    options = ConvertOptions(target="arm64", dtype="float16", activations=activations, bands="off")
    plan = convert(DATA / "models" / entry.file, options=options).program.plan
    assert plan is not None
    return plan.arena_bytes


def cells(entry: Entry, made: tuple[Converted, Converted]) -> tuple[list[str], list[float]]:
    """ "speech 96.7 -> 96.7" for every data set, and the differences."""
    texts, gaps = [], []
    for name, x, labels in samples(entry):
        want, got = (outputs(one, x) for one in made)
        gaps.append(relative(got, want))
        if labels.size:
            before, after = (100 * float((y.argmax(1) == labels).mean()) for y in (want, got))
            texts.append(f"{name} {before:.1f} -> {after:.1f}")
    return texts, gaps


def main() -> None:
    if not (DATA / "models").is_dir():
        sys.exit(f"no real models at {DATA.name}: set FILIGREE_DATA")
    columns = ("network", "accuracy, %, float32 -> float16 weights", "largest difference", "file")
    columns += ("and activations", "largest difference", "arena, without bands")
    print_header(columns)
    for entry in ZOO:
        wide, narrow = made = packed(entry, "float32"), packed(entry, "float16")
        texts, gaps = cells(entry, made)
        row = [
            entry.name,
            ", ".join(texts) or "-",
            f"{max(gaps):.1e}" if gaps else "-",
            f"{len(narrow.data) / len(wide.data):.2f}x",
            *narrow_cells(entry, wide),
        ]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
