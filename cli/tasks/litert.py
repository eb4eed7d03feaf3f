"""TFLite models in LiteRT: as the original to compare with, and as a peer to time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filigree.cli.tasks.packed import F32
from filigree.converter.errors import BadFile, ToolMissing, UsageError

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class TfliteModel:
    """A model in LiteRT, one thread; ``plain``: TFLite's own kernels instead of XNNPACK's. Weights
    of eight bits between float32 activations are unfolded first, as they are in conversion: LiteRT
    would round the activations to eight bits as well.

    Raises ToolMissing, BadFile if LiteRT cannot load the model, UsageError for other inputs.
    """

    engine = "LiteRT"

    def __init__(self, source: Path, *, plain: bool = False) -> None:
        self.name = source.name
        data = _unfolded(source.read_bytes())
        self._interpreter = interpreter(data, self.name, keep=plain)
        self.outputs = [str(d["name"]) for d in self._interpreter.get_output_details()]

    def run(self, arrays: list[F32]) -> list[F32]:
        """All outputs, float32."""
        return run(self._interpreter, arrays, self.name)


def interpreter(data: bytes, name: str, *, threads: int = 1, keep: bool = False) -> Any:
    """A model of these bytes, ready to run; ``keep``: every value, computed by plain kernels.

    Raises ToolMissing, or BadFile if LiteRT cannot load it.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise ToolMissing(
            "ai-edge-litert is not installed", hint="pip install ai-edge-litert"
        ) from error
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep else OpResolverType.AUTO
    try:
        found = Interpreter(
            model_content=data,
            num_threads=threads,
            experimental_op_resolver_type=plain,
            experimental_preserve_all_tensors=keep,
        )
        found.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BadFile(f"LiteRT cannot load {name}", [_first_line(error)]) from error
    return found


def run(loaded: Any, inputs: Sequence[F32], name: str) -> list[F32]:
    """Run once; all outputs, float32. Raises UsageError for inputs that do not fit."""
    details = loaded.get_input_details()
    if len(details) != len(inputs):
        raise UsageError(f"{name} has {len(details)} inputs, the packed model {len(inputs)}")
    for port, x in zip(details, inputs, strict=True):
        loaded.set_tensor(port["index"], _fitted(x, port, name))
    loaded.invoke()
    ports = loaded.get_output_details()
    return [np.asarray(loaded.get_tensor(port["index"]), np.float32) for port in ports]


def values(source: Path, inputs: list[F32]) -> dict[str, NDArray[Any]]:
    """Every value that an operator makes, by the names and in the order that conversion gives it:
    of integers also by that of the float that they were rounded from."""
    from filigree.converter.frontends import tflite
    from filigree.converter.frontends.tflite.file import read
    from filigree.converter.frontends.tflite.graph import held

    data = _unfolded(source.read_bytes())
    graph = read(data)
    loaded = interpreter(data, source.name, keep=True)
    run(loaded, inputs, source.name)
    made = [i for op in graph.operators for i in op.outputs]
    found = {graph.tensors[i].name: held(np.asarray(loaded.get_tensor(i))) for i in made}
    for node in tflite.load(source).graph:
        if node.op_type == "QuantizeLinear" and node.inputs[0] is not None:
            name = (node.outputs[0].name or "").removesuffix(".nchw")
            if name in found and node.inputs[0].name:
                found.setdefault(node.inputs[0].name, found[name])
    return found


def _unfolded(data: bytes) -> bytes:
    """The file with weights in float32 wherever they meet float32 activations."""
    from filigree.converter.frontends.tflite.file import read

    graph = read(data)
    found = {
        op.inputs[1]
        for op in graph.operators
        if op.kind in WEIGHTED and graph.tensors[op.inputs[0]].dtype == np.float32
    }
    tensors = {i: graph.tensors[i] for i in found if graph.tensors[i].dtype == np.int8}
    if not tensors:
        return data
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for i, tensor in tensors.items():
        if tensor.data is None or tensor.quantization is None:
            continue
        shape = [-1 if a == tensor.quantization.axis else 1 for a in range(len(tensor.shape))]
        scale = tensor.quantization.scale.reshape(shape)
        zero = tensor.quantization.zero_point.reshape(shape)
        buffer = schema.BufferT()
        real = ((tensor.data.astype(np.float32) - zero) * scale).astype(np.float32)
        buffer.data = np.frombuffer(real.tobytes(), np.uint8)
        model.buffers.append(buffer)
        stored = model.subgraphs[0].tensors[i]
        stored.type, stored.buffer = schema.TensorType.FLOAT32, len(model.buffers) - 1
        stored.quantization = stored.sparsity = None
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), data[4:8])
    return bytes(builder.Output())


def _fitted(x: F32, port: Mapping[str, Any], model: str) -> F32:
    wanted = tuple(int(n) for n in port["shape"])
    if port["dtype"] != x.dtype:
        raise UsageError(f"{model} takes {port['dtype'].__name__}, the packed model {x.dtype}")
    if x.shape == wanted:
        return x
    turned = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
    if turned.shape != wanted:
        raise UsageError(f"{model} takes {wanted}, the packed model {x.shape}")
    return np.ascontiguousarray(turned)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
