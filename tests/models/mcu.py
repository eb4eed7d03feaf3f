"""int8 networks on microcontrollers: instructions, flash and RAM of one inference under QEMU, ours
and our own dense twin's; and of single layers the instructions per multiply-accumulate,
requantisation included, beside CMSIS-NN's where they were counted. They repeat exactly.

python -m tests.models.mcu [CORE ...]     (make mcu)
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from filigree.cli.tasks.counting import Counts, count_layers, whole
from filigree.converter import ConvertOptions, convert
from filigree.packaging import count
from tests.conftest import DATA
from tests.models.markdown import print_header
from tests.models.quantize import SAMPLES, network, quantize
from tests.models.sparsify import sparsify
from tests.models.zoo import sample_inputs

NETWORKS = ("vww", "kws")
SPARSITIES = (0.0, 0.8)
CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
LAYER_HEADER = ("layer", "core", "CMSIS-NN", "dense", "80 % zeros in 4x1 blocks", "gain")
DENSITY, ROWS = 0.2, 4  # of the blocks; rows of one
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


@dataclass(frozen=True)
class Layer:
    """A convolution over square planes, ``kernel`` 1, or a depthwise one."""

    channels: int
    side: int
    kernel: int = 1
    stride: int = 1

    @property
    def macs(self) -> int:
        """Of the dense layer."""
        out = -(-self.side // self.stride)
        taps = self.channels if self.kernel == 1 else self.kernel**2
        return self.channels * taps * out * out

    def __str__(self) -> str:
        end = f", {self.side}x{self.side}"
        if self.kernel == 1:
            return f"{self.channels} -> {self.channels} channels{end}"
        step = f", stride {self.stride}" if self.stride > 1 else ""
        return f"depthwise {self.kernel}x{self.kernel}{step}, {self.channels} channels{end}"


LAYERS = (
    *(Layer(64, 12), Layer(128, 6), Layer(256, 3)),
    *(Layer(64, 12, 3), Layer(128, 6, 3), Layer(64, 12, 3, 2), Layer(64, 12, 5)),
)
# Its newest source, compiled by arm-none-eabi-gcc 12 -Ofast, counted as ours are.
CMSIS_NN = {
    "cortex-m4": dict(zip(LAYERS, (2.08, 1.83, 1.97), strict=False)),
    "cortex-m7": dict(zip(LAYERS, (2.04, 1.80, 1.95), strict=False)),
    "cortex-m55": dict(zip(LAYERS, (0.39, 0.28, 0.25), strict=False)),
}


def layer_model(layer: Layer, density: float) -> onnx.ModelProto:
    """The layer as QLinearConv that ends as behind a ReLU, ``density`` of its blocks stored."""
    draw = np.random.default_rng(0)
    groups = 1 if layer.kernel == 1 else layer.channels
    weight = draw.integers(1, 128, (layer.channels, layer.channels // groups, *[layer.kernel] * 2))
    if density < 1:
        stored = np.zeros((layer.channels // ROWS, layer.channels), bool)
        for row in stored:
            row[draw.choice(layer.channels, round(density * layer.channels), replace=False)] = True
        weight = weight * np.repeat(stored, ROWS, axis=0)[:, :, None, None]
    constants: dict[str, NDArray[np.generic]] = {
        "w": weight.astype(np.int8),
        "w_scale": draw.uniform(0.001, 0.002, layer.channels).astype(np.float32),
        "w_zero": np.zeros(layer.channels, np.int8),
        "scale": np.asarray(0.05, np.float32),
        "x_zero": np.asarray(3, np.int8),
        "zero": np.asarray(-128, np.int8),
        "bias": draw.integers(-3000, 3000, layer.channels).astype(np.int32),
    }
    node = helper.make_node(
        "QLinearConv",
        ["x", "scale", "x_zero", "w", "w_scale", "w_zero", "scale", "zero", "bias"],
        ["y"],
        "layer",
        group=groups,
        kernel_shape=[layer.kernel] * 2,
        pads=[layer.kernel // 2] * 4,
        strides=[layer.stride] * 2,
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [
            helper.make_tensor_value_info(
                "x", TensorProto.INT8, [1, layer.channels, *[layer.side] * 2]
            )
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT8, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def per_mac(layer: Layer, density: float, core: str, folder: Path) -> float:
    """Instructions of the layer's own operation per multiply-accumulate of the dense one."""
    path = folder / "layer.onnx"
    onnx.save(layer_model(layer, density), path)
    pattern = "dense" if density == 1 else f"{ROWS}x1"
    options = ConvertOptions(target=core, pattern=pattern, rearrange=False)
    found = count_layers(convert(path, options=options).data, None, target=core).layers
    kind = "qspmm" if layer.kernel == 1 else "qdwconv"
    return next(x for x in found if x.kind == kind).instructions / layer.macs


def layer_row(layer: Layer, core: str, folder: Path) -> str:
    theirs = CMSIS_NN.get(core, {}).get(layer)
    dense = per_mac(layer, 1, core, folder)
    cells = [str(layer), core, f"{theirs:.2f}" if theirs else "", f"{dense:.2f}"]
    if layer.kernel == 1:
        sparse = per_mac(layer, DENSITY, core, folder)
        cells += [f"{sparse:.2f}", f"{dense / sparse:.1f}x"]
    else:
        cells += ["", ""]
    return f"| {' | '.join(cells)} |"


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


def main() -> None:
    cores = sys.argv[1:] or CORES
    why = next((why for core in cores if (why := count.available(core))), None)
    if why or not (DATA / "models").is_dir():
        sys.exit(why or f"no real models at {DATA.name}: set FILIGREE_DATA")
    with tempfile.TemporaryDirectory() as folder:
        print_header(LAYER_HEADER)
        for layer in LAYERS:
            for core in cores:
                print(layer_row(layer, core, Path(folder)), flush=True)
        print()
        print_header(HEADER)
        for name in NETWORKS:
            for sparsity in SPARSITIES:
                source = int8(name, sparsity, Path(folder))
                for core in cores:
                    print(row(name, sparsity, core, counted(source, core)), flush=True)


if __name__ == "__main__":
    main()
