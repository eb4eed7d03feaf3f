"""The arena plan: nothing alive overlaps, the loader agrees, and it is close to the bound."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filigree.converter import packfile
from filigree.converter.lowering import plan as planner
from filigree.converter.lowering.check import IllegalProgram, check
from filigree.converter.lowering.plan import Buffer, plan
from filigree.converter.lowering.program import (
    F32,
    ConvParams,
    MapParams,
    Op,
    Place,
    Plan,
    Program,
    Weights,
)
from filigree.native import enums as c
from filigree.native.model import Model
from tests.converter import programs
from tests.converter.programs import element_wise, random_programs, vector

buffers = st.lists(
    st.builds(
        lambda size, first, length: Buffer(64 * size, first, first + length),
        st.integers(1, 9),
        st.integers(0, 6),
        st.integers(0, 4),
    ),
    max_size=7,
)


def planned(program: Program) -> tuple[Program, Plan]:
    result = plan(program)
    assert result.plan is not None
    return result, result.plan


def lower_bound(found: list[Buffer]) -> int:
    return max(
        (sum(b.size for b in found if b.first <= op <= b.last) for op in range(12)), default=0
    )


def best_of_all_orders(found: list[Buffer]) -> int:
    """The least arena of first-fit over every order: the optimum, for so few buffers."""
    best = 1 << 30
    for order in itertools.permutations(found):
        placed: list[tuple[int, Buffer]] = []
        for b in order:
            spans = sorted(
                (o, o + a.size) for o, a in placed if a.first <= b.last and b.first <= a.last
            )
            placed.append((planner._first_fit(spans, b.size), b))
        best = min(best, max((o + b.size for o, b in placed), default=0))
    return best


@settings(deadline=None, max_examples=60)
@given(buffers)
def test_placement_is_valid_and_optimal_for_a_few(found: list[Buffer]) -> None:
    offsets = planner.place(found, lower_bound(found))
    spans = list(zip(offsets, found, strict=True))
    for (at, a), (bt, b) in itertools.combinations(spans, 2):
        together = a.first <= b.last and b.first <= a.last
        assert not together or at + a.size <= bt or bt + b.size <= at
    arena = max((o + b.size for o, b in spans), default=0)
    assert arena == best_of_all_orders(found)


@settings(deadline=None)
@given(random_programs())
def test_the_loader_and_the_check_accept_every_plan(program: Program) -> None:
    check(program, "lowered")
    result, found = planned(program)
    check(result, "planned")
    packfile.validate(packfile.encode(result))
    assert found.arena_bytes >= found.lower_bound
    assert packfile.decode(packfile.encode(result)).plan == found


@settings(deadline=None)
@given(random_programs())
def test_planning_is_deterministic(program: Program) -> None:
    assert plan(program) == plan(program)


TRANSPOSED = {"dim": (1, 1, 2, 32), "sa": (0, 0, 1, 2), "so": (0, 0, 32, 1)}


def computed(program: Program, x: F32) -> F32:
    """What a program of ``random_programs`` computes, each tensor in memory of its own."""
    values = {"x": x}
    for op in program.ops:
        assert isinstance(op.params, MapParams)
        size = op.params.dim[3]
        values[op.output] = np.sum([values[name][:size] for name in op.inputs], axis=0)
    return values["y"]


@settings(deadline=None)
@given(random_programs())
def test_sharing_memory_does_not_change_the_result(program: Program) -> None:
    x = np.arange(program.tensors["x"].shape[0], dtype=np.float32) % 13 / 8
    model = Model.from_bytes(packfile.encode(plan(program)))
    assert np.array_equal(model.run(x[np.newaxis])[0], computed(program, x))


def chain(*, strides_differ: bool = False, read_again: bool = False) -> Program:
    """x -> a -> b -> y, where b could take the place of a."""
    tensors = [vector("x", 64, Place.INPUT), vector("a", 64), vector("b", 64)]
    tensors.append(vector("y", 64, Place.OUTPUT))
    middle = element_wise(["a"], "b", 64)
    if strides_differ:
        params = dataclasses.replace(middle.params, **TRANSPOSED)
        middle = dataclasses.replace(middle, params=params)
    last = element_wise(["b", "a"], "y", 64, fn=c.FIL_MAP_ADD) if read_again else None
    return programs.program(
        tensors, [element_wise(["x"], "a", 64), middle, last or element_wise(["b"], "y", 64)]
    )


def test_element_wise_happens_in_place() -> None:
    _, found = planned(chain())
    assert found.offsets["a"] == found.offsets["b"]
    assert found.arena_bytes == found.lower_bound == 256


@pytest.mark.parametrize("why_not", ["strides_differ", "read_again"])
def test_not_in_place(why_not: str) -> None:
    result, found = planned(chain(**{why_not: True}))
    assert found.offsets["a"] != found.offsets["b"]
    assert found.arena_bytes == 512
    packfile.validate(packfile.encode(result))


def test_scratch_counts_and_is_apart() -> None:
    side = ConvParams(3, 8, 8, 8, 8, cs=64, ys=8, xs=1, kh=3, kw=3, pad_top=1, pad_left=1)
    conv = Op(c.FIL_OP_CONV, "conv", ("x",), "a", side, weights="w")
    w = Weights("conv", programs.sparse(4, 27, zeros=0), programs.sparse(1, 4, zeros=0)[0])
    x = dataclasses.replace(vector("x", 192, Place.INPUT), shape=(3, 8, 8), split=1, pitch=64)
    tensors = [x, programs.planes("a", 4, 8, 8), vector("y", 64, Place.OUTPUT)]
    program = programs.program(tensors, [conv, element_wise(["a"], "y", 64)], w=w)
    result, found = planned(programs.packed(program))
    (at, size), (_, none) = found.scratch
    assert size > 0 and none == 0
    assert at >= 4 * 64 * 4 or at + size <= found.offsets["a"]
    assert found.peak_op == 0
    assert found.lower_bound == 4 * 64 * 4 + -(-size // 64) * 64
    assert planner.live_at_peak(result) == ("a",)
    packfile.validate(packfile.encode(result))


def test_check_lists_every_violation() -> None:
    program = chain()
    ops = [dataclasses.replace(op, inputs=("gone",)) for op in program.ops]
    with pytest.raises(IllegalProgram) as caught:
        check(dataclasses.replace(program, ops=tuple(ops)), "lowered")
    assert len(caught.value.violations) == 3
    assert 'op 0 ("a"): no tensor "gone"' in str(caught.value)


def test_check_sees_overlap() -> None:
    program, found = planned(chain(read_again=True))
    wrong = dataclasses.replace(found, offsets={"a": 0, "b": 64})
    with pytest.raises(IllegalProgram, match='"a" and "b" share bytes'):
        check(dataclasses.replace(program, plan=wrong), "planned")


def test_check_sees_use_before_definition_and_unwritten() -> None:
    program = chain()
    with pytest.raises(IllegalProgram) as caught:
        check(dataclasses.replace(program, ops=program.ops[1:2]), "lowered")
    text = str(caught.value)
    assert 'reads "a" before it is written' in text
    assert 'tensor "y" is never written' in text


def test_check_wants_packings_and_a_plan() -> None:
    program = programs.two_layers()
    check(program, "lowered")
    with pytest.raises(IllegalProgram, match='"w1" are not packed'):
        check(program, "packed")
    with pytest.raises(IllegalProgram, match="no memory plan"):
        check(programs.packed(program), "planned")
