"""int8 networks on microcontrollers: instructions, flash and RAM of one inference under QEMU, ours
and our own dense twin's. They repeat exactly.

python -m tests.models.mcu [CORE ...]     (make mcu)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import onnx

from filigree.cli.tasks.counting import Counts, count_layers, whole
from filigree.converter import ConvertOptions, convert
from filigree.packaging import count
from tests.conftest import DATA
from tests.models.quantize import SAMPLES, network, quantize
from tests.models.sparsify import sparsify
from tests.models.zoo import sample_inputs

NETWORKS = ("vww", "kws")
SPARSITIES = (0.0, 0.8)
CORES = ("cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m55")
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
    print(f"| {' | '.join(HEADER)} |")
    print("|---" * len(HEADER) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            for sparsity in SPARSITIES:
                source = int8(name, sparsity, Path(folder))
                for core in cores:
                    print(row(name, sparsity, core, counted(source, core)), flush=True)


if __name__ == "__main__":
    main()
