"""Every applicable ONNX backend node test on every ISA of this host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from filigree.converter import ConvertOptions, convert
from filigree.converter.errors import UnsupportedModel
from filigree.native.model import Model, isas
from tests.onnx_nodes.cases import REFUSED, Case, collect, refused

CASES, LEFT_OUT = collect()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_node(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "case.onnx"
    onnx.save(case.model, path)
    packed = convert(path, options=ConvertOptions()).data
    for isa in isas():
        got = Model.from_bytes(packed, isa=isa).run(*case.inputs)
        outputs = got if isinstance(got, tuple) else (got,)
        for have, want in zip(outputs, case.outputs, strict=True):
            assert have.shape == want.shape
            np.testing.assert_allclose(have, want, rtol=case.rtol, atol=max(case.atol, 1e-6))


@pytest.mark.parametrize("case", refused(), ids=lambda c: c.name)
def test_refused_form(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "case.onnx"
    onnx.save(case.model, path)
    with pytest.raises(UnsupportedModel):
        convert(path, options=ConvertOptions())


def test_every_refused_name_is_a_case() -> None:
    assert {case.name for case in refused()} == set(REFUSED)


def test_the_table_in_the_docs_is_current() -> None:
    from tests.onnx_nodes.table import PAGE, render

    assert PAGE.read_text() == render(), "run: python -m tests.onnx_nodes.table"
