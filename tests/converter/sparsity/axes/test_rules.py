"""What each operator says about channels, on graphs made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from filigree.converter.sparsity import axes as channel_axes
from filigree.converter.sparsity.axes import Axes, Variable
from tests.converter.small import assert_close, inferred, model, onnx_runtime, random_inputs

IMAGE = (1, 3, 4, 4)
TOKENS = (1, 5, 3)
NUMBERS = np.random.default_rng(0)


def conv(rows: int, cols: int, side: int = 1) -> NDArray[np.float32]:
    return NUMBERS.standard_normal((rows, cols, side, side)).astype(np.float32)


def floats(*shape: int) -> NDArray[np.float32]:
    return NUMBERS.random(shape).astype(np.float32) + np.float32(0.5)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values)


@dataclass(frozen=True)
class Case:
    """``free``: "size: layers that make it > layers that read it", for each variable that may be
    reordered and that a layer knows; ``pinned``: "layers: why" for those that may not."""

    nodes: list[str]
    constants: dict[str, NDArray[Any]]
    free: list[str] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)
    inputs: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"x": IMAGE})

    def graph(self) -> ir.Model:
        return inferred(model(*self.nodes, inputs=self.inputs, **self.constants))


A, Z = "[a] u = Conv(x, wa)", "[z] y = Conv(v, wz)"


def between(*nodes: str, rows: int = 4, cols: int = 0, **constants: NDArray[Any]) -> dict[str, Any]:
    """Nodes from u [rows channels, made by layer a] to v [cols channels, read by layer z]."""
    weights = {"wa": conv(rows, 3), "wz": conv(2, cols or rows)}
    return {"nodes": [A, *nodes, Z], "constants": {**weights, **constants}}


CASES = {
    "activation": Case(**between("v = Relu(u)"), free=["4: a > z"]),
    "depthwise": Case(
        **between(
            "[d] v = Conv<group=4, pads=[1, 1, 1, 1]>(u, d, b)", d=conv(4, 1, 3), b=floats(4)
        ),
        free=["4: a > z"],
    ),
    "depthwise with a multiplier": Case(
        **between("[d] v = Conv<group=2>(u, d)", rows=2, cols=6, d=conv(6, 1)),
        free=["3:  > z", "3:  > z"],
    ),
    "batch normalisation": Case(
        **between(
            "v = BatchNormalization(u, g, b, m, s)",
            g=floats(4),
            b=floats(4),
            m=floats(4),
            s=floats(4),
        ),
        free=["4: a > z"],
    ),
    "constant per channel": Case(
        **between(
            "s = Add(u, c)",
            "t = Mul(d, s)",
            "v = Sub(t, e)",
            c=floats(4, 1, 1),
            d=floats(1, 4, 1, 1),
            e=floats(1),
        ),
        free=["4: a > z"],
    ),
    "slope per channel": Case(**between("v = PRelu(u, s)", s=floats(4, 1, 1)), free=["4: a > z"]),
    "position-wise constant": Case(
        **between("v = Mul(u, s)", s=floats(1, 1, 4, 4)), free=["4: a > z"]
    ),
    "pools": Case(
        **between("p = MaxPool<kernel_shape=[2, 2]>(u)", "v = GlobalAveragePool(p)"),
        free=["4: a > z"],
    ),
    "nested concatenation": Case(
        **between(
            "[b] w = Conv(x, wb)",
            "[c] t = Conv(x, wb)",
            "c1 = Concat<axis=1>(w, u)",
            "v = Concat<axis=1>(t, c1)",
            cols=8,
            wb=conv(2, 3),
        ),
        free=["2: b c > z", "4: a > z"],
    ),
    "the same value twice": Case(**between("v = Concat<axis=1>(u, u)", cols=8), free=["4: a > z"]),
    "split": Case(
        **between(
            "p, q = Split<axis=1>(u, s)",
            "[b] r = Conv(p, wb)",
            "v = Add(q, r)",
            rows=6,
            cols=4,
            s=ints(2, 4),
            wb=conv(4, 2),
        ),
        free=["2: a > b", "4: a b > z"],
    ),
    "slice": Case(
        **between("v = Slice(u, s, e, k)", rows=6, cols=4, s=ints(1), e=ints(5), k=ints(1)),
        free=["4: a > z", "2: a > "],
    ),
    "every other channel": Case(
        **between(
            "v = Slice(u, s, e, k, t)", rows=6, cols=3, s=ints(1), e=ints(99), k=ints(-3), t=ints(2)
        ),
        free=["3: a > z", "3: a > "],
    ),
    "one channel alone": Case(
        **between("p = Slice(u, s, e, k)", "v = Mul(u, p)", s=ints(1), e=ints(2), k=ints(1)),
        free=["3: a > z"],
    ),
    "single channels, changed and put back": Case(
        **between(
            "p, q = Split<axis=1>(u, s)",
            "r = Relu(p)",
            "t = Tanh(q)",
            "v = Concat<axis=1>(r, t)",
            rows=2,
            s=ints(1, 1),
        )
    ),
    "padded in space": Case(
        **between("v = Pad(u, p)", p=ints(0, 0, 1, 0, 0, 0, 0, 2)), free=["4: a > z"]
    ),
    "padded channels": Case(
        **between("v = Pad(u, p)", cols=6, p=ints(0, 1, 0, 0, 0, 1, 0, 0)),
        pinned=["a: padded", "z: padded"],
    ),
    "channels moved on by padding": Case(
        **between("v = Pad(u, p)", p=ints(0, 1, 0, 0, 0, -1, 0, 0)),
        pinned=["a: padded", "z: padded"],
    ),
    "channel shuffle": Case(
        **between(
            "r = Reshape(u, s)",
            "t = Transpose<perm=[0, 2, 1, 3, 4]>(r)",
            "v = Reshape(t, k)",
            rows=6,
            s=ints(1, 2, 3, 4, 4),
            k=ints(1, 6, 4, 4),
        ),
        free=["6: a > z"],
    ),
    "reshaped in a way that mixes": Case(
        **between("v = Reshape(u, s)", rows=6, cols=4, s=ints(1, 4, 6, 4)),
        pinned=["a: reshaped", "z: reshaped"],
    ),
    "grouped": Case(
        **between("[g] v = Conv<group=2>(u, g, b)", cols=6, g=conv(6, 2), b=floats(6)),
        free=["2: a > g", "2: a > g", "3: g > z", "3: g > z"],
    ),
    "as many groups as rows": Case(
        **between("[g] v = Conv<group=2>(u, g)", cols=2, g=conv(2, 2)),
        free=["2: a > g", "2: a > g"],
    ),
    "grouped, weights used twice": Case(
        **between(
            "[b] w = Conv(x, wb)",
            "[g] p = Conv<group=2>(u, g)",
            "[h] q = Conv<group=2>(w, g)",
            "v = Concat<axis=1>(p, q)",
            cols=8,
            g=conv(4, 2),
            wb=conv(4, 3),
        ),
        free=["2: a b > g h", "2: a b > g h", "2: g h > z", "2: g h > z"],
    ),
    "weights used as groups and as a whole": Case(
        **between(
            "[b] w = Conv(x, wb)",
            "[g] p = Conv<group=2>(u, g)",
            "[h] q = Conv(w, g)",
            "v = Add(p, q)",
            g=conv(4, 2),
            wb=conv(2, 3),
        ),
        pinned=[f"{layers}: Conv is not understood" for layers in ("a", "b h", "g h z")],
    ),
    "squeeze and excitation": Case(
        **between(
            "p = GlobalAveragePool(u)",
            "[s] q = Conv(p, ws, bs)",
            "r = Relu(q)",
            "[e] t = Conv(r, we)",
            "f = Sigmoid(t)",
            "v = Mul(u, f)",
            ws=conv(2, 4),
            bs=floats(2),
            we=conv(4, 2),
        ),
        free=["4: a e > s z", "2: s > e"],
    ),
    "residual": Case(
        **between("[b] w = Conv(u, wb)", "v = Add(w, u)", wb=conv(4, 4)), free=["4: a b > b z"]
    ),
    "residual of part of the channels": Case(
        **between(
            "p, q = Split<axis=1>(u, s)",
            "w = Add(p, q)",
            "v = Concat<axis=1>(w, u)",
            cols=6,
            s=ints(2, 2),
        ),
        free=["2: a > z"],
    ),
    "softmax": Case(**between("v = Softmax<axis=1>(u)"), pinned=["a z: softmax runs over it"]),
    "softmax over positions": Case(**between("v = Softmax<axis=3>(u)"), free=["4: a > z"]),
    "an operator that is not known": Case(
        **between("v = Sin(u)"), pinned=["a: Sin is not understood", "z: Sin is not understood"]
    ),
    "twice, but not in the same order": Case(
        **between(
            "r = Relu(u)",
            "c = Concat<axis=1>(u, r)",
            "v = Slice(c, s, e, k)",
            rows=2,
            s=ints(1),
            e=ints(3),
            k=ints(1),
        )
    ),
    "shared weights": Case(
        nodes=[
            A,
            "[b] w = Conv(x, wb)",
            "[p] m = Conv(u, s)",
            "[q] n = Conv(w, s)",
            "v = Concat<axis=1>(m, n)",
            Z,
        ],
        constants={"wa": conv(4, 3), "wb": conv(4, 3), "s": conv(5, 4), "wz": conv(2, 10)},
        free=["4: a b > p q", "5: p q > z"],
    ),
    "a constant that two sums share": Case(
        nodes=[
            A,
            "[b] w = Conv(x, wb)",
            "m = Add(u, c)",
            "n = Add(w, c)",
            "v = Concat<axis=1>(m, n)",
            Z,
        ],
        constants={"wa": conv(4, 3), "wb": conv(4, 3), "c": floats(4, 1, 1), "wz": conv(2, 8)},
        free=["4: a b > z"],
    ),
    "flattened into Gemm": Case(
        nodes=[A, "f = Flatten(u)", "[z] y = Gemm<transB=1>(f, w, b)"],
        constants={"wa": conv(4, 3), "w": floats(5, 64), "b": floats(5)},
        free=["4: a > z"],
    ),
    "flattened channels last": Case(
        nodes=[
            A,
            "t = Transpose<perm=[0, 2, 3, 1]>(u)",
            "f = Reshape(t, s)",
            "[z] y = Gemm(f, w, b)",
        ],
        constants={"wa": conv(4, 3), "s": ints(1, 64), "w": floats(64, 5), "b": floats(1, 5)},
        free=["4: a > z"],
    ),
    "fully connected": Case(
        nodes=[
            "[a] u = Gemm<transB=1>(x, wa, ba)",
            "r = Relu(u)",
            "[b] v = MatMul(r, wb)",
            "s = Add(v, c)",
            "t = Transpose(s)",
            "[z] y = Gemm<transA=1>(t, wz)",
        ],
        constants={
            "wa": floats(6, 3),
            "ba": floats(6),
            "wb": floats(6, 4),
            "c": floats(4),
            "wz": floats(4, 2),
        },
        inputs={"x": (2, 3)},
        free=["6: a > b", "4: b > z"],
    ),
    "product of two values": Case(
        nodes=[
            "[a] q = MatMul(x, wa)",
            "[b] k = MatMul(x, wb)",
            "t = Transpose<perm=[0, 2, 1]>(k)",
            "s = MatMul(q, t)",
            "p = Softmax(s)",
            "[c] v = MatMul(x, wc)",
            "o = MatMul(p, v)",
            "[z] y = MatMul(o, wz)",
        ],
        constants={"wa": floats(3, 4), "wb": floats(3, 4), "wc": floats(3, 6), "wz": floats(6, 2)},
        inputs={"x": TOKENS},
        free=["4: a b > ", "6: c > z"],
    ),
    "reduced": Case(
        nodes=[
            "[a] u = MatMul(x, wa)",
            "v = ReduceMean<axes=[1], keepdims=0>(u)",
            "[z] w = Gemm(v, wz)",
            "s = ReduceSum<keepdims=1>(w, k)",
            "y = Relu(s)",
        ],
        constants={"wa": floats(3, 4), "wz": floats(4, 5), "k": ints(-1)},
        inputs={"x": TOKENS},
        free=["4: a > z", "5: z > "],
    ),
    "reduced over nothing": Case(
        **between("v = ReduceSum<noop_with_empty_axes=1>(u)"), free=["4: a > z"]
    ),
    "widened": Case(
        nodes=[A, "g = GlobalAveragePool(u)", "v = Expand(g, s)", Z],
        constants={"wa": conv(4, 3), "wz": conv(2, 4), "s": ints(1, 4, 2, 2)},
        free=["4: a > z"],
    ),
    "a vector of weights": Case(
        nodes=["[a] u = MatMul(x, wa)", "[z] y = MatMul(u, wz)"],
        constants={"wa": floats(3, 4), "wz": floats(4)},
        inputs={"x": TOKENS},
        pinned=["a: MatMul is not understood"],
    ),
}


def line(variable: Variable) -> str:
    made = " ".join(use.node for use in variable.producers)
    read = " ".join(use.node for use in variable.consumers)
    return f"{variable.size}: {made} > {read}"


def why(variable: Variable) -> str:
    nodes = dict.fromkeys(use.node for use in (*variable.producers, *variable.consumers))
    return f"{' '.join(nodes)}: {variable.pinned}"


def known(found: Axes) -> list[Variable]:
    """The variables that a layer knows."""
    return [v for v in found.variables if v.producers or v.consumers]


@pytest.mark.parametrize("name", CASES)
def test_variables(name: str) -> None:
    case = CASES[name]
    found = known(channel_axes.find(case.graph()))
    inner = [v for v in found if v.pinned is not None and "of the model" not in v.pinned]
    assert sorted(line(v) for v in found if v.pinned is None) == sorted(case.free)
    assert sorted(why(v) for v in inner) == sorted(case.pinned)


@pytest.mark.parametrize("name", CASES)
def test_any_order_computes_the_same(name: str) -> None:
    graph = CASES[name].graph()
    before = ir.serde.serialize_model(graph)
    found = channel_axes.find(graph)
    loose = [v for v in found.variables if v.pinned is None]
    channel_axes.permute(graph, found, {v.name: np.arange(v.size)[::-1] for v in loose})
    inputs = random_inputs(before)
    after = ir.serde.serialize_model(graph)
    for got, want in zip(onnx_runtime(after, inputs), onnx_runtime(before, inputs), strict=True):
        assert_close(got, want)
    if found.free:
        assert after.SerializeToString() != before.SerializeToString()


def test_inputs_and_outputs_stay() -> None:
    found = channel_axes.find(CASES["activation"].graph())
    assert [why(v) for v in known(found) if v.pinned] == [
        "a: an input of the model",
        "z: an output of the model",
    ]


def test_a_value_that_is_also_an_output_stays() -> None:
    graph = inferred(
        model(
            *(A, "v = Relu(u)", Z),
            inputs={"x": IMAGE},
            outputs=("y", "u"),
            wa=conv(4, 3),
            wz=conv(2, 4),
        )
    )
    assert not channel_axes.find(graph).free


def slots_of(name: str, node: str) -> list[list[int]]:
    """Where the first free variable's channels are in the columns of ``node``."""
    (variable, *_) = channel_axes.find(CASES[name].graph()).free
    (use,) = (u for u in variable.consumers if u.node == node)
    return [list(map(int, row)) for row in use.slots]


