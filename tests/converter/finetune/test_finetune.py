"""Whole runs: learning, masks in the file that is written, stopping and going on to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from filigree.converter import calibration  # noqa: E402  PyTorch first, or a skip
from filigree.converter.errors import BadFile, UsageError  # noqa: E402
from filigree.converter.finetune import (  # noqa: E402
    Distil,
    Files,
    Finetuned,
    FinetuneOptions,
    finetune,
)
from tests.converter.finetune import tiny  # noqa: E402

DATA, TEST = tiny.samples(64), tiny.samples(40, seed=2)


def run(source: Path, options: FinetuneOptions, files: Files | None = None) -> Finetuned:
    return finetune(source, options, data=DATA, test=TEST, files=files)


class Stopped(Exception):
    pass


def stopped(source: Path, options: FinetuneOptions, file: Path, *, after: float) -> None:
    """A run that is stopped in the middle of an epoch."""

    def progress(stage: str, fraction: float) -> None:
        if stage.startswith("epoch") and fraction > after:
            raise Stopped

    with pytest.raises(Stopped):
        finetune(
            source, options, data=DATA, test=TEST, files=Files(checkpoint=file), progress=progress
        )


def test_it_learns_while_it_is_cut(tmp_path: Path) -> None:
    found = run(tiny.saved(tmp_path), tiny.options(epochs=30, rate=0.02))
    accuracy = found.history[-1].accuracy
    assert accuracy is not None and accuracy > 80
    assert found.history[-1].loss < 0.5 * found.history[0].loss
    assert [e.sparsity for e in found.history] == sorted(e.sparsity for e in found.history)


@pytest.mark.parametrize("fading", [False, True], ids=["cut", "fade"])
@pytest.mark.parametrize("pattern", ["4x1", "1x1", "2:4", "4x1+2:4"])
def test_the_masks_are_in_the_file(tmp_path: Path, pattern: str, fading: bool) -> None:
    source = tiny.saved(tmp_path)
    found = run(source, tiny.options(pattern, decay_mask=fading))
    path = tmp_path / "out.onnx"
    onnx.save(found.proto, path)
    onnx.checker.check_model(str(path), full_check=True)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in found.proto.graph.initializer}
    for name in ("w1", "w2"):
        kept = weights[name][:, :, 0, 0] != 0
        rows = 4 if "4x1" in pattern else 1
        blocks = kept.reshape(-1, rows, kept.shape[1])
        assert (blocks.any(axis=1) == blocks.all(axis=1)).all()
        assert blocks.any(axis=1).mean() == pytest.approx(0.5)
        if "2:4" in pattern:
            assert blocks.any(axis=1).reshape(len(blocks), -1, 4).sum(axis=2).max() <= 2
    assert (weights["w0"] != 0).all() and (weights["w3"] != 0).all()
    assert found.sparsity == pytest.approx(0.5)
    assert [layer.name for layer in found.layers] == ["mid", "last"]


def test_names_and_the_open_batch_stay(tmp_path: Path) -> None:
    source = tiny.saved(tmp_path)
    given, proto = onnx.load(source), run(source, tiny.options(epochs=1)).proto
    assert [n.output[0] for n in proto.graph.node] == [n.output[0] for n in given.graph.node]
    assert {t.name for t in proto.graph.initializer} == {t.name for t in given.graph.initializer}
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"


def test_the_file_is_as_good_as_the_last_epoch(tmp_path: Path) -> None:
    found = run(tiny.saved(tmp_path), tiny.options(epochs=5))
    assert calibration.accuracy(found.graph, TEST) == found.history[-1].accuracy


def test_every_layer_can_have_its_own(tmp_path: Path) -> None:
    from filigree.converter.prune import Override, Pattern

    options = tiny.options()
    overrides = {"mid": Override(0.75, Pattern(8)), "head": Override(0.5, Pattern(1))}
    options = replace(options, prune=replace(options.prune, overrides=overrides))
    found = {layer.name: layer for layer in run(tiny.saved(tmp_path), options).layers}
    assert found["mid"].pattern == "8x1"
    assert found["mid"].sparsity == pytest.approx(0.75)
    assert found["head"].sparsity == pytest.approx(0.5)


WAYS = {
    "adamw": {},
    "sgd": {"optimiser": "sgd", "rate": 0.05},
    "fade": {"decay_mask": True, "distil": Distil()},
    "n of m": {"pattern": "2:4"},
    "short batch": {"batch": 24},
}


@pytest.mark.parametrize("way", WAYS)
def test_resuming_gives_the_same_bits(tmp_path: Path, way: str) -> None:
    source, options = tiny.saved(tmp_path), tiny.options(**{"epochs": 6, **WAYS[way]})
    whole = run(source, options)
    file = tmp_path / "run.npz"
    stopped(source, options, file, after=0.6)
    found = run(source, options, Files(checkpoint=file, resume=file))
    assert found.proto.SerializeToString(deterministic=True) == whole.proto.SerializeToString(
        deterministic=True
    )
    assert found.history == whole.history
    finished = run(source, options, Files(resume=file))
    assert finished.proto.SerializeToString() == found.proto.SerializeToString()


def test_any_step_is_a_place_to_go_on(tmp_path: Path) -> None:
    """Also inside an epoch, where the command line does not stop."""
    from filigree.converter.finetune.distil import Loss
    from filigree.converter.finetune.graph import Network
    from filigree.converter.finetune.loop import Trainer, reproducible
    from filigree.converter.finetune.schedule import Pruner, Ramp, Target
    from filigree.converter.sparsity.layer import Goal

    options = tiny.options(epochs=2)

    def trainer() -> Trainer:
        network = Network(tiny.graph(tiny.saved(tmp_path)))
        cut = [Target("mid", "w1", 0, Goal(4, 40))]
        pruner = Pruner(network.weights, cut, ramp=Ramp(8))
        loss = Loss(network, None, [], Distil())
        return Trainer(network, DATA, loss=loss, pruner=pruner, options=options)

    with reproducible(1):
        whole, first, second = trainer(), trainer(), trainer()
        losses = [whole.one() for _ in range(8)]
        assert [first.one() for _ in range(3)] == losses[:3]
        second.restore(first.state())
        assert [second.one() for _ in range(5)] == losses[3:]
    expected, found = whole.state(), second.state()
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    source, file = tiny.saved(tmp_path), tmp_path / "run.npz"
    run(source, tiny.options(epochs=1), Files(checkpoint=file))
    with pytest.raises(UsageError) as caught:
        run(source, tiny.options(epochs=2, rate=0.5), Files(resume=file))
    assert str(caught.value) == (
        "run.npz is a checkpoint of another run\n"
        "  epochs: 1 then, 2 now\n"
        "  rate: 0.005 then, 0.5 now"
    )
    other = tiny.saved(tmp_path, seed=9)
    with pytest.raises(UsageError, match="model"):
        run(other, tiny.options(epochs=1), Files(resume=file))


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    source, file = tiny.saved(tmp_path), tmp_path / "run.npz"
    run(source, tiny.options(epochs=1), Files(checkpoint=file))
    whole = file.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(BadFile):
            run(source, tiny.options(epochs=1), Files(resume=file))
    file.write_bytes(whole)
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    kept["weight/w1"], kept["more"] = kept["weight/w1"][:4], np.zeros(3)
    del kept["mask/w2"]
    np.savez(file, **kept)
    with pytest.raises(BadFile) as caught:
        run(source, tiny.options(epochs=1), Files(resume=file))
    assert caught.value.lines == [
        'no "mask/w2"',
        '"more" is of no use',
        '"weight/w1" is float32[4, 16, 1, 1], not float32[24, 16, 1, 1]',
    ]


def test_training_that_comes_apart_says_so(tmp_path: Path) -> None:
    options = tiny.options(optimiser="sgd", rate=1e30)
    with pytest.raises(UsageError, match="came apart"):
        run(tiny.saved(tmp_path), options)


def test_labels_that_are_no_classes(tmp_path: Path) -> None:
    data = calibration.Data(DATA.x, np.full(64, 4))
    with pytest.raises(UsageError, match="training labels run from 4 to 4"):
        finetune(tiny.saved(tmp_path), tiny.options(), data=data, test=TEST)
