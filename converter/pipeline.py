"""Conversion from end to end, as a recipe.

    load -> passes -> rearrange -> lower -> pack -> plan -> write

Programs are checked between the stages, and the bytes are opened as a device would open them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from filigree.converter import (
    Converted,
    ConvertOptions,
    Progress,
    calibration,
    frontends,
    lowering,
    packfile,
    passes,
    reference,
)
from filigree.converter.errors import UsageError
from filigree.converter.lowering import bands, halves
from filigree.converter.lowering.check import check
from filigree.converter.lowering.plan import plan
from filigree.converter.lowering.program import INT4, LANES, Program
from filigree.converter.passes.graph import dims
from filigree.converter.quantize.job import Quantized, quantize
from filigree.converter.report import LayerReport, MemoryReport, Report
from filigree.converter.sparsity import Choice, CostTable, means, pack, rearrange, rounding

CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
TARGETS = ("host", "x86-64", "arm64", "wasm", *CORES)
CORE_LANES = 1  # their kernels are scalar or have masks, and memory is dear
INT8 = "int8"
STAGES = {
    "reading": 0.0,
    "simplifying": 0.1,
    "rearranging": 0.2,
    "lowering": 0.5,
    "packing": 0.6,
    "planning": 0.8,
    "writing": 0.9,
}
BLOCK_ROWS = 4  # what rearrangement aims at: pairs nest in it, and it in eights
SAMPLES = 16  # of real data, to see how large values become
SAME = 1e-9  # of the output range, in float64: what reordered sums may differ by


class _Stages:
    """Says which stage starts and keeps how long each took."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._stage = ""
        self._since = 0.0
        self.seconds: dict[str, float] = {}

    def start(self, stage: str) -> None:
        self.finish()
        self._stage, self._since = stage, time.perf_counter()
        if self._progress is not None:
            self._progress(stage, STAGES[stage])

    def finish(self) -> None:
        if self._stage:
            self.seconds[self._stage] = time.perf_counter() - self._since


def run(source: Path, options: ConvertOptions, *, progress: Progress | None) -> Converted:
    """``filigree.converter.convert``."""
    if options.target not in TARGETS:
        raise UsageError(f'no target "{options.target}"', [f"targets: {', '.join(TARGETS)}"])
    if options.bands not in bands.CHOICES:
        raise UsageError(f'no bands "{options.bands}"', [f"bands: {', '.join(bands.CHOICES)}"])
    _check_activations(options)
    stages = _Stages(progress)
    stages.start("reading")
    costs = _costs(options)
    quantized = _quantized(source, options) if options.dtype == INT8 else None
    if quantized is not None:
        model = quantized.model
    else:
        model = frontends.load(source, external_data=options.external_data)
    stages.start("simplifying")
    model = passes.run(
        model,
        batch=options.batch,
        shapes=dict(options.shapes),
        outputs=() if quantized is not None else options.outputs,
    )
    stages.start("rearranging")
    before = _lowered(model, source, options)
    arranged = _rearranged(model, options)
    stages.start("lowering")
    program = before
    if arranged is not None and arranged.orders:
        program = _lowered(model, source, options)
        _check_same(before, program)
    stages.start("packing")
    lowered = program
    program, choices = pack(
        lowered,
        costs=costs,
        pattern=options.pattern,
        objective=options.objective,
        dtype="float32" if quantized is not None else options.dtype,
        keep_float=() if quantized is not None else options.quantize.keep_float,
    )
    if options.dtype == INT4 and options.calib is not None:
        program = means.corrected(lowered, program, _samples(program, options))
    narrowed = _narrowed(program, options)
    program = narrowed.program
    check(program, "packed")
    stages.start("planning")
    program = plan(_banded(program, options))
    check(program, "planned")
    stages.start("writing")
    report = _report(program, choices, options, costs, arranged, narrowed.kept)
    if quantized is not None:
        report = report.with_quantized(quantized)
    program = dataclasses.replace(program, meta=_meta(program, source, options, report))
    data = packfile.encode(program)
    packfile.validate(data)
    stages.finish()
    return Converted(program, data, report, stages.seconds)


def _quantized(source: Path, options: ConvertOptions) -> Quantized:
    if options.calib is None:
        raise UsageError("int8 needs real inputs to be calibrated on", hint="--calib DATA")

    def load() -> ir.Model:
        return frontends.load(source, external_data=options.external_data)

    shapes = dict(options.shapes)
    simple = passes.run(
        load(), batch=options.batch, shapes=shapes, outputs=options.outputs, portable=True
    )
    shape = dims(simple.graph.inputs[0])[1:]
    return quantize(
        load,
        options.quantize,
        _prepared(options.calib, shape, options),
        batch=options.batch,
        shapes=shapes,
        outputs=options.outputs,
    )


def _prepared(
    path: Path, shape: tuple[int, ...], options: ConvertOptions, *, most: int | None = None
) -> calibration.Data:
    raw = calibration.load(path, shape=shape, most=most)
    return calibration.prepared(raw, mean=options.mean, scale=options.scale)


