"""Open packed models and ONNX Runtime sessions, and make inputs for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filigree.converter.errors import BadFile, UsageError
from filigree.native.model import BadFile as Refused
from filigree.native.model import Model, Port, load

if TYPE_CHECKING:
    from filigree.converter.lowering.program import Port as ProgramPort
    from filigree.converter.lowering.program import Program, Tensor

F32 = NDArray[np.float32]
KINDS = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


def open_packed(path: Path, *, isa: str | None = None, threads: int = 1) -> Model:
    """The packed model at ``path``. Raises the runtime's BadFile, or UsageError for ``isa``."""
    try:
        return load(path, isa=isa, threads=threads)
    except ValueError as error:  # an instruction set that is not here, or not for this file
        raise UsageError(str(error), hint="filigree doctor lists what is present") from error


def isa_here(path: Path) -> str | None:
    """The instruction set that runs the packed model at ``path`` here; None: there is none. Raises
    what open_packed raises for a file that is not valid."""
    try:
        return open_packed(path).isa
    except Refused as error:
        if error.status != "E_ISA":
            raise
        return None


def open_program(path: Path) -> Program:
    """The packed model at ``path`` as a program, for reports."""
    from filigree.converter import packfile

    return packfile.decode(path.read_bytes())


def inputs_of(program: Program) -> list[Port]:
    """The inputs as a model that is opened has them."""
    return [_port(p, program.tensors[p.tensor]) for p in program.inputs]


def _port(port: ProgramPort, tensor: Tensor) -> Port:
    quant = tensor.quant
    scales = (0.0, 0) if quant is None else (quant.scale, quant.zero)
    return Port(port.name, port.shape, tensor.dtype, *scales)


def halves(program: Program) -> int:
    """How many layers are stored in float16."""
    packings = [weights.packing for weights in program.weights.values()]
    return sum(p is not None and p.values.dtype == np.float16 for p in packings)


def fours(program: Program) -> int:
    """How many layers are stored in int4."""
    packings = [weights.packing for weights in program.weights.values()]
    return sum(p is not None and p.dtype == "int4" for p in packings)


def has_int8(program: Program) -> bool:
    """Whether anything of the program is computed in int8."""
    from filigree.converter.lowering.program import FLOAT_KINDS

    return any(op.kind in FLOAT_KINDS for op in program.ops)


def whole_int8(program: Program) -> bool:
    """Whether all of it is computed in int8, copies that convert apart: then every processor makes
    the same bits."""
    from filigree.converter.lowering.program import FLOAT_KINDS

    plain = all(op.kind in FLOAT_KINDS or op.is_plain_copy for op in program.ops)
    return plain and has_int8(program)


def steps_of(program: Program) -> tuple[float, ...]:
    """What the numbers of each output are apart; empty if any of them is a float to the last."""
    steps = tuple(step_of(program, port) for port in program.outputs)
    return steps if all(steps) else ()


def as_integers(x: NDArray[Any], port: Port) -> NDArray[Any]:
    """Floats as the nearest integers that stand for them at an int8 or uint8 port."""
    info = np.iinfo(port.dtype)
    steps = np.rint(np.asarray(x, np.float32) / np.float32(port.scale)) + port.zero
    return np.asarray(np.clip(np.nan_to_num(steps), info.min, info.max), port.dtype)


def is_bytes(port: Port) -> bool:
    """Whether a port's integers are bytes that stand for themselves: pixels."""
    return port.dtype == "uint8" and (port.scale, port.zero) == (1.0, 0)


def as_floats(q: NDArray[Any], port: Port) -> F32:
    """What the numbers of a port stand for, float32."""
    if port.dtype == "float32":
        return q
    return ((q.astype(np.float32) - port.zero) * np.float32(port.scale)).astype(np.float32)


