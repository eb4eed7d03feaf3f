"""Single int8 layers on microcontrollers: instructions per multiply-accumulate, requantisation
included, under QEMU. They repeat exactly.

python -m tests.models.mcu_layers [CORE ...]
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

from filigree.cli.tasks.counting import count_layers
from filigree.converter import ConvertOptions, convert
from filigree.packaging import count

CORES = ("cortex-m4", "cortex-m7", "cortex-m55")
DENSITY = 0.2
ROWS = 4  # of a block


@dataclass(frozen=True)
class Layer:
    """A convolution over square planes; ``kernel`` 1 is dense or in blocks, else depthwise."""

    channels: int
    rows: int
    side: int
    kernel: int = 1
    stride: int = 1

    @property
    def products(self) -> int:
        out = -(-self.side // self.stride)
        return self.rows * (self.channels if self.kernel == 1 else self.kernel**2) * out * out

    def __str__(self) -> str:
        if self.kernel == 1:
            return f"{self.channels} -> {self.rows} channels, {self.side}x{self.side}"
        step = f", stride {self.stride}" if self.stride > 1 else ""
        size = f"{self.kernel}x{self.kernel}{step}, {self.channels} channels"
        return f"depthwise {size}, {self.side}x{self.side}"


LAYERS = (
    *(Layer(64, 64, 12), Layer(128, 128, 6), Layer(256, 256, 3)),
    *(Layer(64, 64, 12, 3), Layer(128, 128, 6, 3), Layer(64, 64, 12, 3, 2), Layer(64, 64, 12, 5)),
)


def model(layer: Layer, density: float) -> onnx.ModelProto:
    """The layer as QLinearConv, ``density`` of its blocks present."""
    draw = np.random.default_rng(0)
    groups = 1 if layer.kernel == 1 else layer.channels
    weight = draw.integers(1, 128, (layer.rows, layer.channels // groups, *[layer.kernel] * 2))
    if density < 1:
        stored = np.zeros((layer.rows // ROWS, layer.channels), bool)
        for row in stored:
            row[draw.choice(layer.channels, round(density * layer.channels), replace=False)] = True
        weight = weight * np.repeat(stored, ROWS, axis=0)[:, :, None, None]
    constants: dict[str, NDArray[np.generic]] = {
        "w": weight.astype(np.int8),
        "w_scale": draw.uniform(0.001, 0.002, layer.rows).astype(np.float32),
        "w_zero": np.zeros(layer.rows, np.int8),
        "scale": np.asarray(0.05, np.float32),
        "zero": np.asarray(3, np.int8),
        "bias": draw.integers(-3000, 3000, layer.rows).astype(np.int32),
    }
    node = helper.make_node(
        "QLinearConv",
        ["x", "scale", "zero", "w", "w_scale", "w_zero", "scale", "zero", "bias"],
        ["y"],
        "layer",
        group=groups,
        kernel_shape=[layer.kernel] * 2,
        pads=[layer.kernel // 2] * 4,
        strides=[layer.stride] * 2,
    )
    shape = [1, layer.channels, layer.side, layer.side]
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.INT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT8, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def instructions(layer: Layer, density: float, core: str, folder: Path) -> int:
    """Of the layer's own operation, without copies to and from the caller's buffers."""
    path = folder / "layer.onnx"
    onnx.save(model(layer, density), path)
    pattern = "dense" if density == 1 else f"{ROWS}x1"
    fil = convert(path, options=ConvertOptions(target=core, pattern=pattern, effort=0.0)).data
    kind = "qspmm" if layer.kernel == 1 else "qdwconv"
    found = count_layers(fil, None, target=core).layers
    return next(row.instructions for row in found if row.kind == kind)


def row(layer: Layer, core: str, folder: Path) -> str:
    dense = instructions(layer, 1, core, folder)
    cells = [str(layer), core, f"{dense / layer.products:.2f}"]
    if layer.kernel == 1:
        stored = round(DENSITY * layer.channels) * layer.rows * layer.side**2
        sparse = instructions(layer, DENSITY, core, folder)
        cells += [f"{sparse / stored:.2f}", f"{dense / sparse:.2f}x"]
    else:
        cells += ["", ""]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    cores = sys.argv[1:] or CORES
    why = next((why for core in cores if (why := count.available(core))), None)
    if why:
        sys.exit(why)
    print("| layer | core | dense | 80 % zeros, 4x1, per stored weight | fewer |")
    print("|---" * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for layer in LAYERS:
            for core in cores:
                print(row(layer, core, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