def _costs(options: ConvertOptions) -> CostTable:
    if options.cost_table is not None:
        return CostTable.load(options.cost_table)
    return CostTable.for_target(options.target, isa=options.isa)


def _banded(program: Program, options: ConvertOptions) -> Program:
    least = options.bands == "small" or (options.bands == "auto" and options.target in CORES)
    if least:
        return min((program, *bands.smaller(program)), key=_arena)
    if options.bands == "off":
        return program
    return min(bands.candidates(program, bands.CACHES[_family(options.target)]), key=_arena)


def _check_activations(options: ConvertOptions) -> None:
    if options.activations not in rounding.DTYPES:
        known = f"known: {', '.join(rounding.DTYPES)}"
        raise UsageError(f'no activations of "{options.activations}"', [known])
    if options.activations == "float32":
        return
    if options.dtype != options.activations:
        raise UsageError("activations of float16 need weights of float16", hint="--dtype float16")
    if _family(options.target) != "arm64":
        line = "they run on processors with armv8.2-a+fp16"
        raise UsageError("activations of float16 are for arm64", [line], hint="--target arm64")


def _narrowed(program: Program, options: ConvertOptions) -> halves.Narrowed:
    if options.activations == "float32":
        return halves.Narrowed(program, {})
    return halves.narrow(program, _samples(program, options))


def _samples(program: Program, options: ConvertOptions) -> list[list[NDArray[Any]]]:
    """Inputs to try the program on."""
    if options.calib is None:
        return [[*_noise(program)]]
    shape = program.inputs[0].shape
    found = _prepared(options.calib, shape[1:], options, most=SAMPLES * shape[0])
    return [[x] for x in found.batches(shape[0])]


def _noise(program: Program) -> list[NDArray[Any]]:
    draw = np.random.default_rng(0)
    return [
        draw.integers(0, 256, port.shape)
        if program.tensors[port.tensor].dtype == "uint8"
        else draw.standard_normal(port.shape)
        for port in program.inputs
    ]


def _arena(program: Program) -> int:
    planned = plan(program).plan
    return planned.arena_bytes if planned else 0


def _family(target: str) -> str:
    """The target that the host is."""
    if target != "host":
        return target
    return "arm64" if platform.machine().lower() in ("aarch64", "arm64") else "x86-64"


def _lowered(model: ir.Model, source: Path, options: ConvertOptions) -> Program:
    name = options.name if options.name is not None else source.stem
    lanes = CORE_LANES if options.target in CORES else LANES
    program = lowering.lower(model, name=name, input_layout=options.input_layout, lanes=lanes)
    check(program, "lowered")
    return program


def _rearranged(model: ir.Model, options: ConvertOptions) -> rearrange.Rearranged | None:
    if not options.rearrange or options.pattern in ("dense", "1x1"):
        return None
    rows = BLOCK_ROWS if options.pattern == "auto" else int(options.pattern.partition("x")[0])
    return rearrange.lossless(model, block_rows=rows, effort=options.effort)


def _check_same(before: Program, after: Program) -> None:
    """Both programs compute the same from seeded noise. Raises AssertionError: a bug."""
    inputs = _noise(before)
    pairs = zip(reference.run(before, *inputs), reference.run(after, *inputs), strict=True)
    for a, b in pairs:
        gap = float(np.abs(a - b).max()) / max(float(np.ptp(a)), float(np.abs(a).max()), 1e-30)
        if not gap <= SAME:
            raise AssertionError(f"rearrangement changed the function by {gap:.1e}")


def _report(
    program: Program,
    choices: list[Choice],
    options: ConvertOptions,
    costs: CostTable,
    arranged: rearrange.Rearranged | None,
    kept: dict[str, str],
) -> Report:
    return Report(
        name=program.name,
        target=options.target,
        costs=f"{costs.name}: {costs.provenance}",
        layers=tuple(LayerReport.of(choice) for choice in choices),
        memory=MemoryReport.of(program),
        rearranged=arranged.to_meta() if arranged is not None and arranged.orders else None,
        activations=options.activations,
        kept=kept,
    )


def _meta(
    program: Program, source: Path, options: ConvertOptions, report: Report
) -> dict[str, Any]:
    """The packed model's metadata; nothing in it depends on where or when it was made."""
    return {
        **program.meta,
        "producer": f"filigree {packfile.library_version()}",
        "source": _source(source),
        "target": options.target,
        "labels": list(options.labels),
        "preprocess": {
            "layout": options.input_layout,
            "mean": list(options.mean),
            "scale": list(options.scale),
            "size": list(options.size) if options.size else None,
        },
        "costs": report.costs,
        "layers": [layer.to_json() for layer in report.layers],
        "memory": dataclasses.asdict(report.memory),
        "rearranged": report.rearranged,
    }


def _source(path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return {"file": path.name, "sha256": digest.hexdigest(), "bytes": size}
