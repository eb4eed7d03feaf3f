"""A stopped run as one .npz: named arrays of numbers and one JSON text, never pickled objects.

``about`` says what the run was made of (options, model, data); a checkpoint of another run is
refused, with what differs.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter import packfile
from filigree.converter.errors import BadFile, UsageError

Arrays = Mapping[str, NDArray[Any]]
ABOUT = "about"
FORMAT = 1


def save(path: Path, arrays: Arrays, about: Mapping[str, Any]) -> None:
    """Written whole or not at all. Raises OSError."""
    text = json.dumps({"format": FORMAT, **about}, sort_keys=True).encode()
    buffer = io.BytesIO()
    np.savez(buffer, **{ABOUT: np.frombuffer(text, np.uint8)}, **arrays)  # type: ignore[arg-type]
    packfile.write(path, buffer.getvalue())


def load(path: Path, about: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of a run that was made of the same.

    Raises BadFile for a file that is no checkpoint, UsageError for another run's.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        found = json.loads(bytes(arrays.pop(ABOUT)))
        if found.pop("format") != FORMAT:
            raise ValueError("of another version")
    except FileNotFoundError:
        raise
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        raise BadFile(
            f"{path.name} is not a checkpoint of filigree finetune, or a damaged one"
        ) from error
    wanted = json.loads(json.dumps(about))
    differs = [
        f"{key}: {_short(found.get(key))} then, {_short(wanted.get(key))} now"
        for key in sorted({*found, *wanted})
        if found.get(key) != wanted.get(key)
    ]
    if differs:
        raise UsageError(f"{path.name} is a checkpoint of another run", differs)
    return arrays


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else f"{text[:21]}..."


def require_like(path: Path, arrays: Arrays, wanted: Arrays) -> None:
    """Raises BadFile, with all of it, where ``arrays`` are not of the names, types and shapes of
    ``wanted``."""
    problems = [f'no "{name}"' for name in wanted if name not in arrays]
    problems += [f'"{name}" is of no use' for name in arrays if name not in wanted]
    problems += [
        f'"{name}" is {_kind(arrays[name])}, not {_kind(array)}'
        for name, array in wanted.items()
        if name in arrays and _kind(arrays[name]) != _kind(array)
    ]
    if problems:
        raise BadFile(f"{path.name} is damaged", problems)


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype}{list(array.shape)}"
