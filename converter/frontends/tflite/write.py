"""A TFLite graph as an ONNX graph, operator by operator, checked against the shapes on file."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common

from filigree.converter.frontends.onnx import SOURCE
from filigree.converter.frontends.tflite.file import Faulty, Graph
from filigree.converter.frontends.tflite.graph import Builder, Contradiction, Refused, held_shape
from filigree.converter.frontends.tflite.operators import OPERATORS
from filigree.converter.passes import infer_shapes
from filigree.converter.passes.graph import dims


def write(graph: Graph, source: str) -> ir.Model:
    """The ONNX graph. Raises Faulty, with every operator that contradicts itself, and BadFile."""
    builder = Builder(graph)
    faults = []
    for op in graph.operators:
        builder.operator = op
        try:
            if op.kind not in OPERATORS:
                raise Refused("no such operator here")
            OPERATORS[op.kind].write(builder, op)
        except Refused as refused:
            builder.refuse(str(refused))
        except Contradiction as error:
            name = graph.tensors[op.outputs[0]].name
            faults.append(f'operator {op.index} ({op.kind}), which makes "{name}": {error}')
            builder.refuse("")
    if faults:
        raise Faulty(faults)
    model = builder.model()
    model.meta[SOURCE] = source
    common.RemoveUnusedNodesPass()(model)  # what only computes a shape, among others
    infer_shapes.apply(model)
    _check_shapes(model, builder)
    return model


def _check_shapes(model: ir.Model, builder: Builder) -> None:
    faults = []
    for node in model.graph:
        for value in node.outputs:
            if value.name not in builder.made or value.type is None:
                continue
            tensor = builder.tensors[builder.made[value.name]]
            if dims(value) != held_shape(tensor.shape):
                found = list(dims(value))
                faults.append(f'tensor "{tensor.name}" has shape {list(tensor.shape)}, not {found}')
    if faults:
        raise Faulty(faults)
