"""``filigree finetune``: train a model on while it is cut to a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filigree.cli.console import console, percent, plural
from filigree.cli.options import (
    force_option,
    json_option,
    label_offset_option,
    layer_option,
    mean_option,
    no_rearrange_option,
    register,
    scale_option,
    seed_option,
    sparsity_option,
)

if TYPE_CHECKING:
    from filigree.cli.tasks.finetuning import Outcome
    from filigree.converter.calibration import Data
    from filigree.converter.finetune import FinetuneOptions

BUDGETS = ("uniform", "erk", "global", "sensitivity")
OPTIMISERS = ("adamw", "sgd")
LISTED = 10  # epochs shown


@dataclass(frozen=True)
class Samples:
    """Where data comes from and how it becomes what the model takes."""

    data: Path
    test: Path | None
    samples: int | None
    label_offset: int
    mean: tuple[float, ...] | None
    scale: tuple[float, ...] | None


@dataclass(frozen=True)
class Way:
    """How to train and what to cut."""

    sparsity: float
    pattern: str
    budget: str
    layers: tuple[str, ...]
    no_rearrange: bool
    decay_mask: bool
    distil: bool
    epochs: int
    batch: int
    rate: float
    optimiser: str
    decay: float
    seed: int
    threads: int


@register("finetune", "Train a model on while its weights are cut.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="The new model (.onnx)."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DATA",
    required=True,
    help="Training data: .npz or a folder of images (labels in labels.csv).",
)
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Data to judge by; without it, every tenth sample of --data.",
)
@click.option("--samples", type=click.IntRange(1), help="Train on the first so many samples.")
@label_offset_option
@mean_option
@scale_option
@sparsity_option
@click.option(
    "--pattern",
    default="4x1",
    show_default=True,
    metavar="OX1|N:M|OX1+N:M",
    help="Blocks of O outputs x 1 input; N of every M inputs. 1x1 is unstructured.",
)
@click.option("--budget", type=click.Choice(BUDGETS), default="uniform", show_default=True)
@layer_option
@no_rearrange_option
@click.option("--decay-mask", is_flag=True, help="Let weights fade out instead of cutting them.")
@click.option(
    "--distil", is_flag=True, help="Learn from the dense model, too: its scores and its layers."
)
@click.option("--epochs", type=int, default=20, show_default=True)
@click.option("--batch", type=int, default=32, show_default=True, help="Samples in a step.")
@click.option("--rate", type=float, default=5e-3, show_default=True, help="Highest learning rate.")
@click.option("--optimiser", type=click.Choice(OPTIMISERS), default="adamw", show_default=True)
@click.option("--decay", type=float, default=0.01, show_default=True, help="Weight decay.")
@seed_option
@click.option(
    "--threads",
    type=int,
    default=1,
    show_default=True,
    help="Of PyTorch; another number gives other last bits.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="CKPT.npz",
    help="Kept up to date after every epoch.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="CKPT.npz",
    help="Go on from a checkpoint; the rest of the command line as it was.",
)
@force_option
@json_option
def command(
    model: Path,
    out: Path,
    checkpoint: Path | None,
    resume: Path | None,
    force: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Prune MODEL (.onnx or .tflite) step by step while it is trained on, and write it as ONNX.

    Needs PyTorch: pip install "filigree[train]". The same command gives the same bytes, also when
    it was stopped and resumed.
    """
    from filigree.cli.failures import check_paths, nothing_written
    from filigree.converter import packfile
    from filigree.converter.finetune import Files

    given, way = _split(flags)
    with nothing_written():
        files = [path for path in (given.data, given.test) if path is None or not path.is_dir()]
        kept = None if checkpoint == resume else checkpoint
        check_paths(reads=[model, resume, *files], writes=[out, kept], force=force)
        outcome = _finetune(model, given, way, Files(checkpoint, resume))
    packfile.write(out, outcome.tuned.proto.SerializeToString(deterministic=True))
    if as_json:
        console.json({"model": str(model), "written": str(out), **outcome.as_json()})
        return
    _show(out, outcome)
    console.line(f"next: filigree convert {out} -o {out.with_suffix('.fil')}")


