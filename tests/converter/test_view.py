"""View against numpy: what a view says about an array of indices is what numpy does to it."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from filigree.converter.lowering.view import View, by_memory, loops, padded, row_major

I64 = NDArray[np.int64]
SIZE = 4096  # elements
ELEMENTS = np.arange(SIZE)


def seen(view: View) -> I64:
    """Which element of the tensor each index of the view is."""
    strides = [s * ELEMENTS.itemsize for s in view.strides]
    last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
    assert view.offset >= 0 and last < SIZE
    return as_strided(ELEMENTS[view.offset :], view.shape, strides)


def walked(view: View) -> list[int]:
    """The elements in the order of the view's loops."""
    at = [view.offset]
    for count, (step,) in loops(view.shape, view.strides):
        at = [start + i * step for start in at for i in range(count)]
    return at


@st.composite
def views(draw: st.DrawFn) -> View:
    """Contiguous elements with a pitch, then transposed, sliced and broadcast somehow."""
    shape = draw(st.lists(st.integers(1, 4), max_size=5))
    pitch = math.prod(shape[1:]) + draw(st.integers(0, 3))
    strides = (pitch, *row_major(shape[1:])) if shape else ()
    view = View("t", draw(st.integers(0, 5)), tuple(shape), strides)
    if shape and draw(st.booleans()):
        view = view.transpose(draw(st.permutations(range(len(shape)))))
    if shape and draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        start, step = draw(st.integers(0, view.shape[axis] - 1)), draw(st.integers(1, 2))
        count = draw(st.integers(1, len(range(start, view.shape[axis], step))))
        view = view.slice(axis, start, count=count, step=step)
    if draw(st.booleans()):
        lead = draw(st.lists(st.integers(1, 2), max_size=1))
        grown = [draw(st.sampled_from((1, 3))) if n == 1 else n for n in view.shape]
        view = view.broadcast((*lead, *grown))
    return view


@st.composite
def factors(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """A shape of ``size`` elements, ones included."""
    found = []
    while size > 1 or draw(st.booleans()):
        found.append(draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])))
        size //= found[-1]
        if len(found) > 4:
            break
    return tuple(draw(st.permutations([*found, size])))


@given(views(), st.data())
def test_transpose(view: View, data: st.DataObject) -> None:
    perm = data.draw(st.permutations(range(len(view.shape))))
    assert np.array_equal(seen(view.transpose(perm)), seen(view).transpose(perm))


@given(views(), st.data())
def test_slice_and_at(view: View, data: st.DataObject) -> None:
    if not view.shape:
        return
    axis = data.draw(st.integers(0, len(view.shape) - 1))
    start = data.draw(st.integers(0, view.shape[axis] - 1))
    step = data.draw(st.integers(1, 3))
    count = len(range(start, view.shape[axis], step))
    cut = seen(view.slice(axis, start, count=count, step=step))
    index = (slice(None),) * axis
    assert np.array_equal(cut, seen(view)[(*index, slice(start, None, step))])
    assert np.array_equal(seen(view.at(axis, start)), seen(view)[(*index, start)])


@given(views(), st.data())
def test_broadcast(view: View, data: st.DataObject) -> None:
    lead = data.draw(st.lists(st.integers(1, 3), max_size=2))
    shape = (*lead, *(data.draw(st.sampled_from((1, 2))) if n == 1 else n for n in view.shape))
    assert np.array_equal(seen(view.broadcast(shape)), np.broadcast_to(seen(view), shape))


@given(views(), st.data())
def test_reshape_is_numpys_or_none(view: View, data: st.DataObject) -> None:
    shape = data.draw(factors(view.size))
    found = view.reshape(shape)
    if found is not None:
        assert found.shape == shape
        assert np.array_equal(seen(found), seen(view).reshape(shape))


@given(views(), st.data())
def test_reshape_is_none_only_if_no_strides_do(view: View, data: st.DataObject) -> None:
    shape = data.draw(factors(view.size))
    if view.reshape(shape) is None:
        wanted = seen(view).reshape(shape)
        edges = (
            wanted[(0,) * a + (slice(2),) + (0,) * (wanted.ndim - a - 1)] for a in _axes(wanted)
        )
        steps = [int(e[1] - e[0]) if len(e) > 1 else 0 for e in edges]
        tried = View("t", int(wanted.flat[0]), shape, tuple(steps))
        assert min(steps) < 0 or not _same(tried, wanted)


def _axes(array: I64) -> range:
    return range(array.ndim)


def _same(view: View, wanted: I64) -> bool:
    last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
    return last < SIZE and np.array_equal(seen(view), wanted)


@given(st.lists(st.integers(1, 4), max_size=5), st.data())
def test_contiguous_elements_take_any_shape(shape: list[int], data: st.DataObject) -> None:
    view = View("t", 3, tuple(shape), row_major(shape))
    assert view.is_row_major()
    found = view.reshape(data.draw(factors(view.size)))
    assert found is not None and found.is_row_major()


@given(views())
def test_is_row_major(view: View) -> None:
    flat = seen(view).reshape(-1)
    assert view.is_row_major() == np.array_equal(flat, flat[0] + np.arange(flat.size))


@given(views(), st.data())
def test_unsqueeze(view: View, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(view.shape)))
    assert np.array_equal(seen(view.unsqueeze(axis)), np.expand_dims(seen(view), axis))


@given(views())
def test_loops_walk_in_row_major_order_and_are_the_fewest(view: View) -> None:
    assert walked(view) == seen(view).reshape(-1).tolist()
    found = loops(view.shape, view.strides)
    assert all(count > 1 for count, _ in found)
    for (_, (outer,)), (count, (inner,)) in itertools.pairwise(found):
        assert outer != count * inner


@given(views(), views())
def test_loops_of_two_operands(a: View, b: View) -> None:
    shape = a.shape
    if len(b.shape) > len(shape):
        return
    try:
        np.broadcast_to(seen(b), shape)
    except ValueError:
        return
    b = b.broadcast(shape)
    at = [(a.offset, b.offset)]
    for count, (da, db) in loops(shape, a.strides, b.strides):
        at = [(p + i * da, q + i * db) for p, q in at for i in range(count)]
    assert at == list(zip(seen(a).reshape(-1).tolist(), seen(b).reshape(-1).tolist(), strict=True))


@given(views())
def test_by_memory_is_a_stable_order_of_the_strides(view: View) -> None:
    axes = by_memory(view)
    assert sorted(axes) == list(range(len(view.shape)))
    keys = [(-view.strides[a], a) for a in axes]
    assert keys == sorted(keys)


def test_padded_puts_single_steps_outside() -> None:
    assert padded([(5, (2, 3))], 3, operands=2) == [(1, (0, 0)), (1, (0, 0)), (5, (2, 3))]
    assert padded([], 1, operands=1) == [(1, (0,))]


def test_a_view_of_rank_0() -> None:
    view = View("t", 7, (), ())
    assert seen(view) == 7 and view.size == 1 and view.is_row_major()
    assert view.reshape((1, 1)) == View("t", 7, (1, 1), (1, 1))
    assert view.unsqueeze(0).shape == (1,)
    assert loops((), ()) == []
