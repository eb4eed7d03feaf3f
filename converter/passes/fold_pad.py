"""Move zero padding into the convolutions that read it.

1. Pad in constant mode with value 0, whose pads are constants, none negative, none on N or C.
2. It is marked as its input is, if at all.
3. Every reader is a Conv with explicit padding; else the Pad stays and is run.
"""

from __future__ import annotations

import onnx_ir as ir

from filigree.converter.passes.graph import bypass, constant, dims, scalar
from filigree.converter.quantize.marks import mark_of


def apply(model: ir.Model) -> bool:
    """Fold every Pad that can be."""
    changed = False
    for node in list(model.graph):
        pads = _spatial_pads(node) if node.op_type == "Pad" else None
        if pads is None or node.inputs[0] is None:
            continue
        if mark_of(node.inputs[0]) != mark_of(node.outputs[0]):
            continue
        readers = [use.node for use in node.outputs[0].uses()]
        if node.outputs[0].is_graph_output() or not all(_takes(r, node) for r in readers):
            continue
        for reader in readers:
            old = _own_pads(reader, len(pads))
            both = [a + b for a, b in zip(old, pads, strict=True)]
            reader.attributes["pads"] = ir.AttrInt64s("pads", both)
            reader.attributes.pop("auto_pad", None)
        bypass(node, node.inputs[0])
        changed = True
    return changed


def _spatial_pads(node: ir.Node) -> list[int] | None:
    """begin..., end... over the spatial axes; None if the Pad does anything else."""
    if node.attributes.get_string("mode", "constant") != "constant":
        return None
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return None
    if "pads" in node.attributes:
        pads, value = (
            list(node.attributes.get_ints("pads", [])),
            node.attributes.get_float("value", 0.0),
        )
    else:
        array = constant(node.inputs[1])
        if array is None:
            return None
        given = node.inputs[2] if len(node.inputs) > 2 else None
        found = scalar(given) if given is not None else 0.0
        if found is None:
            return None
        pads, value = [int(p) for p in array], found
    half = len(pads) // 2
    if value != 0 or min(pads) < 0 or any(pads[:2]) or any(pads[half : half + 2]):
        return None
    return pads[2:half] + pads[half + 2 :]


def _own_pads(reader: ir.Node, count: int) -> list[int]:
    none = [0] * count
    is_valid = reader.attributes.get_string("auto_pad", "NOTSET") == "VALID"
    return none if is_valid else list(reader.attributes.get_ints("pads", none))


def _takes(reader: ir.Node, pad: ir.Node) -> bool:
    explicit = reader.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return (
        reader.op_type == "Conv"
        and explicit
        and reader.inputs[0] is pad.outputs[0]
        and len(dims(pad.outputs[0])) > 2
    )
