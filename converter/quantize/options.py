"""What quantisation is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QuantizeOptions:
    """``ranges``: a name of ranges.METHODS, for activations; ``weights``: minmax or mse.
    ``keep_float``: names of layers, * and ? allowed. ``accuracy_budget``: points (1 is 1 %) of
    accuracy on the data that may be lost; the most sensitive layers stay float until no more is.
    ``bias_correction``: whether biases make up for what rounding does to means."""

    ranges: str = "mse"
    weights: str = "minmax"
    bias_correction: bool = True
    keep_float: tuple[str, ...] = ()
    accuracy_budget: float | None = None
