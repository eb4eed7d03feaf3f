"""The quantised .tflite files of FILIGREE_DATA as int8 programs, as a Markdown table.

    make int8-tflite

Outputs are compared with LiteRT's (XNNPACK's kernels) over all samples, or NOISE of a network
without data, in steps of their own scale; in brackets, how often LiteRT's own plain kernels are as
close. Accuracy is top-1 in per cent, sizes are of the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks.litert import interpreter
from filigree.cli.tasks.packed import step_of
from filigree.converter import Converted, ConvertOptions, convert
from filigree.native.model import Model, Port
from tests.conftest import DATA
from tests.models.markdown import print_table
from tests.models.zoo import ZOO, dataset, sample_inputs

Array = NDArray[Any]
Labels = NDArray[np.int64]
ENTRIES = {entry.name: entry for entry in ZOO}
NOISE = 20


@dataclass(frozen=True)
class Network:
    """One file. ``entry``: of the zoo, what its inputs are made as; ``raw``: pixels as they are;
    ``figures``: the accuracy by data set that the data folder has; MobileNetV1's is XNNPACK's (the
    folder's 57.2 lies between that and the 56.8 of LiteRT's plain kernels)."""

    name: str
    file: str
    entry: str | None
    figures: tuple[tuple[str, float], ...] = ()
    raw: bool = False


NETWORKS = (
    Network(
        "visual wake words",
        "vww/mlperf_vww_96_int8.tflite",
        "vww",
        (("vww_mit54", 96.3), ("vww_coco_dev", 85.4)),
    ),
    Network(
        "MCUNet visual wake words",
        "vww/mcunet_vww_int8.tflite",
        None,
        (("vww80_mit54", 96.3), ("vww80_coco_dev", 95.8)),
    ),
    Network("DS-CNN", "kws/mlperf_kws_dscnn_int8.tflite", "kws", (("speech", 97.1),)),
    Network("micro speech", "kws/tflm_micro_speech_int8.tflite", None),
    Network("ResNet-8", "cifar/mlperf_resnet8_int8.tflite", "resnet8", (("cifar", 74.8),)),
    Network("autoencoder", "ad/mlperf_ad01_int8.tflite", "ad"),
    Network(
        "MobileNetV1 0.25 224",
        "imagenet/mobilenet_v1_0.25_224_quant.tflite",
        "mobilenet-v1-0.25",
        (("imagenet224", 58.0),),
        raw=True,
    ),
    Network(
        "MobileNetV2 1.0 224",
        "imagenet/tf2_mobilenet_v2_1.0_224_ptq.tflite",
        "mobilenet-v2",
        (("imagenet224", 89.6),),
        raw=True,
    ),
)


def samples(network: Network, port: Port) -> Iterator[tuple[str, Array, Labels]]:
    """Name, inputs as the port of the packed model takes them, and labels of every data set that
    is here; without one: inputs, no labels."""
    for name, _ in network.figures:
        found = dataset(DATA, name)
        if found is not None:
            offset = ENTRIES[network.entry].class_offset if network.entry else 0
            yield name, _prepared(network, port, found[0]), found[1] + offset
    if not network.figures:
        yield "", _unlabelled(network, port), np.zeros(0, np.int64)


def quantised(x: Array, port: Port) -> Array:
    """Floats as the integers of a port."""
    info = np.iinfo(port.dtype)
    steps = np.rint(x / np.float32(port.scale)) + port.zero
    return np.clip(steps, info.min, info.max).astype(port.dtype)


def _prepared(network: Network, port: Port, raw: Array) -> Array:
    if network.raw:
        return np.asarray(raw, port.dtype)
    if network.entry is None:
        x = raw.astype(np.float32) / np.float32(127.5) - 1
    else:
        x = _channels_last(ENTRIES[network.entry].inputs(raw))
    return x if port.dtype == "float32" else quantised(x, port)


def _unlabelled(network: Network, port: Port) -> Array:
    if network.entry is not None:
        x = _channels_last(sample_inputs(ENTRIES[network.entry], DATA, NOISE))
        return quantised(x, port)
    draw = np.random.default_rng(0)
    return draw.integers(-128, 128, (NOISE, *port.shape[1:])).astype(port.dtype)


def _channels_last(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def outputs(run: Callable[[Array], Array], x: Array) -> Array:
    """[samples, classes], as floats."""
    return np.stack([run(row[None]).reshape(-1) for row in x]).astype(np.float64)


def in_litert(path: Path, *, plain: bool = False) -> Callable[[Array], Array]:
    """The model in LiteRT; ``plain``: TFLite's own kernels instead of XNNPACK's. Raises
    ToolMissing."""
    loaded = interpreter(path.read_bytes(), path.name, keep=plain)
    given, made = (
        details[0] for details in (loaded.get_input_details(), loaded.get_output_details())
    )

    def run(x: Array) -> Array:
        loaded.set_tensor(given["index"], x)
        loaded.invoke()
        return np.asarray(loaded.get_tensor(made["index"]))

    return run


def close(got: Array, want: Array, step: float) -> float:
    """The share of outputs at most a step apart."""
    return float((np.abs(got - want) <= 1.001 * step).mean())


def row(network: Network) -> list[str]:
    path = DATA / "models" / network.file
    made: Converted = convert(path, options=ConvertOptions())
    model = Model.from_bytes(made.data)
    runs = (model.run, in_litert(path), in_litert(path, plain=True))
    step = step_of(made.program, made.program.outputs[0])
    shares, own, texts = [], [], []
    for name, x, labels in samples(network, model.inputs[0]):
        ours, theirs, plain = (outputs(run, x) for run in runs)
        shares.append(close(ours, theirs, step))
        own.append(close(plain, theirs, step))
        if labels.size:
            hits = (100 * float((y.argmax(1) == labels).mean()) for y in (theirs, ours))
            texts.append(f"{name} " + " -> ".join(f"{h:.1f}" for h in hits))
    layers = [layer.dtype for layer in made.report.layers]
    return [
        network.name,
        f"{layers.count('int8')} of {len(layers)}",
        f"{100 * min(shares):.2f} ({100 * min(own):.2f})",
        ", ".join(texts) or "-",
        f"{len(made.data) / path.stat().st_size:.2f}x",
    ]


def main() -> None:
    columns = (
        "network",
        "layers in int8",
        "outputs within a step, % (LiteRT's own)",
        "accuracy, %, LiteRT -> filigree",
        "file",
    )
    print_table(columns, map(row, NETWORKS))


if __name__ == "__main__":
    main()
