"""Programs that run a target's build: each module has ``missing() -> str | None`` (why it cannot be
used and how to install it) and ``run(job) -> Result``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.packaging.targets import Target

F32 = NDArray[np.float32]
ELEMENTS = {1: np.float32, 3: np.int8, 4: np.uint8}
"""What ports are made of, by the number that the packed file has for it."""
AUTO = "auto"
BYTES = (np.uint8, np.int8)
REQUIRED_AT, NEEDS_F16 = 8, 1  # native/include/filigree/format.h: fil_header, fil_feature


def needs_f16(fil: bytes) -> bool:
    """The packed model has activations of float16."""
    return bool(int.from_bytes(fil[REQUIRED_AT : REQUIRED_AT + 4], "little") & NEEDS_F16)


def elements(inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The arrays as ports take them: int8 and uint8 as they are, everything else as float32."""
    arrays = [np.asarray(x) for x in inputs]
    kinds = [x.dtype if x.dtype in BYTES else np.dtype("f4") for x in arrays]
    return [np.ascontiguousarray(x, kind) for x, kind in zip(arrays, kinds, strict=True)]


@dataclass(frozen=True)
class Job:
    """``repeats`` runs of the packed model ``fil`` on ``inputs``, one contiguous array per port.
    ``isa`` is a name or "auto"; ``runner`` is what build.runner made for ``target``; ``threads`` is
    1 where ``target`` has none."""

    target: Target
    runner: Path
    fil: bytes
    inputs: list[NDArray[Any]]
    isa: str = AUTO
    repeats: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Result:
    """Outputs in port order, the instruction set that was used, the milliseconds of each run where
    the engine can time, and the operations in the order in which the last run did them, where it
    says so: one may come several times, some rows at a time. ``memory`` is a microcontroller's, in
    bytes: "code" and "model" of "flash_limit", "arena", "ports", "static" and "stack" (the most
    that was used) of "ram_limit"."""

    outputs: list[F32]
    isa: str
    ms: list[float]
    ops: tuple[int, ...] = ()
    memory: dict[str, int] = field(default_factory=dict)
