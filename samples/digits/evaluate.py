"""Accuracy of a digits model, .onnx (ONNX Runtime) or .fil (filigree), on the test images.

python samples/digits/evaluate.py converter/data/digits_dense.onnx digits.fil
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
TEST = Path(__file__).resolve().parents[2] / "converter" / "data" / "digits_test.npz"


def load_test(path: Path = TEST) -> tuple[F32, NDArray[np.int64]]:
    """``x`` [450, 1, 16, 16] in 0..1 and ``y`` [450]."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["x"], arrays["y"]


def runner(path: Path) -> Callable[[F32], F32]:
    """A function from one image [1, 1, 16, 16] to its probabilities [1, 10]."""
    if path.suffix == ".fil":
        import filigree

        return filigree.load(path).run
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def accuracy(path: Path, x: F32, y: NDArray[np.int64]) -> float:
    """The fraction of images whose most probable digit is the right one."""
    run = runner(path)
    guesses = [int(np.argmax(run(x[i : i + 1]))) for i in range(len(x))]
    return float(np.mean(np.array(guesses) == y))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help=".onnx or .fil")
    parser.add_argument("--test", type=Path, default=TEST, help="digits_test.npz")
    options = parser.parse_args(arguments)
    x, y = load_test(options.test)
    for path in options.models:
        print(f"{path.name}: {100 * accuracy(path, x, y):.2f} % of {len(y)} images")


if __name__ == "__main__":
    main()
