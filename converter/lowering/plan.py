"""The arena plan: an offset for every arena tensor and every op's scratch.

Two tensors may share bytes if no op sees both alive, or if an element-wise MAP reads one for the
last time while it writes the other, element over element (in place). Placing intervals of known
size and lifetime is dynamic storage allocation, which is NP-hard; greedy placement in a good order
is within a few per cent of the bound on real networks (Pisarchyk and Lee, "Efficient Memory
Management for Deep Neural Net Inference", 2020), and stops where it meets the bound.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from filigree.converter import structs
from filigree.converter.errors import DoesNotFit
from filigree.converter.lowering import bands
from filigree.converter.lowering.program import MapParams, Op, Place, Plan, Program
from filigree.native import enums as c
from filigree.native._ffi import ffi, lib
from filigree.native.model import DTYPES

SEARCH_STEPS = 4_000_000  # pairs of neighbours looked at by the local search, all rounds together
MAX_ARENA = 2**31 - 1


@dataclass(frozen=True)
class Buffer:
    """Bytes needed together from op ``first`` to op ``last``: a tensor, or a chain of tensors
    that replace each other in place, or the scratch of one op."""

    size: int
    first: int
    last: int
    tensors: tuple[str, ...] = ()  # empty: scratch


Fit = Callable[[Sequence[tuple[int, int]], int], int]


def plan(program: Program) -> Program:
    """``program`` with its plan: at most a few per cent over the largest live set.

    Deterministic. Raises DoesNotFit if the arena would pass 2 GiB.
    """
    spans = lifetimes(program)
    scratch = [_scratch(program, op) for op in program.ops]
    buffers = [
        *_tensor_buffers(program, spans),
        *(Buffer(_aligned(s), i, i) for i, s in enumerate(scratch) if s),
    ]
    live = _live(((b.size, b.first, b.last) for b in buffers), len(program.ops))
    bound = max(live, default=0)
    offsets = place(buffers, bound)
    arena = max((at + b.size for b, at in zip(buffers, offsets, strict=True)), default=0)
    if arena > MAX_ARENA:
        raise _too_large(program, live)
    found = Plan(
        arena_bytes=arena,
        offsets={n: at for b, at in zip(buffers, offsets, strict=True) for n in b.tensors},
        lifetimes=spans,
        scratch=_scratch_places(scratch, buffers, offsets),
        lower_bound=bound,
        peak_op=live.index(bound) if live else 0,
    )
    return dataclasses.replace(program, plan=found)


def lifetimes(program: Program) -> dict[str, tuple[int, int]]:
    """First and last op, inclusive, that touch each arena tensor; a band counts as a whole."""
    spans: dict[str, tuple[int, int]] = {}
    for op, (first, last) in zip(program.ops, bands.spans(program), strict=True):
        for name in (*op.inputs, op.output):
            if program.tensors[name].place is Place.ARENA:
                spans[name] = (spans.get(name, (first, last))[0], last)
    return spans


def clashes(program: Program) -> list[tuple[str, str]]:
    """Pairs of arena tensors, or a tensor and an op's scratch, that share bytes while both are
    alive and may not: empty for a valid plan."""
    found = program.plan
    if found is None:
        raise ValueError("the program has no memory plan")
    spans = [
        (first, last, found.offsets[n], program.tensors[n].nbytes, n)
        for n, (first, last) in found.lifetimes.items()
    ]
    spans += [(i, i, at, size, f"scratch of op {i}") for i, (at, size) in enumerate(found.scratch)]
    pairs, alive = [], list(spans[:0])
    for b in sorted(spans):
        alive = [a for a in alive if a[1] >= b[0]]
        pairs += [
            (a[4], b[4])
            for a in alive
            if a[2] < b[2] + b[3] and b[2] < a[2] + a[3] and not _handed_over(program, a[4], b[4])
        ]
        alive.append(b)
    return pairs


def live_at_peak(program: Program) -> tuple[str, ...]:
    """Names of the arena tensors alive at the plan's peak op, largest first."""
    if program.plan is None:
        raise ValueError("the program has no memory plan")
    at = program.plan.peak_op
    alive = [n for n, (first, last) in program.plan.lifetimes.items() if first <= at <= last]
    return tuple(sorted(alive, key=lambda name: -program.tensors[name].nbytes))


