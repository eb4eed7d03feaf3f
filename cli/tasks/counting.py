"""Instructions of one inference, layer by layer: what there is instead of a time where the
processor is emulated. They repeat exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from filigree.cli.tasks.filefacts import op_name
from filigree.cli.tasks.packed import inputs_of, random_inputs
from filigree.converter import packfile
from filigree.packaging import count, targets

FLASH = ("code", "model")
RAM = ("arena", "ports", "static", "stack")


@dataclass(frozen=True)
class Counted:
    """Instructions of a layer (or of all layers of a kind) in this packed model, and in its dense
    twin if that was counted."""

    name: str
    kind: str
    instructions: int
    dense: int | None = None

    @property
    def ratio(self) -> float | None:
        return self.instructions / self.dense if self.dense else None


@dataclass(frozen=True)
class Counts:
    """The layers, and the bytes that a microcontroller has and needs (engines.Result.memory; the
    twin's beside them); empty elsewhere."""

    layers: list[Counted]
    memory: dict[str, int]
    dense_memory: dict[str, int]


def count_layers(
    ours: bytes, twin: bytes | None, *, target: str = count.DEFAULT, isa: str | None = None
) -> Counts:
    """Every layer in program order; operations that belong to one node count together. Raises what
    packaging/count.py raises."""
    measured = _measured(ours, target, isa)
    mine = _by_node(ours, measured)
    dense = _measured(twin, target, isa) if twin is not None else None
    by_name = _by_node(twin, dense) if twin is not None and dense is not None else {}
    twins = {name: n for (name, _), n in by_name.items()}
    layers = [Counted(name, kind, n, twins.get(name)) for (name, kind), n in mine.items()]
    return Counts(layers, measured.memory, dense.memory if dense else {})


def isa_of(target: str, asked: str | None, *, narrow: bool) -> str:
    """The instruction set that is counted: what was asked for, or the target's for activations of
    float32 or, ``narrow``, of float16. Raises UnknownTarget."""
    row = targets.engine(target).target
    targets.with_isa(row, asked)
    if asked or not row.isas:
        return asked or targets.SCALAR
    return row.isas[-1] if narrow else row.isas[0]


def _measured(fil: bytes, target: str, isa: str | None) -> count.Measured:
    program = packfile.decode(fil)
    return count.measure(fil, random_inputs(inputs_of(program), seed=1), isa=isa, target=target)


def _by_node(fil: bytes, measured: count.Measured) -> dict[tuple[str, str], int]:
    program = packfile.decode(fil)
    counts = measured.instructions
    kinds: dict[str, str] = {}
    total: dict[tuple[str, str], int] = {}
    for op, n in zip(program.ops, counts, strict=True):
        key = op.node, kinds.setdefault(op.node, op_name(op.kind))
        total[key] = total.get(key, 0) + n
    return total


def by_kind(layers: Sequence[Counted]) -> list[Counted]:
    """The layers of each kind together, most instructions first."""
    kinds = dict.fromkeys(layer.kind for layer in layers)
    sums = [whole([x for x in layers if x.kind == kind], kind) for kind in kinds]
    return sorted(sums, key=lambda x: -x.instructions)


def whole(layers: Sequence[Counted], name: str = "all") -> Counted:
    """The layers together; ``dense`` only if each of them has it."""
    dense = [layer.dense for layer in layers if layer.dense is not None]
    complete = sum(dense) if len(dense) == len(layers) else None
    return Counted(name, name, sum(layer.instructions for layer in layers), complete)


def memory_rows(memory: dict[str, int]) -> list[tuple[str, int, int, list[tuple[str, int]]]]:
    """Flash and RAM of a microcontroller: bytes needed, bytes there, and what they are for."""
    rows = []
    for name, parts in (("flash", FLASH), ("RAM", RAM)):
        of = [(part, memory[part]) for part in parts]
        rows.append((name, sum(n for _, n in of), memory[f"{name.lower()}_limit"], of))
    return rows


def as_json(counts: Counts, *, target: str, isa: str) -> dict[str, Any]:
    """The counts for ``--json``."""
    layers = counts.layers

    def row(counted: Counted) -> dict[str, Any]:
        return {**asdict(counted), "ratio": counted.ratio}

    total = row(whole(layers))
    return {
        "target": target,
        "isa": isa,
        **{key: total[key] for key in ("instructions", "dense", "ratio")},
        "kinds": [row(kind) for kind in by_kind(layers)],
        "layers": [row(layer) for layer in layers],
        **({"memory": counts.memory} if counts.memory else {}),
        **({"dense_memory": counts.dense_memory} if counts.dense_memory else {}),
    }
