"""What conversion did to each layer, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filigree.converter.lowering.program import Program
    from filigree.converter.quantize.job import Quantized, QuantizedLayer
    from filigree.converter.sparsity.select import Choice

DIGITS = 4  # of predicted figures: the tables are not better


@dataclass(frozen=True)
class LayerReport:
    """One weight matrix.

    ``node``: the user's name; ``kind``: spmm, conv, dwconv or spmv; ``cols``: inputs of one output
    (channels x taps); ``sparsity``: share of zero weights; ``fill``: share of the stored values
    that are zeros; ``stored_bytes``: values and indices; ``dense_bytes``: as float32; ``dtype``: of
    the stored values, ``rounding``: what float16 lost, or why the layer stays float32;
    ``predicted_speedup``: against the same layer stored dense, by the cost table; None where
    nothing was chosen.
    """

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
    dtype: str
    rounding: str

    @classmethod
    def of(cls, choice: Choice) -> LayerReport:
        """The report of one choice."""
        gain = choice.predicted_dense_ns / choice.predicted_ns
        return cls(
            node=choice.layer,
            kind=choice.kind,
            rows=choice.rows,
            cols=choice.cols,
            positions=choice.positions,
            pattern=choice.pattern,
            sparsity=round(choice.sparsity, DIGITS),
            fill=round(choice.fill, DIGITS),
            stored_bytes=choice.stored_bytes,
            dense_bytes=choice.dense_bytes,
            kernel=choice.kernel,
            predicted_speedup=None if choice.kind == "dwconv" else round(gain, DIGITS),
            reason=choice.reason,
            dtype=choice.dtype,
            rounding=choice.rounding,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True)
class MemoryReport:
    """The arena: planned bytes, the least possible, and what is alive where it is largest."""

    arena_bytes: int
    lower_bound: int
    peak_op: int
    peak_node: str
    live: tuple[str, ...]

    @classmethod
    def of(cls, program: Program) -> MemoryReport:
        """The report of a planned program (ValueError if it is not)."""
        from filigree.converter.lowering.plan import live_at_peak

        if program.plan is None:
            raise ValueError("the program has no memory plan")
        peak = program.plan.peak_op
        return cls(
            arena_bytes=program.plan.arena_bytes,
            lower_bound=program.plan.lower_bound,
            peak_op=peak,
            peak_node=program.ops[peak].node if program.ops else "",
            live=live_at_peak(program),
        )


@dataclass(frozen=True)
class Report:
    """The whole conversion; ``costs`` says which cost table chose, and where it is from;
    ``rearranged``: what ``sparsity.rearrange`` did, if anything; ``activations``: their element
    type, and ``kept``: of float16, the nodes that compute in float32 and why; ``quantized``: how
    many layers are int8, the output's signal to noise in decibel, and accuracy before and after
    (None without labels)."""

    name: str
    target: str
    costs: str
    layers: tuple[LayerReport, ...]
    memory: MemoryReport
    rearranged: dict[str, Any] | None = None
    activations: str = "float32"
    kept: dict[str, str] = field(default_factory=dict)
    quantized: dict[str, Any] | None = None

    def with_quantized(self, found: Quantized) -> Report:
        """The same, saying what int8 cost."""
        levels = {layer.name: layer for layer in found.layers}
        layers = tuple(
            replace(layer, rounding=_level(levels[layer.node])) if layer.node in levels else layer
            for layer in self.layers
        )
        whole = {
            "layers": sum(not layer.kept_float for layer in found.layers),
            "of": len(found.layers),
            "output_signal_to_noise": found.output_signal_to_noise,
            "accuracy_before": found.accuracy_before,
            "accuracy_after": found.accuracy_after,
        }
        return replace(self, layers=layers, quantized=whole)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "layers": [layer.to_json() for layer in self.layers]}


def _level(layer: QuantizedLayer) -> str:
    kept = "stays float32, " if layer.kept_float else ""
    return f"{kept}{layer.signal_to_noise:.1f} dB over its error"