def _split(flags: dict[str, Any]) -> tuple[Samples, Way]:
    fields = Samples.__dataclass_fields__
    return (
        Samples(**{k: v for k, v in flags.items() if k in fields}),
        Way(**{k: v for k, v in flags.items() if k not in fields}),
    )


def _finetune(model: Path, given: Samples, way: Way, files: Any) -> Outcome:
    from filigree.cli.tasks import finetuning
    from filigree.converter.finetune import require_torch

    options = _options(way)
    require_torch()
    with console.progress() as progress:
        data = _data(model, given, given.data, most=given.samples)
        test = None if given.test is None else _data(model, given, given.test, most=None)
        return finetuning.run(model, options, data=data, test=test, files=files, progress=progress)


def _options(way: Way) -> FinetuneOptions:
    from filigree.cli.tasks.pruning import override
    from filigree.converter.errors import UsageError
    from filigree.converter.finetune import Distil, FinetuneOptions
    from filigree.converter.prune import Pattern, PruneOptions

    problems, overrides, pattern = [], {}, Pattern()
    for text in way.layers:
        try:
            name, found = override(text)
            overrides[name] = found
        except ValueError as error:
            problems.append(str(error))
    try:
        pattern = Pattern.parse(way.pattern)
    except ValueError as error:
        problems.append(str(error))
    options = FinetuneOptions(
        prune=PruneOptions(
            sparsity=way.sparsity,
            pattern=pattern,
            budget=way.budget,
            rearrange=not way.no_rearrange,
            overrides=overrides,
            seed=way.seed,
        ),
        distil=Distil() if way.distil else None,
        epochs=way.epochs,
        batch=way.batch,
        rate=way.rate,
        optimiser=way.optimiser,
        decay=way.decay,
        decay_mask=way.decay_mask,
        seed=way.seed,
        threads=way.threads,
    )
    problems += options.problems()
    if problems:
        raise UsageError("the options cannot be used", problems)
    return options


def _data(model: Path, given: Samples, path: Path, *, most: int | None) -> Data:
    from filigree.cli.tasks import data

    pixels = data.Pixels(given.mean, given.scale)
    return data.for_model(model, path, pixels, most=most, offset=given.label_offset)


def _show(out: Path, outcome: Outcome) -> None:
    tuned = outcome.tuned
    cut = f"{percent(tuned.sparsity)} of the weights of {plural(len(tuned.layers), 'layer')} cut"
    console.line(f"wrote {out}: {cut}")
    if tuned.rearranged is not None:
        console.line(f"{plural(len(tuned.rearranged.orders), 'group')} of channels reordered")
    console.line(_judgement(outcome))
    console.line()
    every = max(1, -(-len(tuned.history) // LISTED))
    shown = [e for e in tuned.history if e.epoch % every == 0 or e is tuned.history[-1]]
    console.table(
        ("epoch", "loss", "zeros", "accuracy"),
        [
            (
                f"{e.epoch}/{len(tuned.history)}",
                f"{e.loss:.4f}",
                percent(e.sparsity),
                "-" if e.accuracy is None else f"{e.accuracy:.1f} %",
            )
            for e in shown
        ],
    )
    console.line()
    console.table(
        ("layer", "weights", "pattern", "zeros", "blocks kept"),
        [
            (
                layer.name,
                f"{layer.rows}x{layer.cols}",
                layer.pattern,
                percent(layer.sparsity),
                f"{layer.blocks}/{layer.of}",
            )
            for layer in tuned.layers
        ],
    )
    console.line()


def _judgement(outcome: Outcome) -> str:
    before, after = outcome.before, outcome.after
    on = f"on {plural(after.samples, 'sample')} that training did not see"
    if before.accuracy is not None and after.accuracy is not None:
        return f"accuracy {before.accuracy:.1f} % -> {after.accuracy:.1f} % {on}"
    return f"output error {after.error:.2g}, top-1 as before in {after.agreement:.1f} % {on}"
