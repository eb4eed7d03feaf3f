"""Networks that ONNX Runtime quantised on real inputs: the same integers from the kernels of every
instruction set as from the reference, and next to ONNX Runtime's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from filigree.converter import Converted, ConvertOptions, convert, reference
from filigree.native import model as runtime
from filigree.packaging.engines.qemu import F16_ISA
from tests.conftest import DATA
from tests.models.quantize import network, quantized
from tests.models.zoo import sample_inputs
from tests.packaging.conftest import ENGINES, need_engine

NETWORKS = ("kws", "resnet8", "vww", "ad")
WHOLE = ("kws", "vww")
EXACT = 3  # inputs on which the integers are compared with the reference
SAMPLES = 40

FORMS = {
    "qdq": {},
    "uint8": {"activations": "uint8"},
    "per-tensor": {"per_channel": False},
    "operators": {"form": "QOperator"},
    "operators-uint8": {"form": "QOperator", "activations": "uint8"},
}


@pytest.fixture(scope="module", params=[(n, f) for n in NETWORKS for f in FORMS], ids="-".join)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Converted]:
    name, form = request.param
    if not (DATA / "models" / network(name).file).exists():
        pytest.skip(f"no {network(name).file} in {DATA}")
    path = tmp_path_factory.mktemp("int8") / f"{name}.onnx"
    quantized(name, path, **FORMS[form])
    return name, path, convert(path, options=ConvertOptions(target="x86-64", effort=0.1))


def test_every_layer_is_int8(made: tuple[str, Path, Converted]) -> None:
    _, _, converted = made
    assert {layer.dtype for layer in converted.report.layers} == {"int8"}


def test_the_same_integers_everywhere(made: tuple[str, Path, Converted]) -> None:
    name, _, converted = made
    x = sample_inputs(network(name), DATA, EXACT)
    want = np.concatenate([reference.run(converted.program, one[None])[0] for one in x])
    for isa in runtime.isas():
        for threads in (1, 2):
            model = runtime.Model(converted.data, isa=isa, threads=threads)
            assert np.array_equal(model.run(x), want.astype(np.float32)), (isa, threads)
            model.close()


def test_a_step_from_onnx_runtime_at_most(made: tuple[str, Path, Converted]) -> None:
    name, path, converted = made
    x = sample_inputs(network(name), DATA, SAMPLES)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    want = np.concatenate([session.run(None, {given: one[None]})[0] for one in x])
    got = np.asarray(runtime.Model(converted.data).run(x))
    port = converted.program.tensors[converted.program.ops[-1].inputs[0]]
    assert port.quant is not None
    apart = np.abs(got - want) / port.quant.scale
    assert (apart < 1.01).mean() >= 0.99
    if want.shape[1] < 100:
        assert (got.argmax(axis=1) == want.argmax(axis=1)).mean() >= 0.97


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Of whole networks, quantised: the file, and a hash of outputs of this machine's scalar
    kernels."""
    found = {}
    for name in WHOLE:
        if (DATA / "models" / network(name).file).exists():
            path = tmp_path_factory.mktemp("whole") / f"{name}.onnx"
            quantized(name, path)
            model = runtime.Model(packed(path, "host"), isa="scalar")
            found[name] = path, digest([model.run(x) for x in whole_inputs(name)])
    return found


def packed(path: Path, target: str) -> bytes:
    return convert(path, options=ConvertOptions(target=target, effort=0.1)).data


def whole_inputs(name: str) -> list[np.ndarray]:
    return [x[None] for x in sample_inputs(network(name), DATA, 2)]


def digest(outputs: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(np.asarray(y).tobytes() for y in outputs)).hexdigest()


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_hash_for_all_processors(
    engine: str, name: str, digests: dict[str, tuple[Path, str]]
) -> None:
    from filigree.packaging import emulate, targets

    need_engine(engine)
    if name not in digests:
        pytest.skip(f"no {network(name).file} in {DATA}")
    path, want = digests[name]
    row = targets.engine(engine).target
    fil = packed(path, row.name if row.board else "host")
    for isa in (None, targets.SCALAR, *(isa for isa in row.isas if isa != F16_ISA)):
        outputs = [emulate.run(engine, fil, [x], isa=isa)[0] for x in whole_inputs(name)]
        assert digest(outputs) == want, isa
