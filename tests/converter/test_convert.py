"""Conversion from end to end: determinism, what is refused, what travels in the file."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filigree.converter import ConvertOptions, convert, packfile
from filigree.converter.errors import BadFile, UsageError
from filigree.converter.pipeline import STAGES

SPARSE = "digits_sparse80.onnx"


def test_import_is_light() -> None:
    script = (
        "import sys, filigree.converter, filigree.converter.errors\n"
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'cffi'} & sys.modules.keys()\n"
        "sys.exit(' '.join(sorted(heavy)) or 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_same_bytes_twice_and_from_another_folder(digits: Path, tmp_path: Path) -> None:
    copy = tmp_path / SPARSE
    copy.write_bytes((digits / SPARSE).read_bytes())
    first = convert(digits / SPARSE)
    assert convert(digits / SPARSE).data == first.data == convert(copy).data


def test_the_bytes_are_the_program(digits: Path) -> None:
    converted = convert(digits / SPARSE)
    back = packfile.decode(converted.data)
    assert back.plan == converted.program.plan
    assert packfile.encode(back) == converted.data
    for before, after in zip(
        converted.program.weights.values(), back.weights.values(), strict=True
    ):
        assert before.layer == after.layer
        assert np.array_equal(before.matrix, after.matrix)


def test_sparse_layers_are_packed_and_reported(digits: Path) -> None:
    converted = convert(digits / SPARSE)
    layers = converted.report.layers
    assert len(layers) == len(converted.program.weights)
    pruned = [layer for layer in layers if layer.sparsity > 0.7]
    assert pruned
    assert all(layer.pattern != "dense" for layer in pruned)
    dense = convert(digits / SPARSE, options=ConvertOptions(pattern="dense"))
    assert len(converted.data) < len(dense.data)
    assert {layer.pattern for layer in dense.report.layers} == {"dense"}


def test_index_lists_are_at_most_a_byte_a_block(digits: Path) -> None:
    for weights in convert(digits / SPARSE).program.weights.values():
        packing = weights.packing
        assert packing is not None
        assert packing.index is None or packing.index.nbytes <= packing.blocks


def test_what_travels_in_the_file(digits: Path) -> None:
    options = ConvertOptions(
        labels=tuple("0123456789"), mean=(0.0,), scale=(255.0,), name="digits", target="arm64"
    )
    meta = packfile.decode(convert(digits / SPARSE, options=options).data).meta
    assert meta["name"] == "digits"
    assert meta["labels"] == list("0123456789")
    assert meta["preprocess"]["scale"] == [255.0]
    assert meta["target"] == "arm64"
    assert meta["source"]["file"] == SPARSE
    assert meta["source"]["bytes"] == (digits / SPARSE).stat().st_size
    assert meta["memory"]["arena_bytes"] >= meta["memory"]["lower_bound"]
    assert len(meta["layers"]) == len(convert(digits / SPARSE).program.weights)
    assert str(digits) not in json.dumps(meta)


def test_progress_names_every_stage_in_order(digits: Path) -> None:
    seen: list[tuple[str, float]] = []
    converted = convert(digits / SPARSE, progress=lambda *step: seen.append(step))
    assert [stage for stage, _ in seen] == list(STAGES)
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    assert list(converted.seconds) == list(STAGES)
    assert all(seconds >= 0 for seconds in converted.seconds.values())


def test_unknown_target_and_pattern(digits: Path) -> None:
    for options in (ConvertOptions(target="z80"), ConvertOptions(pattern="3x1")):
        with pytest.raises(UsageError):
            convert(digits / SPARSE, options=options)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises((BadFile, OSError)):
        convert(tmp_path / "missing.onnx")


def test_options_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ConvertOptions().batch = 2  # type: ignore[misc]  # that is the test


def real_models(data: Path) -> list[Path]:
    folders = [p for p in (data / "models").iterdir() if p.name != "bert"]
    return sorted(path for folder in folders for path in folder.glob("*.onnx"))


def test_arenas_of_real_models_are_near_the_bound(data: Path) -> None:
    for path in real_models(data):
        plan = convert(path).program.plan
        assert plan is not None
        assert plan.arena_bytes <= 1.05 * plan.lower_bound, path.name
