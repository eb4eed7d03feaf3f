"""Time a packed model, its dense twin and other runtimes in turns, whole and layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from filigree.cli.console import plural
from filigree.cli.tasks.compare import relative
from filigree.cli.tasks.layers import Measured
from filigree.cli.tasks.packed import F32, many, random_inputs
from filigree.cli.tasks.peers import Peer, open_peer
from filigree.cli.tasks.timing import Candidate, Timing, interleave, pinned, spread
from filigree.native.model import Model


@dataclass(frozen=True)
class Bench:
    """What was timed, ours first. ``sizes`` are file bytes; ``differences`` the largest difference
    of a candidate's outputs from ours, relative to the output range; ``cores`` those that all were
    pinned to, one for each of ``threads`` if the machine has as many."""

    timings: Sequence[Timing]
    sizes: Mapping[str, int]
    differences: Mapping[str, float]
    cores: tuple[int, ...]
    isa: str
    threads: int = 1
    layers: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class Ours:
    """A packed model, opened, and the bytes of its file."""

    model: Model
    bytes: int


def measure(
    ours: Ours,
    twin: Ours | None,
    *,
    peers: Sequence[Peer],
    seconds: float,
    progress: Callable[[str, float], None] | None = None,
) -> Bench:
    """Time everything in turns, on the same seeded input, on as many pinned cores and threads as
    ``ours`` uses."""
    threads = ours.model.threads
    inputs = random_inputs(ours.model.inputs, seed=1)
    expected = many(ours.model.run(*inputs))
    with pinned(threads) as cores:
        candidates = [Candidate("filigree", _packed_call(ours.model, inputs))]
        sizes, differences = {"filigree": ours.bytes}, {}
        if twin is not None:
            candidates.append(Candidate("filigree dense", _packed_call(twin.model, inputs)))
            sizes["filigree dense"] = twin.bytes
            differences["filigree dense"] = relative(many(twin.model.run(*inputs)), expected)
        runtimes = [peer.name for peer in peers]
        for peer in peers:
            twice = runtimes.count(peer.name) > 1
            name = f"{peer.name} {peer.model.stem}" if twice else peer.name
            opened = open_peer(peer, inputs, threads=threads)
            candidates.append(Candidate(name, opened.call))
            sizes[name] = peer.model.stat().st_size
            differences[name] = relative(opened.outputs, expected)
        spread(cores)
        timings = interleave(candidates, seconds=seconds, threads=threads, progress=progress)
    return Bench(timings, sizes, differences, cores, ours.model.isa, threads)


def _packed_call(model: Model, inputs: list[F32]) -> Callable[[], object]:
    return lambda: model.run(*inputs)


def layer_times(ours: Model, twin: Model | None) -> dict[str, Measured]:
    """Median seconds per user's node, with the dense twin's where there is one."""
    inputs = random_inputs(ours.inputs, seed=1)
    with pinned(ours.threads) as cores:
        spread(cores)
        mine = _by_node(ours, inputs)
        dense = _by_node(twin, inputs) if twin is not None else {}
    return {node: Measured(seconds, dense.get(node)) for node, seconds in mine.items()}


def _by_node(model: Model, inputs: list[F32]) -> dict[str, float]:
    total: dict[str, float] = {}
    for op in model.profile(*inputs):
        total[op.node] = total.get(op.node, 0.0) + op.seconds
    return total


def as_json(result: Bench) -> dict[str, Any]:
    """The result for ``--json``: seconds and bytes."""
    ours = result.timings[0].median
    return {
        "isa": result.isa,
        "cores": list(result.cores),
        "threads": result.threads,
        "results": [
            {
                **asdict(timing),
                "ratio": timing.median / ours,
                "bytes": result.sizes.get(timing.name),
                "difference": result.differences.get(timing.name),
            }
            for timing in result.timings
        ],
        "layers": [
            {"layer": node, **asdict(measured), "speedup": measured.speedup}
            for node, measured in result.layers.items()
        ],
    }


def how(result: Bench) -> str:
    """How it was timed, in one line."""
    cores = ", ".join(map(str, result.cores))
    where = f"{'core' if len(result.cores) == 1 else 'cores'} {cores}" if cores else "not pinned"
    threads = "one thread" if result.threads == 1 else f"{result.threads} threads"
    samples = plural(result.timings[0].samples, "sample")
    return f"{result.isa}, {threads}, {where}, {samples} each, taking turns"