def live_bytes(placed: Sequence[tuple[int, int, int, int]], ops: int) -> list[int]:
    """Bytes in use at each op of a valid plan, bytes handed over in place counted once.

    ``placed`` is (offset, size, first op, last op) of every tensor and scratch.
    """
    ends = Counter((offset, size, last) for offset, size, _, last in placed)
    spans = []
    for offset, size, first, last in placed:
        handed_over = ends[offset, size, first] > (first == last)
        spans.append((_aligned(size), first + handed_over, last))
    return _live((span for span in spans if span[1] <= span[2]), ops)


def place(buffers: Sequence[Buffer], bound: int) -> list[int]:
    """An offset for each buffer; stops at the first layout that needs no more than ``bound``."""
    search = _Search(buffers, bound)
    for key in _ORDERS:
        for fit in (_best_fit, _first_fit):
            search.attempt(sorted(range(len(buffers)), key=lambda i: key(buffers[i], i)), fit)
    search.improve()
    return search.offsets


def _scratch(program: Program, op: Op) -> int:
    weights = ffi.NULL
    if op.weights is not None:
        weights = structs.bare_weights(program.weights[op.weights])
    activations = DTYPES[program.tensors[op.output].dtype]
    return int(lib.fil_op_scratch(structs.bare_op(op), weights, activations))


