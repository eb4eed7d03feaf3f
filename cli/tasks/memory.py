"""What a planned program needs at run time, op by op."""

from __future__ import annotations

from dataclasses import dataclass

from filigree.converter.lowering.program import Place, Program


@dataclass(frozen=True)
class Live:
    """A tensor (or scratch) that is live at an op."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Step:
    """Live bytes while one op runs, by what needs them, largest first."""

    op: int
    node: str
    live: tuple[Live, ...]

    @property
    def total(self) -> int:
        return sum(item.bytes for item in self.live)


def steps(program: Program) -> list[Step]:
    """Every op's live set. Raises ValueError if the program is not planned."""
    plan = program.plan
    if plan is None:
        raise ValueError("the program has no plan")
    result = []
    for i, op in enumerate(program.ops):
        live = [
            Live(name, program.tensors[name].nbytes)
            for name, (first, last) in plan.lifetimes.items()
            if first <= i <= last and program.tensors[name].place is Place.ARENA
        ]
        if plan.scratch[i][1]:
            live.append(Live("scratch", plan.scratch[i][1]))
        result.append(Step(i, op.node, tuple(sorted(live, key=lambda item: -item.bytes))))
    return result


def peak(program: Program) -> Step:
    """The op with the largest live set."""
    return max(steps(program), key=lambda step: step.total)