def test_slots_of_a_value_concatenated_twice() -> None:
    assert slots_of("the same value twice", "z") == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_slots_behind_a_shuffle() -> None:
    (slots,) = slots_of("channel shuffle", "z")
    assert sorted(slots) == list(range(6))
    shuffled = np.arange(6).reshape(2, 3).T.reshape(-1)
    assert [int(shuffled[s]) for s in slots] == list(range(6))


@pytest.mark.parametrize(
    ("name", "step"), [("flattened into Gemm", (16, 1)), ("flattened channels last", (1, 4))]
)
def test_slots_behind_flatten(name: str, step: tuple[int, int]) -> None:
    slots = slots_of(name, "z")
    assert slots == [[c * step[0] + p * step[1] for c in range(4)] for p in range(16)]


def test_slots_inside_groups() -> None:
    free = channel_axes.find(CASES["grouped"].graph()).free
    read = [u.slots.tolist() for v in free for u in v.consumers if u.node == "g"]
    made = [u.slots.tolist() for v in free for u in v.producers if u.node == "g"]
    assert read == [[[0, 1]], [[0, 1]]]
    assert made == [[[0, 1, 2]], [[3, 4, 5]]]


def test_orders_that_cannot_be() -> None:
    graph = CASES["activation"].graph()
    found = channel_axes.find(graph)
    (free,) = found.free
    (pinned,) = [v for v in found.variables if v.producers and v.pinned]
    with pytest.raises(ValueError, match=r'the order of "v.+" is not a permutation of 4'):
        channel_axes.permute(graph, found, {free.name: np.array([0, 1, 2, 2])})
    for name in (pinned.name, "v99"):
        with pytest.raises(ValueError, match=f'"{name}" is not a variable that may be reordered'):
            channel_axes.permute(graph, found, {name: np.array([1, 0])})


def test_a_layer_of_shared_weights_gets_its_own() -> None:
    graph = CASES["shared weights"].graph()
    nodes = {node.name: node for node in graph.graph}
    old = channel_axes.matrix_of(nodes["q"])
    channel_axes.set_matrix(graph, nodes["p"], np.zeros_like(old))
    assert not channel_axes.matrix_of(nodes["p"]).any()
    assert np.array_equal(channel_axes.matrix_of(nodes["q"]), old)


@pytest.mark.parametrize("name", ["flattened into Gemm", "flattened channels last"])
def test_matrices_come_back(name: str) -> None:
    graph = CASES[name].graph()
    for node in filter(channel_axes.is_layer, list(graph.graph)):
        matrix = channel_axes.matrix_of(node)
        channel_axes.set_matrix(graph, node, matrix * 2)
        assert np.array_equal(channel_axes.matrix_of(node), matrix * 2)
