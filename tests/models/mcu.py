"""int8 networks on microcontrollers: instructions, flash and RAM of one inference under QEMU, ours
and our own dense twin's; and of single layers the instructions per multiply-accumulate. They repeat
exactly.

python -m tests.models.mcu [CORE ...]     (make mcu)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from filigree.cli.tasks.counting import Counts, count_layers, whole
from filigree.converter import ConvertOptions, convert
from filigree.packaging import count
from tests.conftest import DATA
from tests.models.quantize import SAMPLES, network, quantize
from tests.models.sparsify import sparsify
from tests.models.zoo import sample_inputs

NETWORKS = ("vww", "kws")
SPARSITIES = (0.0, 0.8)
CORES = ("cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
LAYERS = ((64, 12), (128, 6), (256, 3))  # channels, side
LAYER_HEADER = ("1x1 convolution", "core", "dense", "80 % zeros in 4x1 blocks", "gain")
HEADER = (
    *("network", "zeros", "core", "instructions", "dense", "of it"),
    *("code", "model", "arena", "stack, variables", "ports"),
)


def int8(name: str, sparsity: float, folder: Path) -> Path:
    """The network of the zoo, pruned in 4x1 blocks, quantised on real inputs; takes int8."""
    entry = network(name)
    source, target = DATA / "models" / entry.file, folder / f"{name}-{sparsity}.onnx"
    if sparsity:
        pruned = folder / f"{name}-pruned.onnx"
        sparsify(source, pruned, sparsity)
        source = pruned
    quantize(source, target, sample_inputs(entry, DATA, SAMPLES))
    _take_bytes(target)
    return target


def _take_bytes(path: Path) -> None:
    """The input is what its QuantizeLinear would have made, as a driver gives it."""
    model = onnx.load(path)
    (given,) = model.graph.input
    node = next(n for n in model.graph.node if given.name in n.input)
    assert node.op_type == "QuantizeLinear"
    shape = [dim.dim_value or 1 for dim in given.type.tensor_type.shape.dim]
    port = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT8, shape)
    model.graph.node.remove(node)
    model.graph.input.remove(given)
    model.graph.input.append(port)
    onnx.save(model, path)


def counted(source: Path, core: str) -> Counts:
    """One inference of the model on ``core``, beside the dense twin's."""
    ours, dense = (
        convert(source, options=ConvertOptions(target=core, pattern=pattern)).data
        for pattern in ("auto", "dense")
    )
    return count_layers(ours, dense, target=core)


def pointwise(channels: int, side: int, sparsity: float, folder: Path) -> Path:
    """A 1x1 convolution of int8 from ``channels`` to as many on side x side positions, with that
    share of its 4x1 blocks zero in each group of rows, and a ReLU."""
    draw = np.random.default_rng(channels)
    weights = draw.integers(1, 128, (channels, channels, 1, 1)).astype(np.int8)
    for first in range(0, channels, 4):
        zero = draw.choice(channels, round(sparsity * channels), replace=False)
        weights[first : first + 4, zero] = 0
    constants = {
        **{"w": weights, "ws": np.full(channels, 0.002, np.float32), "b": np.zeros(channels, "f4")},
        **{"wz": np.zeros(channels, np.int8), "s": np.float32(0.05), "z": np.int8(-128)},
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("Conv", ["xf", "wf", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    shape = [1, channels, side, side]
    graph = helper.make_graph(
        nodes,
        "pointwise",
        [helper.make_tensor_value_info("x", onnx.TensorProto.INT8, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    path = folder / f"pointwise-{channels}-{sparsity}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def per_mac(source: Path, core: str, pattern: str, macs: int) -> float:
    """Instructions of the convolution per multiply-accumulate of its dense twin."""
    options = ConvertOptions(target=core, pattern=pattern, rearrange=False)
    fil = convert(source, options=options).data
    return (
        next(
            x for x in count_layers(fil, None, target=core).layers if "spmm" in x.kind
        ).instructions
        / macs
    )


def layer_row(channels: int, side: int, core: str, folder: Path) -> str:
    macs = channels * channels * side * side
    dense = per_mac(pointwise(channels, side, 0.0, folder), core, "dense", macs)
    sparse = per_mac(pointwise(channels, side, 0.8, folder), core, "4x1", macs)
    cells = (f"{channels} -> {channels}, {side}x{side}", core, f"{dense:.2f}", f"{sparse:.2f}")
    return f"| {' | '.join((*cells, f'{dense / sparse:.1f}x'))} |"


def row(name: str, sparsity: float, core: str, counts: Counts) -> str:
    total, m = whole(counts.layers), counts.memory
    own = m["stack"] + m["static"]
    cells = [
        *(name, f"{sparsity:.0%}" if sparsity else "none", core),
        *(f"{total.instructions / 1e6:.1f} M", f"{(total.dense or 0) / 1e6:.1f} M"),
        f"{total.ratio or 0:.2f}x",
        *(f"{n:,}" for n in (m["code"], m["model"], m["arena"], own, m["ports"])),
    ]
    return f"| {' | '.join(cells)} |"


def print_header(names: tuple[str, ...]) -> None:
    print(f"| {' | '.join(names)} |")
    print("|---" * len(names) + "|")


def main() -> None:
    cores = sys.argv[1:] or CORES
    why = next((why for core in cores if (why := count.available(core))), None)
    if why or not (DATA / "models").is_dir():
        sys.exit(why or f"no real models at {DATA.name}: set FILIGREE_DATA")
    with tempfile.TemporaryDirectory() as folder:
        print_header(LAYER_HEADER)
        for channels, side in LAYERS:
            for core in cores:
                print(layer_row(channels, side, core, Path(folder)), flush=True)
        print()
        print_header(HEADER)
        for name in NETWORKS:
            for sparsity in SPARSITIES:
                source = int8(name, sparsity, Path(folder))
                for core in cores:
                    print(row(name, sparsity, core, counted(source, core)), flush=True)


if __name__ == "__main__":
    main()
