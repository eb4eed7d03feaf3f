"""Calibration and test data from the command line: arrays, or a folder of images."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from filigree.cli.tasks.images import (
    F32,
    SUFFIXES,
    PixelFlags,
    Preprocess,
    load_image,
    preprocess,
)
from filigree.converter.errors import BadFile, UsageError
from filigree.native.model import Port

if TYPE_CHECKING:
    from filigree.converter.calibration import Data


@dataclass(frozen=True)
class Pixels:
    """How raw samples become what the model takes: (value - mean) / scale; images are cropped to
    the centred square of ``crop`` times the shorter side first (None: squashed)."""

    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    crop: float | None = None


def load(
    path: Path, *, shape: tuple[int, ...], pixels: Pixels, most: int | None, offset: int = 0
) -> Data:
    """Samples of ``shape`` from an .npz, a .npy or a folder of images, ready for the model.

    A folder's labels are in labels.csv beside the images (columns file and class or class_...);
    ``offset`` is added to every label. Raises BadFile or UsageError.
    """
    from filigree.converter import calibration

    if path.is_dir():
        found = _folder(path, shape, pixels, most)
    else:
        raw = calibration.load(path, shape=shape, most=most)
        found = calibration.prepared(raw, mean=pixels.mean or (), scale=pixels.scale or ())
    if found.y is None or not offset:
        return found
    return calibration.Data(found.x, found.y + offset)


def for_model(
    model: Path, path: Path, pixels: Pixels, *, most: int | None, offset: int = 0
) -> Data:
    """``load`` in the shape of the model's input. Raises also what reading the model does."""
    from filigree.converter import prune

    shape = prune.sample_shape(model)
    return load(path, shape=shape, pixels=pixels, most=most, offset=offset)


def _folder(path: Path, shape: tuple[int, ...], pixels: Pixels, most: int | None) -> Data:
    from filigree.converter.calibration import Data

    labels = _labels(path)
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
    if labels is not None:
        files = [p for p in files if p.name in labels]
    if not files:
        raise UsageError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))})")
    flags = PixelFlags(mean=pixels.mean, scale=pixels.scale, crop=pixels.crop)
    how = preprocess({}, Port("", (1, *shape)), flags=flags)
    chosen = files[:most]
    x = np.concatenate(_images(chosen, how))
    y = np.array([labels[p.name] for p in chosen], np.int64) if labels is not None else None
    return Data(x, y)


def _images(files: Sequence[Path], how: Preprocess) -> list[F32]:
    """Every file as an image; BadFile with all those that are none."""
    found, problems = [], []
    for file in files:
        try:
            found.append(load_image(file, how))
        except BadFile as error:
            problems.append(" ".join([error.headline, *error.lines]))
    if problems:
        raise BadFile(f"{len(problems)} of {len(files)} images cannot be read", problems)
    return found


def _labels(folder: Path) -> dict[str, int] | None:
    """File name to class number, from labels.csv."""
    path = folder / "labels.csv"
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns: Sequence[str] = list(rows[0]) if rows else []
        column = next(c for c in columns if c == "class" or c.startswith(("class_", "label")))
        return {row["file"]: int(row[column]) for row in rows}
    except (StopIteration, KeyError, TypeError, ValueError, csv.Error) as error:
        raise BadFile(
            f"{path} is not a table with the columns file and class", [str(error) or "no column"]
        ) from error
