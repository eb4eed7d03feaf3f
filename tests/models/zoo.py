"""The real float networks of FILIGREE_DATA: file, data set, preprocessing and published figure.

Figures are those of the data folder's MANIFEST; a data set is skipped where it is absent.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Entry:
    """One network. ``figures`` maps a data set's name to the expected top-1 per cent."""

    name: str
    file: str
    shape: tuple[int, ...]
    scale: float = 1.0
    shift: float = 0.0
    figures: tuple[tuple[str, float], ...] = ()
    class_offset: int = 0

    def inputs(self, images: NDArray[np.generic]) -> F32:
        """Raw NHWC pixels (or NCHW features) to the network's input, float32."""
        x = images.astype(np.float32) * np.float32(self.scale) + np.float32(self.shift)
        return np.ascontiguousarray(x if self.shape[1] == x.shape[1] else x.transpose(0, 3, 1, 2))


VWW = (("vww_mit54", 94.4), ("vww_coco_dev", 85.4))
UNIT, SIGNED = 1 / 255, 1 / 127.5

ZOO = (
    Entry("vww", "vww/mlperf_vww_96.onnx", (1, 3, 96, 96), UNIT, 0.0, VWW),
    Entry("vww-bn", "vww/mlperf_vww_96_bn.onnx", (1, 3, 96, 96), UNIT, 0.0, VWW),
    Entry("kws", "kws/mlperf_kws_dscnn.onnx", (1, 1, 49, 10), 1.0, 0.0, (("speech", 96.7),)),
    Entry("resnet8", "cifar/mlperf_resnet8.onnx", (1, 3, 32, 32), 1.0, 0.0, (("cifar", 76.8),)),
    Entry(
        "resnet8-bn", "cifar/mlperf_resnet8_bn.onnx", (1, 3, 32, 32), 1.0, 0.0, (("cifar", 76.8),)
    ),
    Entry("ad", "ad/mlperf_ad01.onnx", (1, 640)),
    Entry(
        "mobilenet-v1-0.25",
        "imagenet/mobilenet_v1_0.25_224.onnx",
        (1, 3, 224, 224),
        SIGNED,
        -1.0,
        (("imagenet224", 60.8),),
        1,
    ),
    Entry(
        "mobilenet-v1",
        "imagenet/mobilenet_v1_1.0_224_w8.onnx",
        (1, 3, 224, 224),
        1 / 128,
        -1.0,
        (("imagenet224", 90.0),),
        1,
    ),
    Entry(
        "mobilenet-v2",
        "imagenet/mobilenet_v2_1.0_224_w8.onnx",
        (1, 3, 224, 224),
        SIGNED,
        -1.0,
        (("imagenet224", 89.6),),
        1,
    ),
    Entry(
        "mcu-mbv2",
        "training/mcu_mbv2_w0.35_128_w8.onnx",
        (1, 3, 128, 128),
        SIGNED,
        -1.0,
        (("imagenet128", 53.6),),
    ),
    Entry(
        "mcu-proxyless",
        "training/mcu_proxyless_w0.3_128_w8.onnx",
        (1, 3, 128, 128),
        SIGNED,
        -1.0,
        (("imagenet128", 58.0),),
    ),
)


def _imagenet(data: Path, size: int) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    from PIL import Image

    folder = data / "restricted" / "imagenet"
    images, labels = [], []
    with (folder / "labels.csv").open(newline="") as f:
        for row in csv.DictReader(f):
            image = Image.open(folder / row["file"]).convert("RGB")
            if size != image.size[0]:
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            images.append(np.asarray(image))
            labels.append(int(row["class_1000"]))
    return np.stack(images), np.array(labels)


def _npz(path: Path, x: str, y: str) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    with np.load(path, allow_pickle=False) as z:
        return z[x], z[y].astype(np.int64)


@cache
def dataset(data: Path, name: str) -> tuple[NDArray[np.generic], NDArray[np.int64]] | None:
    """Images and labels by name, or None where the files are absent."""
    loaders: dict[str, Callable[[], tuple[NDArray[np.generic], NDArray[np.int64]]]] = {
        "vww_mit54": lambda: _npz(data / "datasets/vww/vww_mit54.npz", "x96", "y"),
        "vww_coco_dev": lambda: _npz(data / "restricted/vww/vww_coco_dev.npz", "x96", "y"),
        "vww80_mit54": lambda: _npz(data / "datasets/vww/vww_mit54.npz", "x80", "y"),
        "vww80_coco_dev": lambda: _npz(data / "restricted/vww/vww_coco_dev.npz", "x80", "y"),
        "cifar": lambda: _npz(data / "restricted/cifar/cifar10_test1000.npz", "x", "y"),
        "imagenet224": lambda: _imagenet(data, 224),
        "imagenet128": lambda: _imagenet(data, 128),
    }
    if name == "speech":
        path = data / "datasets/speech/speech_commands_dev.npz"
        if not path.exists():
            return None
        x, y = _npz(path, "mfcc", "y12")
        return x[:, None], y
    try:
        return loaders[name]()
    except FileNotFoundError:
        return None


def sample_inputs(entry: Entry, data: Path, count: int) -> F32:
    """``count`` real inputs where there is data, else seeded noise in the input's range."""
    for name, _ in entry.figures:
        found = dataset(data, name)
        if found is not None:
            return entry.inputs(found[0][:count])
    if entry.name == "ad":
        spectrogram = np.fromfile(data / "models/ad/normal_id_01_00000000_hist_librosa.bin", "<f4")
        frames = spectrogram.reshape(200, 128)
        windows = [frames[i : i + 5].reshape(1, 640) for i in range(0, 5 * count, 5)]
        return np.concatenate(windows).astype(np.float32)
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, *entry.shape[1:])).astype(np.float32)
