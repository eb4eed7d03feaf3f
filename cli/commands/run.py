"""``filigree run``: one or more inputs through a packed model."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filigree.cli.console import console, shape
from filigree.cli.options import (
    dims,
    force_option,
    json_option,
    mean_option,
    register,
    scale_option,
    threads_option,
)
from filigree.packaging.targets import MCUS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from filigree.cli.tasks.images import PixelFlags
    from filigree.native.model import Model, Port

    F32 = NDArray[np.float32]
    Run = Callable[..., Any]

TARGETS = ("host", "arm64", "armv7", "riscv64", "wasm", *(row.name for row in MCUS))


@dataclass(frozen=True)
class Result:
    """One run: the files that went in and the outputs by name."""

    files: tuple[Path, ...]
    outputs: dict[str, F32]
    image: bool


@register("run", "Run a packed model on arrays or images.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(1), help="Print this many classes.  [default: 5]")
@click.option("--save", type=click.Path(path_type=Path), help="Write the outputs: .npy or .npz.")
@click.option(
    "--on",
    "target",
    type=click.Choice(TARGETS),
    default="host",
    show_default=True,
    metavar="TARGET",
    help="host, or emulated: arm64, armv7, riscv64, wasm, cortex-m0plus, -m3, -m4, -m7, -m33, "
    "-m55.",
)
@click.option("--isa", help="Force an instruction set (filigree doctor lists them).")
@threads_option
@mean_option
@scale_option
@click.option("--size", type=dims, metavar="HxW", help="Height x width of the model's input.")
@click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="The input's layout.")
@click.option(
    "--crop",
    type=click.FloatRange(0, 1, min_open=True),
    help="Keep the centred square with this fraction of the shorter side.",
)
@force_option
@json_option
def command(
    model: Path,
    inputs: tuple[Path, ...],
    top: int | None,
    save: Path | None,
    target: str,
    isa: str | None,
    threads: int,
    force: bool,
    as_json: bool,
    **pixels: Any,
) -> None:
    """Run MODEL (.fil) on each INPUT (.npy, .png, .jpg, .bmp) and print the result.

    A model with several inputs takes that many files at once, in the model's order. Where it takes
    integers, arrays of such go in as they are and floats are rounded to them; integers that come
    out are printed as the floats that they stand for and saved as they are.
    """
    from filigree.cli.failures import check_paths
    from filigree.cli.tasks.images import PixelFlags
    from filigree.cli.tasks.packed import open_packed

    check_paths(reads=[model, *inputs], writes=[save], force=force)
    here = target == "host"
    opened = open_packed(model, isa=isa if here else None, threads=threads if here else 1)
    run = opened.run if here else _emulated(model.read_bytes(), target, isa, threads)
    flags = PixelFlags(**pixels)
    results = [_run_once(opened, run, turn, flags) for turn in _turns(inputs, len(opened.inputs))]
    if save:
        _save(save, results)
    reports = [_report(opened, result, top) for result in results]
    if as_json:
        used = opened.isa if here else isa
        about = {"model": model.name, "target": target, "isa": used, "threads": threads}
        console.json({**about, "runs": reports})
        return
    for report in reports:
        _print(report)
    if save:
        console.line(f"wrote {save}")


def _turns(files: tuple[Path, ...], inputs: int) -> Iterator[tuple[Path, ...]]:
    from filigree.converter.errors import UsageError

    if len(files) % inputs:
        raise UsageError(f"the model has {inputs} inputs, {len(files)} files were given")
    for i in range(0, len(files), inputs):
        yield files[i : i + inputs]


def _emulated(fil: bytes, target: str, isa: str | None, threads: int) -> Run:
    from filigree.packaging import emulate

    return lambda *arrays: emulate.run(target, fil, arrays, isa=isa, threads=threads)


def _run_once(model: Model, run: Run, files: tuple[Path, ...], flags: PixelFlags) -> Result:
    from filigree.cli.tasks.images import SUFFIXES
    from filigree.cli.tasks.packed import many
    from filigree.converter.errors import UsageError

    ports = zip(files, model.inputs, strict=True)
    arrays = [_read(path, model, port, flags) for path, port in ports]
    try:
        outputs = many(run(*arrays))
    except ValueError as error:
        names = ", ".join(path.name for path in files)
        raise UsageError(f"{names} does not fit the model", [str(error)]) from error
    named = {port.name: out for port, out in zip(model.outputs, outputs, strict=True)}
    return Result(files, named, any(path.suffix.lower() in SUFFIXES for path in files))


def _read(path: Path, model: Model, port: Port, flags: PixelFlags) -> NDArray[Any]:
    from filigree.cli.tasks.images import SUFFIXES, load_image, preprocess
    from filigree.cli.tasks.packed import as_integers, is_bytes
    from filigree.converter.errors import UsageError

    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = _read_npy(path)
        rounds = port.dtype != "float32" and array.dtype.kind == "f" and not is_bytes(port)
        return as_integers(array, port) if rounds else array
    if suffix in SUFFIXES:
        return load_image(path, preprocess(model.meta, port, flags=flags))
    raise UsageError(f"{path.name} is neither .npy nor an image ({', '.join(sorted(SUFFIXES))})")


def _read_npy(path: Path) -> NDArray[Any]:
    import numpy as np

    from filigree.converter.errors import BadFile

    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadFile(f"{path.name} is not a .npy file that can be read", [str(error)]) from error
    if array.dtype.kind not in "fiub":
        raise BadFile(f"{path.name} holds {array.dtype}, not numbers")
    return np.ascontiguousarray(array)


def _save(path: Path, results: list[Result]) -> None:
    """One output of one run as .npy; everything else as .npz with names ``output`` or
    ``output.0``, ``output.1`` for several runs."""
    import numpy as np

    from filigree.converter import packfile
    from filigree.converter.errors import UsageError

    arrays = {
        name if len(results) == 1 else f"{name}.{i}": value
        for i, result in enumerate(results)
        for name, value in result.outputs.items()
    }
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(buffer, **arrays)  # type: ignore[arg-type]  # savez's stub forbids **dict of arrays
    elif len(arrays) == 1:
        np.save(buffer, next(iter(arrays.values())), allow_pickle=False)
    else:
        raise UsageError(f"{len(arrays)} outputs do not fit one .npy file", hint="--save out.npz")
    packfile.write(path, buffer.getvalue())


def _report(model: Model, result: Result, top: int | None) -> dict[str, Any]:
    from filigree.cli.tasks.labels import best, is_classification
    from filigree.cli.tasks.packed import as_floats

    ports = {port.name: port for port in model.outputs}
    labels = list(model.meta.get("labels") or [])
    single = len(result.outputs) == 1
    outputs = []
    for name, numbers in result.outputs.items():
        value = as_floats(numbers, ports[name])
        entry: dict[str, Any] = {
            "name": name,
            "shape": list(value.shape),
            "min": float(value.min()),
            "max": float(value.max()),
            "mean": float(value.mean()),
        }
        classes = single and is_classification(value, labels=labels, image=result.image)
        if classes or (top and single and value.size > 1):
            entry["top"] = best(value.ravel(), labels=labels, count=top or 5)
        outputs.append(entry)
    return {"inputs": [str(path) for path in result.files], "outputs": outputs}


def _print(report: dict[str, Any]) -> None:
    console.line(", ".join(report["inputs"]))
    for entry in report["outputs"]:
        if "top" not in entry:
            console.line(
                f"  {entry['name']}  {shape(entry['shape'])}  min {entry['min']:.6g}  "
                f"max {entry['max']:.6g}  mean {entry['mean']:.6g}"
            )
            continue
        for row in entry["top"]:
            label = row["label"] if row["label"] is not None else f"class {row['class']}"
            console.line(f"  {row['score']:9.4f}  {label}")
