"""Instructions of one inference on arm64, layer by layer: what there is instead of a time where the
processor is emulated. They repeat exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from filigree.cli.tasks.filefacts import op_name
from filigree.cli.tasks.packed import inputs_of, random_inputs
from filigree.converter import packfile
from filigree.packaging import count


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


def count_layers(ours: bytes, twin: bytes | None, *, isa: str | None = None) -> list[Counted]:
    """Every layer in program order; operations that belong to one node count together. Raises what
    packaging/count.py raises."""
    mine = _by_node(ours, isa)
    dense = _by_node(twin, isa) if twin is not None else {}
    twins = {name: n for (name, _), n in dense.items()}
    return [Counted(name, kind, n, twins.get(name)) for (name, kind), n in mine.items()]


def _by_node(fil: bytes, isa: str | None) -> dict[tuple[str, str], int]:
    program = packfile.decode(fil)
    inputs = random_inputs(inputs_of(program), seed=1)
    counts = count.count_ops(fil, inputs, isa=isa)
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


def as_json(layers: Sequence[Counted], *, isa: str) -> dict[str, Any]:
    """The counts for ``--json``."""

    def row(counted: Counted) -> dict[str, Any]:
        return {**asdict(counted), "ratio": counted.ratio}

    total = row(whole(layers))
    return {
        "target": "arm64",
        "isa": isa,
        **{key: total[key] for key in ("instructions", "dense", "ratio")},
        "kinds": [row(kind) for kind in by_kind(layers)],
        "layers": [row(layer) for layer in layers],
    }