def _scratch_places(
    scratch: Sequence[int], buffers: Sequence[Buffer], offsets: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    at = {b.first: o for b, o in zip(buffers, offsets, strict=True) if not b.tensors}
    return tuple((at.get(i, 0), size) for i, size in enumerate(scratch))


def _tensor_buffers(program: Program, spans: dict[str, tuple[int, int]]) -> list[Buffer]:
    """One buffer per chain of tensors that replace each other in place."""
    chain_of: dict[str, list[str]] = {}
    for name, (first, _) in spans.items():
        source = _replaced(program, spans, name, program.ops[first])
        chain = chain_of[source] if source is not None else []
        chain.append(name)
        chain_of[name] = chain
    heads = [name for name in spans if chain_of[name][0] == name]
    return [_chain_buffer(program, spans, chain_of[name]) for name in heads]


def _chain_buffer(
    program: Program, spans: dict[str, tuple[int, int]], chain: Sequence[str]
) -> Buffer:
    size = _aligned(program.tensors[chain[0]].nbytes)
    return Buffer(size, spans[chain[0]][0], spans[chain[-1]][1], tuple(chain))


def _replaced(program: Program, spans: dict[str, tuple[int, int]], name: str, op: Op) -> str | None:
    """The operand that dies in ``op``, first writer of ``name``, and whose bytes it may take."""
    for source in op.inputs:
        dies = source in spans and spans[source][1] == spans[name][0]
        if dies and source != name and _may_replace(program, source, name, op):
            return source
    return None


def _may_replace(program: Program, source: str, name: str, op: Op) -> bool:
    """The rule of ``handed_over`` in native/runtime/open.c, lifetimes apart."""
    a, b = program.tensors[source], program.tensors[name]
    return a.nbytes == b.nbytes and a.dtype == b.dtype and _in_place(op, source)


def _handed_over(program: Program, a: str, b: str) -> bool:
    """One of two tensors dies in the op that first writes the other, over the same bytes."""
    found = program.plan
    if found is None or a not in found.offsets or b not in found.offsets:
        return False
    if found.offsets[a] != found.offsets[b]:
        return False
    return any(
        found.lifetimes[x][1] == found.lifetimes[y][0]
        and _may_replace(program, x, y, program.ops[found.lifetimes[y][0]])
        for x, y in ((a, b), (b, a))
    )


def _in_place(op: Op, source: str) -> bool:
    """Every operand slot of ``source`` walks exactly as the result does."""
    if op.kind not in (c.FIL_OP_MAP, c.FIL_OP_QMAP) or not isinstance(op.params, MapParams):
        return False
    p = op.params
    slots = zip(op.inputs, (op.x_offset, op.y_offset), (p.sa, p.sb), strict=False)
    return all(
        offset == op.out_offset
        and all(s == o or n == 1 for s, o, n in zip(strides, p.so, p.dim, strict=True))
        for operand, offset, strides in slots
        if operand == source
    )


def _aligned(size: int) -> int:
    return -(-size // c.FIL_ALIGN) * c.FIL_ALIGN


def _live(buffers: Iterable[tuple[int, int, int]], ops: int) -> list[int]:
    """Bytes alive at each op."""
    change = [0] * (ops + 1)
    for size, first, last in buffers:
        change[first] += size
        change[last + 1] -= size
    live, total = [], 0
    for delta in change[:-1]:
        total += delta
        live.append(total)
    return live


_ORDERS: tuple[Callable[[Buffer, int], tuple[int, ...]], ...] = (
    lambda b, i: (-b.size, b.first, i),
    lambda b, i: (-b.size * (b.last - b.first + 1), i),
    lambda b, i: (b.first - b.last, -b.size, i),
    lambda b, i: (b.first, -b.size, i),
    lambda b, i: (-b.last, -b.size, i),
)


def _best_fit(taken: Sequence[tuple[int, int]], size: int) -> int:
    """Start of the smallest gap between sorted ``taken`` spans that holds ``size``, or the end."""
    best, best_gap, end = -1, -1, 0
    for start, stop in taken:
        gap = start - end
        if gap >= size and (best < 0 or gap < best_gap):
            best, best_gap = end, gap
        end = max(end, stop)
    return best if best >= 0 else end


def _first_fit(taken: Sequence[tuple[int, int]], size: int) -> int:
    """Start of the lowest gap between sorted ``taken`` spans that holds ``size``, or the end."""
    end = 0
    for start, stop in taken:
        if start - end >= size:
            return end
        end = max(end, stop)
    return end


class _Search:
    """The best layout so far and how to look for a better one."""

    def __init__(self, buffers: Sequence[Buffer], bound: int) -> None:
        self.buffers = buffers
        self.bound = bound
        self.neighbours = _neighbours(buffers)
        self.offsets = [0] * len(buffers)
        self.arena = 0 if not buffers else 1 << 62
        self.order = list(range(len(buffers)))
        self.fit: Fit = _best_fit

    def attempt(self, order: list[int], fit: Fit) -> bool:
        """Place in ``order``; keep the result if it is no worse. True: it was kept."""
        if self.arena <= self.bound:
            return False
        offsets, arena = self._layout(order, fit)
        if arena > self.arena:
            return False
        self.offsets, self.arena, self.order, self.fit = offsets, arena, order, fit
        return True

    def improve(self) -> None:
        """Local search: move a buffer that reaches the top, or any, to an earlier turn."""
        pairs = sum(len(n) for n in self.neighbours)
        draw = random.Random(0)
        for _ in range(SEARCH_STEPS // max(1, pairs)):
            if self.arena <= self.bound:
                return
            order = list(self.order)
            at = draw.choice(self._turns_at_the_top() if draw.random() < 0.5 else range(len(order)))
            order.insert(draw.randrange(at + 1), order.pop(at))
            self.attempt(order, self.fit)

    def _turns_at_the_top(self) -> list[int]:
        top = self.arena
        return [
            turn
            for turn, i in enumerate(self.order)
            if self.offsets[i] + self.buffers[i].size == top
        ]

    def _layout(self, order: Sequence[int], fit: Fit) -> tuple[list[int], int]:
        offsets = [-1] * len(self.buffers)
        arena = 0
        for i in order:
            taken = sorted(
                (offsets[k], offsets[k] + self.buffers[k].size)
                for k in self.neighbours[i]
                if offsets[k] >= 0
            )
            offsets[i] = fit(taken, self.buffers[i].size)
            arena = max(arena, offsets[i] + self.buffers[i].size)
            if arena > self.arena:
                break
        return offsets, arena


def _neighbours(buffers: Sequence[Buffer]) -> list[list[int]]:
    """For each buffer, the others that are alive at the same time."""
    found: list[list[int]] = [[] for _ in buffers]
    by_start = sorted(range(len(buffers)), key=lambda i: buffers[i].first)
    alive: list[int] = []
    for i in by_start:
        alive = [k for k in alive if buffers[k].last >= buffers[i].first]
        for k in alive:
            found[i].append(k)
            found[k].append(i)
        alive.append(i)
    return found


def _too_large(program: Program, live: Sequence[int]) -> DoesNotFit:
    peak = live.index(max(live))
    return DoesNotFit(
        f"model needs {max(live):,} bytes of activations, the format allows {MAX_ARENA:,}",
        [f'peak at "{program.ops[peak].node}"'],
        hint="a smaller input shape or batch",
    )
