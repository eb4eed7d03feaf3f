"""Visual wake words in int8 on a microcontroller: what it may take, and the bits of the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from filigree.converter import ConvertOptions, convert
from filigree.native.model import Model
from filigree.packaging import count, emulate
from tests.conftest import DATA
from tests.packaging.conftest import need_engine

pytest.importorskip("onnxruntime")

SRAM, CODE = 59_000, 40_000  # bytes


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    from tests.models.mcu import int8

    return int8("vww", 0.8, tmp_path_factory.mktemp("mcu"))


@pytest.mark.parametrize(
    "core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55"]
)
def test_visual_wake_words(core: str, source: Path) -> None:
    from tests.models.quantize import network
    from tests.models.zoo import sample_inputs

    need_engine(core)
    fil = convert(source, options=ConvertOptions(target=core, effort=0.1)).data
    model = Model(fil, isa="scalar")
    port = model.inputs[0]
    floats = sample_inputs(network("vww"), DATA, 1)
    x = np.clip(np.rint(floats / port.scale) + port.zero, -128, 127).astype(np.int8)
    want = np.asarray(model.run(x))
    (got,) = emulate.run(core, fil, [x])
    assert got.tobytes() == want.tobytes()
    found = count.measure(fil, [x], target=core)
    assert sum(found.memory[part] for part in ("arena", "ports", "static", "stack")) <= SRAM
    assert found.memory["code"] <= CODE
