"""One run of fine-tuning: prepare, train, write back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from filigree.converter import calibration, prune
from filigree.converter.calibration import Data
from filigree.converter.errors import UsageError
from filigree.converter.finetune import checkpoint
from filigree.converter.finetune.distil import Loss
from filigree.converter.finetune.graph import Network
from filigree.converter.finetune.loop import Trainer, reproducible, steps_of
from filigree.converter.finetune.options import (
    Distil,
    Files,
    Finetuned,
    FinetuneOptions,
)
from filigree.converter.finetune.schedule import Pruner, Ramp, Target, targets
from filigree.converter.frontends.onnx import source_of
from filigree.converter.passes.graph import dims
from filigree.converter.prune import Prepared, PrunedLayer
from filigree.converter.sparsity.axes import matrix_of
from filigree.converter.sparsity.layer import Layer

Progress = Callable[[str, float], None]
SEEN = 512  # samples that a budget by sensitivity looks at


def run(
    source: Path,
    options: FinetuneOptions,
    *,
    data: Data,
    test: Data,
    files: Files,
    progress: Progress,
) -> Finetuned:
    """See ``filigree.converter.finetune.finetune``."""
    _check(options, data)
    seen = Data(data.x[:SEEN]) if options.prune.budget == "sensitivity" else None
    ready = prune.prepare(source, options.prune, data=seen, progress=progress)
    _check_labels(ready.graph, {"training": data, "test": test})
    dense = {name: matrix_of(node) for name, node in _layers(ready).items()}
    with reproducible(options.threads):
        network = Network(ready.graph)
        cut = targets(ready.graph, ready.goals)
        trainer = _trainer(network, cut, ready, data, options)
        about = _about(options, network, data, test)
        if files.resume is not None:
            _resume(trainer, files.resume, about)

        def each(loss: float) -> None:
            _require_finite(loss, trainer)
            done = trainer.step / max(1, trainer.steps)
            progress(f"epoch {_epoch(trainer, options)}/{options.epochs}, loss {loss:.3g}", done)

        def epoch() -> None:
            if files.checkpoint is not None:
                checkpoint.save(files.checkpoint, trainer.state(), about)

        trainer.run(test, each=each, epoch=epoch)
    network.store(ready.graph)
    return _result(ready, dense, trainer)


def _trainer(
    network: Network, cut: list[Target], ready: Prepared, data: Data, options: FinetuneOptions
) -> Trainer:
    ramp = Ramp(steps_of(len(data), options), options.ramp)
    pruner = Pruner(network.weights, cut, ramp=ramp, fading=options.decay_mask)
    teacher = None if options.distil is None else Network(ready.graph).requires_grad_(False)
    layers = [node.outputs[0].name or "" for node in _layers(ready).values()]
    loss = Loss(network, teacher, layers, options.distil or Distil())
    return Trainer(network, data, loss=loss, pruner=pruner, options=options)


def _layers(ready: Prepared) -> dict[str, ir.Node]:
    return {
        n.name or "": n for n in calibration.layers_of(ready.graph) if (n.name or "") in ready.goals
    }


def _epoch(trainer: Trainer, options: FinetuneOptions) -> int:
    in_epoch = max(1, trainer.steps // options.epochs)
    return min(options.epochs, (trainer.step - 1) // in_epoch + 1)


def _about(options: FinetuneOptions, network: Network, data: Data, test: Data) -> dict[str, Any]:
    """What the run is made of; the weights are those after rearrangement."""
    return {
        **{key: value for key, value in asdict(options).items() if key not in ("prune", "distil")},
        **{f"prune.{key}": value for key, value in asdict(options.prune).items()},
        "distil": None if options.distil is None else asdict(options.distil),
        "model": _digest({n: w.detach().numpy() for n, w in network.weights.items()}),
        "data": _digest(_arrays(data)),
        "test": _digest(_arrays(test)),
        "torch": str(torch.__version__),
    }


def _arrays(data: Data) -> dict[str, Any]:
    return {"x": data.x} if data.y is None else {"x": data.x, "y": data.y}


def _digest(arrays: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _resume(trainer: Trainer, path: Path, about: Mapping[str, Any]) -> None:
    arrays = checkpoint.load(path, about)
    checkpoint.require_like(path, arrays, trainer.like(arrays))
    trainer.restore(arrays)


def _result(ready: Prepared, dense: Mapping[str, Any], trainer: Trainer) -> Finetuned:
    layers: list[PrunedLayer] = [
        prune.describe(node, ready.patterns[name], Layer(name, dense[name]), matrix_of(node))
        for name, node in _layers(ready).items()
    ]
    kept = sum(layer.rows * layer.cols * (1 - layer.sparsity) for layer in layers)
    total = sum(layer.rows * layer.cols for layer in layers)
    return Finetuned(
        proto=prune.as_onnx(ready.graph, ready.given),
        graph=ready.graph,
        layers=tuple(layers),
        sparsity=1 - kept / max(1, total),
        rearranged=ready.rearranged,
        history=trainer.history,
    )


# --- what can be wrong ---


def _check(options: FinetuneOptions, data: Data) -> None:
    """All that is wrong with the options, at once."""
    problems = options.problems()
    if data.y is None and options.distil is None:
        problems.append(
            "the training data has no labels (an integer array y): only a teacher is left to learn"
            " from (--distil)"
        )
    if problems:
        raise UsageError("it cannot be fine-tuned like that", problems)


def _check_labels(model: ir.Model, data: Mapping[str, Data]) -> None:
    shape = dims(model.graph.outputs[0])
    classes = int(np.prod(shape[1:]))
    problems = []
    for what, part in data.items():
        if part.y is not None and len(part.y) and not (0 <= part.y.min() <= part.y.max() < classes):
            problems.append(
                f"{what} labels run from {part.y.min()} to {part.y.max()},"
                f" the model has {classes} classes: 0 to {classes - 1}"
            )
    if problems:
        raise UsageError(
            f"the labels do not fit {source_of(model)}",
            problems,
            hint="--label-offset is added to every label",
        )


def _require_finite(loss: float, trainer: Trainer) -> None:
    if not np.isfinite(loss):
        raise UsageError(
            "training came apart",
            [f"step {trainer.step}: the loss is {loss}"],
            hint="a lower --rate",
        )
