"""The memory of one process that loads a network and runs it once, for ``tests.models.memory``:

    python -m tests.models.peak_memory ENGINE MODEL

Prints JSON: bytes resident after the engine was imported, and at the peak (VmHWM). LiteRT also says
how long its arena is: the addresses from the first to the last activation tensor with delegates
off, in and outputs and scratch between them included. Nothing else is imported here.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def resident(field: str, status: Path = STATUS) -> int:
    """``VmRSS`` or ``VmHWM`` of a process in bytes. Raises ValueError if there is no such field."""
    found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{status} has no {field}")
    return 1024 * int(found[1])


def reset_peak() -> None:
    """Let VmHWM start from what is resident now: importing may take more for a moment."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def filigree() -> Callable[[str], dict[str, int]]:
    import numpy as np

    from filigree.native.model import load

    def run(path: str) -> dict[str, int]:
        model = load(path)
        model.run(*[np.zeros(port.shape, np.float32) for port in model.inputs])
        return {}

    return run


def onnxruntime() -> Callable[[str], dict[str, int]]:
    import numpy as np
    import onnxruntime as ort

    def run(path: str) -> dict[str, int]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        ports = session.get_inputs()
        session.run(None, {p.name: np.zeros(_fixed(p.shape), np.float32) for p in ports})
        return {}

    return run


def _fixed(dims: list[Any]) -> list[int]:
    return [dim if isinstance(dim, int) else 1 for dim in dims]


def openvino() -> Callable[[str], dict[str, int]]:
    import numpy as np
    import openvino as ov

    def run(path: str) -> dict[str, int]:
        core = ov.Core()
        read = core.read_model(path)
        shapes = {p.any_name: [d.get_length() if d.is_static else 1 for d in p.partial_shape]
                  for p in read.inputs}  # fmt: skip
        read.reshape(shapes)
        options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(read, "CPU", options)
        inputs = [np.zeros(shape, np.float32) for shape in shapes.values()]
        compiled.create_infer_request().infer(dict(enumerate(inputs)))
        return {}

    return run


def litert() -> Callable[[str], dict[str, int]]:
    from ai_edge_litert.interpreter import Interpreter

    def run(path: str) -> dict[str, int]:
        _ran(Interpreter(model_path=path, num_threads=1))
        return {}

    return run


def litert_arena() -> Callable[[str], dict[str, int]]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def run(path: str) -> dict[str, int]:
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(path, num_threads=1, experimental_op_resolver_type=plain)
        _ran(interpreter)
        ops = interpreter._get_ops_details()  # the public list has tensors without memory
        tensors = {index for op in ops for index in op["outputs"]}
        tensors |= {details["index"] for details in interpreter.get_input_details()}
        spans = []
        for index in tensors:
            array = interpreter.tensor(index)()
            spans.append((array.__array_interface__["data"][0], array.nbytes))
        start, end = min(at for at, _ in spans), max(at + size for at, size in spans)
        return {"arena": end - start}

    return run


def _ran(interpreter: Any) -> None:
    import numpy as np

    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    interpreter.invoke()


ENGINES = {
    "filigree": filigree,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "litert": litert,
    "litert-arena": litert_arena,
}


def main() -> None:
    engine, path = sys.argv[1:3]
    run = ENGINES[engine]()
    reset_peak()
    imported = resident("VmRSS")
    more = run(path)
    print(json.dumps({"imported": imported, "peak": resident("VmHWM"), **more}))


if __name__ == "__main__":
    main()
