"""Finding the first wrong operation, and whose fault it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from filigree.cli.tasks import blame
from filigree.cli.tasks.compare import make_case
from filigree.converter import convert, packfile
from filigree.converter.sparsity import pattern
from filigree.native.model import Port
from tests.cli.conftest import tiny_onnx

pytest.importorskip("onnxruntime")
PORTS = [Port("x", (1, 3, 8, 8))]


def test_a_wrong_weight_is_found(tmp_path: Path) -> None:
    source = tiny_onnx(tmp_path / "tiny.onnx")
    program = convert(source).program
    key = next(k for k, w in program.weights.items() if w.layer == "point")
    weights = program.weights[key]
    assert weights.packing is not None
    matrix = weights.matrix * np.float32(1.5)
    packing = pattern.encode(matrix, weights.bias, block_rows=weights.packing.block_rows)
    broken = dataclasses.replace(weights, matrix=matrix, packing=packing)
    packed = tmp_path / "broken.fil"
    changed = dataclasses.replace(program, weights={**program.weights, key: broken})
    packed.write_bytes(packfile.encode(changed))
    case = make_case(source, PORTS, count=1, data=None)
    found = blame.first_wrong(packed, source, case, isa=None)
    assert found is not None
    assert (found.node, found.side) == ("point", "conversion")


def test_the_runtime_agrees_with_the_reference_step_by_step(tmp_path: Path) -> None:
    source = tiny_onnx(tmp_path / "tiny.onnx")
    packed = tmp_path / "tiny.fil"
    packed.write_bytes(convert(source).data)
    case = make_case(source, PORTS, count=1, data=None)
    assert blame.first_wrong(packed, source, case, isa="scalar") is None


def test_trace_passes_errors_on(tmp_path: Path) -> None:
    from filigree.native.model import Model

    model = Model.from_bytes(convert(tiny_onnx(tmp_path / "tiny.onnx")).data)
    seen: list[int] = []
    model.trace(np.zeros(PORTS[0].shape, np.float32), after=seen.append)
    assert seen == list(range(model.op_count))

    def fail(op: int) -> None:
        raise KeyError(op)

    with pytest.raises(KeyError):
        model.trace(np.zeros(PORTS[0].shape, np.float32), after=fail)
