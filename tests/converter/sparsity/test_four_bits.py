"""int4 weights: what is stored, what it stands for, which layers take it, and why others do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filigree.converter import ConvertOptions, convert
from filigree.converter.errors import UsageError
from filigree.converter.lowering.check import check
from filigree.converter.lowering.program import F32, Packing
from filigree.converter.sparsity import four_bits, pack, pattern
from filigree.converter.sparsity.rounding import for_int4
from filigree.native import enums as c
from filigree.native.model import Model
from tests.converter import programs
from tests.converter.sparsity.test_pattern import matrices

DATA = Path(__file__).parents[3] / "converter" / "data"


def stands_for(packing: Packing, *, groups: int) -> list[list[float]]:
    """Every group's stored values, read as the format's text says."""
    assert packing.scales is not None
    o, nibble, scale, found = packing.block_rows, 0, 0, []
    each = packing.counts if packing.counts is not None else [packing.blocks // groups] * groups
    for count in map(int, each):
        values = []
        for i in range(count * o):
            byte = int(packing.values[(nibble + i) // 2])
            bits = byte >> 4 if i % 2 else byte & 15
            number = bits - 16 if bits > 7 else bits
            run = i // o // 16
            values.append(number * float(packing.scales[scale + run * o + i % o]))
        found.append(values)
        nibble += -(-count * o // 16) * 16
        scale += -(-count // 16) * o
    assert (nibble // 2, scale) == (packing.values.size, packing.scales.size)
    return found


@settings(deadline=None)
@given(matrices, st.sampled_from(pattern.BLOCK_ROWS), st.booleans())
def test_stored_is_what_it_stands_for(matrix: F32, block_rows: int, dense: bool) -> None:
    rows, cols = matrix.shape
    encode = pattern.encode_dense if dense else pattern.encode
    packing = encode(matrix, np.zeros(rows, np.float32), block_rows=block_rows, dtype="int4")
    groups = -(-rows // block_rows)
    wide = pattern.widened(packing, rows=rows)
    flat = [value for group in stands_for(packing, groups=groups) for value in group]
    assert wide.values.tolist() == flat
    back = pattern.decode(packing, rows=rows, cols=cols)
    assert np.array_equal(back, pattern.decode(wide, rows=rows, cols=cols))
    assert not back[matrix == 0].any()
    stats = pattern.stats(matrix, block_rows, dtype="int4")
    if dense:
        stats = pattern.dense_stats(rows, cols, block_rows=block_rows, dtype="int4")
    assert (stats.coding, stats.blocks) == (packing.coding, packing.blocks)
    assert stats.nbytes == packing.nbytes


@settings(deadline=None)
@given(matrices, st.sampled_from(pattern.BLOCK_ROWS))
def test_no_weight_is_far_off(matrix: F32, block_rows: int) -> None:
    """Nearest-scale rounding: half a step, more only where the search found cutting better."""
    packing = pattern.encode_dense(
        matrix, np.zeros(len(matrix), np.float32), block_rows=block_rows, dtype="int4"
    )
    back = pattern.decode(packing, rows=matrix.shape[0], cols=matrix.shape[1])
    most = np.abs(matrix).max()
    assert np.abs(back - matrix).max() <= 0.4 * most + 1e-6
    assert np.square(back - matrix).sum() <= np.square(matrix).sum() * (1 / 14) ** 2 * 16 + 1e-9


def one_row(*values: float) -> Packing:
    matrix = np.array([values], np.float32)
    return pattern.encode_dense(matrix, np.zeros(1, np.float32), block_rows=1, dtype="int4")


def test_the_largest_is_seven_or_minus_eight_scales() -> None:
    found = one_row(-8, 1, 7)
    assert four_bits.blocks_of(found, 1).reshape(-1).tolist() == [-8, 1, 7]
    found = one_row(8, -1, -7)
    assert four_bits.blocks_of(found, 1).reshape(-1).tolist() == [8, -1, -7]
    assert found.scales is not None and found.scales.tolist() == [-1]
    assert four_bits.blocks_of(one_row(7, -7, 3), 1).reshape(-1).tolist() == [7, -7, 3]


def test_an_outlier_is_cut_where_that_is_better() -> None:
    found = four_bits.blocks_of(one_row(10, *[2] * 15), 1).reshape(-1)
    assert 8 < found[0] < 10 and np.abs(found[1:] - 2).max() < 0.3


def test_zeros_and_what_is_too_small_for_a_scale() -> None:
    assert not four_bits.blocks_of(one_row(0, 0), 1).any()
    assert not four_bits.blocks_of(one_row(1e-12, 0), 1).any()


def test_which_layers_take_it() -> None:
    matrix = np.ones((4, 4), np.float32)
    assert for_int4(matrix, {c.FIL_OP_SPMM, c.FIL_OP_SPMV}, kept=False).dtype == "int4"
    kept = for_int4(matrix, {c.FIL_OP_SPMM}, kept=True)
    assert (kept.dtype, kept.note) == ("float32", "stays float32 as asked")
    other = for_int4(matrix, {c.FIL_OP_SPMM, c.FIL_OP_CONV}, kept=False)
    assert (other.dtype, other.note) == ("float16", "int4 is for fully connected and 1x1 layers")
    large = for_int4(matrix * 1e6, {c.FIL_OP_SPMM}, kept=False)
    assert large.dtype == "float32" and large.note == "a weight of 1e+06 is over float16's 65504"


def test_every_runtime_does_what_the_reference_does() -> None:
    program, choices = pack(programs.two_layers(), costs=programs.COSTS, dtype="int4")
    assert [choice.dtype for choice in choices] == ["int4", "int4"]
    assert [choice.kind for choice in choices] == ["spmv4", "spmv4"]
    assert all(choice.rounding.endswith("dB over its error") for choice in choices)
    check(program, "packed")
    programs.assert_runs_as_reference(program)


def test_layers_by_name_stay_float32() -> None:
    program, choices = pack(
        programs.two_layers(), costs=programs.COSTS, dtype="int4", keep_float=("*2",)
    )
    assert [choice.dtype for choice in choices] == ["int4", "float32"]
    assert [op.kind for op in program.ops if op.weights] == [c.FIL_OP_SPMV4, c.FIL_OP_SPMV]
    with pytest.raises(UsageError) as failed:
        pack(programs.two_layers(), costs=programs.COSTS, dtype="int4", keep_float=("fc3", "fc?"))
    assert failed.value.lines == ['no layer is called "fc3"']


def test_not_where_float16_is_as_small() -> None:
    """One block a group: scales cost what the weights save."""
    given = programs.two_layers()
    few = np.zeros((48, 64), np.float32)
    few[:, 3] = 1
    weights = {**given.weights, "w1": replace(given.weights["w1"], matrix=few)}
    given = replace(given, weights=weights)
    program, choices = pack(given, costs=programs.COSTS, pattern="1x1", dtype="int4")
    assert choices[0].dtype == "float16"
    assert choices[0].rounding == "int4 would not be smaller"
    assert program.ops[0].kind == c.FIL_OP_SPMV


@pytest.mark.parametrize(("name", "at_most"), [("digits_dense", 0.2), ("digits_sparse80", 0.34)])
def test_a_whole_network_stays_right(name: str, at_most: float) -> None:
    """Trained networks on digits that they have not seen; ``at_most``: of float32's file."""
    with np.load(DATA / "digits_test.npz") as test:
        x, labels = test["x"], test["y"].reshape(-1)
    made = [
        convert(DATA / f"{name}.onnx", options=ConvertOptions(dtype=dtype))
        for dtype in ("float32", "int4")
    ]
    right = []
    for one in made:
        model = Model.from_bytes(one.data)
        found = [int(np.argmax(model.run(row[None]))) for row in x]
        right.append(float(np.mean(found == labels)))
    assert right[1] >= right[0] - 0.005 > 0.98
    assert len(made[1].data) <= at_most * len(made[0].data)
