"""The per-layer report of a packed model, for tables and pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any

from filigree.cli.console import percent, plural

if TYPE_CHECKING:
    from filigree.converter.report import Report


@dataclass(frozen=True)
class Layer:
    """One layer with weights, as the packed model's metadata describes it."""

    node: str
    kind: str
    rows: int
    cols: int
    positions: int
    pattern: str
    sparsity: float
    fill: float
    stored_bytes: int
    dense_bytes: int
    kernel: str
    predicted_speedup: float | None
    reason: str
    dtype: str = "float32"
    rounding: str = ""

    @property
    def is_sparse(self) -> bool:
        return self.pattern != "dense"


@dataclass(frozen=True)
class Measured:
    """Median seconds of a layer in this packed model, and in its dense twin if that was timed."""

    seconds: float
    dense_seconds: float | None = None

    @property
    def speedup(self) -> float | None:
        if self.dense_seconds is None or self.seconds <= 0:
            return None
        return self.dense_seconds / self.seconds


def layers(meta: dict[str, Any]) -> list[Layer]:
    """The layers in ``meta``; entries that are not whole are left out (metadata is optional)."""
    found = Layer.__dataclass_fields__
    needed = {name for name, field in found.items() if field.default is MISSING}
    entries = meta.get("layers") or []
    whole = (e for e in entries if isinstance(e, dict) and needed <= e.keys())
    return [Layer(**{name: e[name] for name in found if name in e}) for e in whole]


HEADER = ("layer", "kind", "weights", "pattern", "sparsity", "fill", "bytes", "speed-up", "why")


def has_halves(rows: Iterable[Layer]) -> bool:
    """float16 was asked for: a layer has it, or says why not."""
    return any(layer.dtype != "float32" or layer.rounding for layer in rows)


def table(found: Sequence[Layer]) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows; the element type has a column where it is not float32 throughout."""
    if not has_halves(found):
        return HEADER, [row(layer) for layer in found]
    at = HEADER.index("bytes")
    rows = [[*(cells := row(layer))[:at], layer.dtype, *cells[at:]] for layer in found]
    return (*HEADER[:at], "type", *HEADER[at:]), rows


def row(layer: Layer) -> list[str]:
    """A table row under ``HEADER``; the speed-up is the predicted one against dense."""
    gain = layer.predicted_speedup
    return [
        layer.node,
        layer.kind,
        f"{layer.rows}x{layer.cols}",
        layer.pattern,
        percent(layer.sparsity),
        percent(layer.fill),
        f"{layer.stored_bytes}/{layer.dense_bytes}",
        "-" if gain is None else f"{gain:.2f}x",
        why(layer),
    ]


def why(layer: Layer) -> str:
    """The reason for the pattern, and what there is to say about the element type."""
    return f"{layer.reason}; {layer.rounding}" if layer.rounding else layer.reason


def summary(rows: Iterable[Layer]) -> str:
    """``14 of 28 layers are sparse (4x1: 13, 2x1: 1)``."""
    every = list(rows)
    counts: dict[str, int] = {}
    for layer in every:
        if layer.is_sparse:
            counts[layer.pattern] = counts.get(layer.pattern, 0) + 1
    halves = sum(layer.dtype == "float16" for layer in every)
    fours = sum(layer.dtype == "int4" for layer in every)
    tail = f"; {fours} in int4" if fours else ""
    tail += f"; {halves} in float16" if halves else ""
    if not counts:
        return f"all {plural(len(every), 'layer')} stay dense{tail}"
    patterns = ", ".join(f"{name}: {counts[name]}" for name in sorted(counts))
    sparse = f"{sum(counts.values())} of {plural(len(every), 'layer')} are sparse ({patterns})"
    return sparse + tail


def halved(report: Report) -> list[str]:
    """What float16 activations came to: one line, and one for each layer that keeps float32."""
    kept = report.kept
    tail = f", but for {plural(len(kept), 'node')}:" if kept else ""
    return [f"activations in float16{tail}", *(f"  {node}: {why}" for node, why in kept.items())]
