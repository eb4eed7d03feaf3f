"""What sparsity saves on arm64, in instructions: they repeat exactly."""

from __future__ import annotations

from pathlib import Path

from filigree.cli.tasks.counting import by_kind, whole
from filigree.packaging import count, emulate
from tests.conftest import need
from tests.models.counts import layers_of, narrow_layers_of, total_of
from tests.models.sparsify import NETWORKS

MOST = 0.35
NARROW = 0.68


def test_mobilenet_v1_at_80_percent(data: Path, tmp_path: Path) -> None:
    reason = emulate.available("arm64") or count.available()
    need("qemu", reason is None, reason or "")
    source = data / "models" / NETWORKS["MobileNetV1 1.0 224"]
    layers = layers_of(source, 0.8, tmp_path)
    kinds = {kind.name: kind.ratio for kind in by_kind(layers)}
    assert kinds["dwconv"] == 1.0
    assert (kinds["spmm"] or 1.0) < 0.25
    assert (whole(layers).ratio or 1.0) <= MOST


def test_float16_activations_take_clearly_less(data: Path, tmp_path: Path) -> None:
    reason = emulate.available("arm64") or count.available()
    need("qemu", reason is None, reason or "")
    layers = narrow_layers_of(data / "models" / NETWORKS["MobileNetV1 1.0 224"], 0.8, tmp_path)
    kinds = {kind.name: kind.ratio for kind in by_kind(layers)}
    assert (kinds["spmm"] or 1.0) < 0.65
    assert (total_of(layers).ratio or 1.0) <= NARROW
