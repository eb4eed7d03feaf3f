"""What a packed model takes of a target's memory, and what would take less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from filigree.cli.console import percent, size
from filigree.cli.tasks.memory import peak
from filigree.cli.tasks.packed import has_int8
from filigree.converter.errors import DoesNotFit
from filigree.converter.lowering import bands
from filigree.converter.lowering.plan import plan
from filigree.converter.pipeline import CORES
from filigree.packaging.firmware import STACK_BYTES

if TYPE_CHECKING:
    from filigree.converter import Converted
    from filigree.converter.lowering.program import Program

MOST_ZEROS = 0.95  # more is not worth proposing
INT8 = 4  # how many times fewer bytes than float32


@dataclass(frozen=True)
class Budget:
    """Bytes that the target has; None: whatever is needed."""

    ram: int | None
    flash: int | None

    def holds(self, ram: float, flash: float) -> bool:
        return not (self._over(ram, self.ram) or self._over(flash, self.flash))

    @staticmethod
    def _over(needed: float, limit: int | None) -> bool:
        return limit is not None and needed > limit


def check_budget(converted: Converted, budget: Budget) -> None:
    """DoesNotFit, with every reason at once and what would help, if the model needs more: RAM is
    the arena, on a microcontroller the ports and a stack too; flash is the file."""
    program, stored = converted.program, len(converted.data)
    arena, beside = _arena(program), _beside(program, converted.report.target)
    if budget.holds(arena + beside, stored):
        return
    problems, over = [], []
    if budget.ram is not None and arena + beside > budget.ram:
        step = peak(program)
        most = " + ".join(f"{size(item.bytes)} {item.name}" for item in step.live[:3])
        over.append(f"{size(arena + beside)} RAM, the target has {size(budget.ram)}")
        problems.append(f'peak at "{step.node}": {most}')
        if beside:
            problems.append(f"beside the arena: {size(beside)} for ports and stack")
    if budget.flash is not None and stored > budget.flash:
        largest = max(program.weights.values(), key=lambda w: w.packing.nbytes if w.packing else 0)
        held = largest.packing.nbytes if largest.packing else largest.matrix.nbytes
        over.append(f"{size(stored)} flash, the target has {size(budget.flash)}")
        problems.append(f'largest weights: "{largest.layer}", {size(held)}')
    ways = list(_ways(program, stored, beside, budget))
    hint = f"what would fit: {'; '.join(ways)}" if ways else "filigree inspect MODEL --memory"
    raise DoesNotFit(f"model needs {' and '.join(over)}", problems, hint=hint)


def _arena(program: Program) -> int:
    return program.plan.arena_bytes if program.plan else 0


def _beside(program: Program, target: str) -> int:
    if target not in CORES:
        return 0
    ports = (*program.inputs, *program.outputs)
    return sum(program.tensors[port.tensor].nbytes for port in ports) + STACK_BYTES


def _ways(program: Program, stored: int, beside: int, budget: Budget) -> Iterator[str]:
    """What would fit, by estimates: first what costs nothing."""
    arena, least = _arena(program), _least_arena(program)
    if least < arena and budget.holds(least + beside, stored):
        yield f"--bands small ({size(least + beside)} RAM)"
    half = stored - _values(program, np.dtype(np.float32)) // 2
    if half < stored and budget.holds(least + beside, half):
        yield f"--dtype float16 --bands small (about {size(half)} flash)"
    if not has_int8(program) and budget.holds(least / INT8 + beside, stored / INT8):
        ram, flash = size(least // INT8 + beside), size(stored // INT8)
        yield f"the model in int8 (about {ram} RAM, {flash} flash)"
    zeros = _zeros_for(program, stored, budget)
    if zeros is not None and budget.holds(least + beside, 0):
        yield f"about {percent(zeros)} zeros (filigree prune --sparsity {zeros:.2f})"


def _least_arena(program: Program) -> int:
    whole = bands.unbanded(program)
    return min(_arena(plan(banded)) for banded in (whole, *bands.smaller(whole)))


def _values(program: Program, dtype: np.dtype[np.generic] | None = None) -> int:
    """Bytes of stored weights, of one element type or of all."""
    packings = [w.packing for w in program.weights.values() if w.packing]
    return sum(p.values.nbytes for p in packings if dtype is None or p.values.dtype == dtype)


def _zeros_for(program: Program, stored: int, budget: Budget) -> float | None:
    """The share of zeros with which the file would fit; None: it does, or none would do."""
    if budget.flash is None or stored <= budget.flash:
        return None
    weights = sum(w.matrix.size for w in program.weights.values())
    kept = sum(np.count_nonzero(w.matrix) for w in program.weights.values()) / max(1, weights)
    values = _values(program)
    share = (budget.flash - (stored - values)) / max(1, values)
    zeros = 1 - kept * share
    return zeros if 0 < share < 1 and zeros <= MOST_ZEROS else None