def step_of(program: Program, port: ProgramPort) -> float:
    """What the numbers of an output are apart that was int8 last, as the caller has them: 1 for
    integers; 0 if it was never int8."""
    if program.tensors[port.tensor].quant is not None:
        return 1.0
    made = (op for op in program.ops if op.output == port.tensor and op.inputs)
    quants = (program.tensors[op.inputs[0]].quant for op in made)
    return max((q.scale for q in quants if q is not None), default=0.0)


def shapes(model: Model) -> list[tuple[int, ...]]:
    """The shapes of a model's inputs."""
    return [tuple(port.shape) for port in model.inputs]


def random_inputs(ports: Sequence[Port], *, seed: int) -> list[NDArray[Any]]:
    """Seeded values, one array per input: normal, or integers of the whole range."""
    draw = np.random.default_rng(seed)
    return [_drawn(draw, port) for port in ports]


def _drawn(draw: np.random.Generator, port: Port) -> NDArray[Any]:
    if port.dtype != "float32":
        info = np.iinfo(port.dtype)
        return draw.integers(info.min, info.max, port.shape, dtype=port.dtype, endpoint=True)
    return draw.standard_normal(port.shape).astype(np.float32)


def many(result: Any) -> list[F32]:
    """A model's result as a list, whether it has one output or several."""
    return list(result) if isinstance(result, tuple | list) else [result]


@dataclass(frozen=True)
class OnnxPort:
    """An input of an ONNX model: its name and its elements' type as ONNX Runtime says it."""

    name: str
    kind: str
    dims: tuple[Any, ...]


class OnnxModel:
    """An ONNX Runtime session.

    Raises UsageError if onnxruntime cannot take the model; inputs that differ from the model's only
    by NHWC against NCHW are transposed.
    """

    engine = "ONNX Runtime"

    def __init__(self, source: Path | bytes, *, name: str | None = None, threads: int = 1) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        self.name = name or (source.name if isinstance(source, Path) else "the model")
        given = source if isinstance(source, bytes) else str(source)
        try:
            self.session = ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base for its exceptions
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadFile(f"ONNX Runtime cannot load {self.name}", [first]) from error
        self.inputs = [
            OnnxPort(port.name, port.type, tuple(port.shape)) for port in self.session.get_inputs()
        ]
        self.outputs = [port.name for port in self.session.get_outputs()]

    def feed(self, arrays: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The arrays by input name, in the model's own layout."""
        if len(arrays) != len(self.inputs):
            raise UsageError(
                f"{self.name} has {len(self.inputs)} inputs, the packed model {len(arrays)}"
            )
        pairs = zip(self.inputs, arrays, strict=True)
        return {port.name: _in_layout(array, port, self.name) for port, array in pairs}

    def run(self, arrays: list[NDArray[Any]]) -> list[F32]:
        """All outputs, float32."""
        results = self.session.run(None, self.feed(arrays))
        return [np.asarray(result, dtype=np.float32) for result in results]


def _in_layout(array: NDArray[Any], port: OnnxPort, model: str) -> NDArray[Any]:
    if KINDS.get(port.kind) != array.dtype.name:
        found = KINDS.get(port.kind, port.kind)
        raise UsageError(
            f'input "{port.name}" of {model} is {found}, the packed model takes {array.dtype.name}'
        )
    if _matches(array.shape, port.dims):
        return array
    for axes in ((0, 3, 1, 2), (0, 2, 3, 1)):
        if array.ndim == 4 and _matches(tuple(array.shape[axis] for axis in axes), port.dims):
            return np.ascontiguousarray(array.transpose(axes))
    wanted = "x".join(str(dim) for dim in port.dims)
    given = "x".join(str(dim) for dim in array.shape)
    raise UsageError(f'input "{port.name}" of {model} is {wanted}, the packed model takes {given}')


def _matches(shape: tuple[int, ...], dims: tuple[Any, ...]) -> bool:
    if len(shape) != len(dims):
        return False
    return all(
        not isinstance(want, int) or have == want for have, want in zip(shape, dims, strict=True)
    )
