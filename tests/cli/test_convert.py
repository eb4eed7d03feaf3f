"""``filigree convert``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from filigree.native.model import load
from tests.cli.conftest import Cli, tiny_onnx


def test_writes_the_model_and_says_so(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.fil"
    done = cli("convert", onnx_file, "-o", out)
    assert (done.code, done.err) == (0, "")
    before, after = onnx_file.stat().st_size, out.stat().st_size
    lines = done.out.splitlines()
    ratio = f"{after / before:.2f}x"
    assert lines[0] == f"wrote {out}: {after:,} bytes, {ratio} tiny.onnx ({before:,})"
    assert re.fullmatch(r'arena [\d.]+ KiB, peak at ".+"', lines[1])
    assert re.match(r"(\d+ of \d+ layers are sparse|all \d+ layers stay dense)", lines[2])
    assert lines[4].split() == [
        "layer",
        "kind",
        "weights",
        "pattern",
        "sparsity",
        "fill",
        "bytes",
        "speed-up",
        "why",
    ]
    assert lines[-1] == f"next: filigree verify {out} --against {onnx_file}"


def test_same_input_same_bytes(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.fil", tmp_path / "b.fil"
    assert cli("convert", onnx_file, "-o", first).code == 0
    assert cli("convert", onnx_file, "-o", second).code == 0
    assert first.read_bytes() == second.read_bytes()


def test_json(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.fil"
    done = cli("convert", onnx_file, "-o", out, "--json", "--pattern", "4x1")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["written"] == str(out)
    assert found["bytes"] == out.stat().st_size
    assert found["arena_bytes"] >= found["arena_lower_bound"] > 0
    assert any(layer["pattern"] == "4x1" for layer in found["layers"])


def test_another_cost_table_by_name_and_by_file(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    from filigree.converter.sparsity.cost import TABLES

    named, filed = tmp_path / "named.fil", tmp_path / "filed.fil"
    file = TABLES / "arm64-a55.json"
    done = cli("convert", onnx_file, "-o", named, "--cost-table", "arm64-a55", "--json")
    assert done.code == 0
    assert json.loads(done.out)["costs"].startswith("arm64-a55: ")
    assert cli("convert", onnx_file, "-o", filed, "--cost-table", file).code == 0
    assert named.read_bytes() == filed.read_bytes()


def test_unknown_cost_tables(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    for given, problem in (
        ("z80", 'error: no cost table "z80" (nothing was written)\n'),
        ("nowhere.json", "error: nowhere.json does not exist (nothing was written)\n"),
    ):
        done = cli("convert", onnx_file, "-o", tmp_path / "m.fil", "--cost-table", given)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(problem)


def test_report_is_one_self_contained_page(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = cli("convert", onnx_file, "-o", tmp_path / "m.fil", "--report", page)
    text = page.read_text(encoding="utf-8")
    assert done.code == 0
    assert f"wrote {page}" in done.out.splitlines()
    assert text.startswith("<!doctype html>")
    for part in (
        "Layers",
        "Where the weights are",
        "Memory over the program",
        "<svg ",
        "data:image",
    ):
        assert part in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "http" not in text
    assert "<script" not in text


def test_missing_model(cli: Cli, tmp_path: Path) -> None:
    missing = tmp_path / "no.onnx"
    done = cli("convert", missing, "-o", tmp_path / "m.fil")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: {missing} does not exist (nothing was written)\n"


def test_all_problems_with_files_at_once(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "convert",
        tmp_path / "no.onnx",
        "-o",
        tmp_path,
        "--labels",
        tmp_path / "no.txt",
        "--report",
        tmp_path / "nowhere" / "page.html",
    )
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: 4 problems with the files given (nothing was written)\n"
        f"  {tmp_path / 'no.onnx'} does not exist\n"
        f"  {tmp_path / 'no.txt'} does not exist\n"
        f"  {tmp_path} is a folder, not a file to write\n"
        f"  {tmp_path / 'nowhere' / 'page.html'} cannot be written: the folder "
        f"{tmp_path / 'nowhere'} does not exist\n"
    )


def test_existing_output_needs_force(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.fil"
    out.write_bytes(b"precious")
    done = cli("convert", onnx_file, "-o", out)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: {out} exists already; --force overwrites it (nothing was written)\n"
    )
    assert out.read_bytes() == b"precious"
    assert cli("convert", onnx_file, "-o", out, "--force").code == 0
    assert out.read_bytes()[:4] == b"FIL1"


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"FIL1" + bytes(100)])
def test_wrong_file(cli: Cli, tmp_path: Path, content: bytes) -> None:
    wrong, out = tmp_path / "wrong.onnx", tmp_path / "m.fil"
    wrong.write_bytes(content)
    done = cli("convert", wrong, "-o", out)
    assert (done.code, done.out) == (7, "")
    first = done.err.splitlines()[0]
    assert first.startswith("error: ")
    assert "wrong.onnx" in first
    assert first.endswith("(nothing was written)")
    assert not out.exists()


def test_unsupported_operator(cli: Cli, tmp_path: Path) -> None:
    source = tiny_onnx(tmp_path / "odd.onnx", extra="Det")
    source = tiny_onnx(tmp_path / "odd.onnx", extra="Sin")
    out = tmp_path / "m.fil"
    done = cli("convert", source, "-o", out)
    assert (done.code, done.out) == (3, "")
    lines = done.err.splitlines()
    assert lines[0] == ("error: 1 operator in odd.onnx is not supported (nothing was written)")
    assert "Sin" in lines[1]
    assert "strange/Sin" in lines[1]
    assert lines[-1].startswith("  next: filigree inspect odd.onnx --ops")
    assert not out.exists()


def test_does_not_fit(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.fil"
    done = cli("convert", onnx_file, "-o", out, "--ram", "1KiB", "--flash", "1000")
    assert (done.code, done.out) == (4, "")
    lines = done.err.splitlines()
    assert re.fullmatch(
        r"error: model needs [\d.]+ KiB RAM, the target has 1.0 KiB and [\d.]+ KiB flash, "
        r"the target has 1000 B \(nothing was written\)",
        lines[0],
    )
    assert re.fullmatch(r'  peak at ".+": [\d.]+ KiB .+', lines[1])
    assert re.fullmatch(r'  largest weights: ".+", [\d.]+ KiB', lines[2])
    assert lines[3].startswith("  next: ")
    assert not out.exists()


def test_what_would_fit_is_proposed(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.fil"
    words = ["--target", "cortex-m7", "--ram", "11KiB", "--flash", "16KiB"]
    done = cli("convert", onnx_file, "-o", out, *words)
    assert (done.code, done.out) == (4, "")
    lines = done.err.splitlines()
    assert any(line.startswith("  beside the arena: ") for line in lines)
    assert lines[-1].startswith("  next: what would fit: ")
    assert "the model in int8 (about " in lines[-1]
    assert not out.exists()


def test_a_core_gets_planes_without_padding(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    lanes = []
    for target in ("host", "cortex-m4"):
        out = tmp_path / f"{target}.fil"
        words = ["--target", target, "--ram", "256KB", "--flash", "1MB"]
        assert cli("convert", onnx_file, "-o", out, *words).code == 0
        lanes.append(load(out).lanes)
    assert lanes == [16, 1]


def test_label_count_must_match(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n", encoding="utf-8")
    done = cli("convert", onnx_file, "-o", tmp_path / "m.fil", "--labels", labels)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f'error: {labels} has 2 labels, output "prob" 10 values (nothing was written)\n'
    )


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--shape", "x", "'x' is not NAME=SHAPE, such as input=1x3x96x96"),
        ("--shape", "x=0x3", "'0x3' is not a shape such as 1x3x96x96"),
        ("--mean", "1,two", "'1,two' is not a number or a comma-separated list of numbers"),
        ("--ram", "lots", "'lots' is not a size such as 262144, 256KB or 256KiB"),
    ],
)
def test_bad_options(
    cli: Cli, onnx_file: Path, tmp_path: Path, option: str, value: str, problem: str
) -> None:
    done = cli("convert", onnx_file, "-o", tmp_path / "m.fil", option, value)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: invalid value for '{option}': {problem}\n  next: filigree convert --help\n"
    )


def test_unknown_option_and_command(cli: Cli) -> None:
    done = cli("convert", "m.onnx", "-o", "m.fil", "--nonsense")
    assert done.code == 2
    assert re.match(r"error: no such option:? '?--nonsense", done.err)
    done = cli("nonsense")
    assert done.code == 2
    assert done.err == "error: no such command 'nonsense'\n  next: filigree --help\n"


def test_a_bug_is_short_and_debug_shows_it(
    cli: Cli, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filigree.converter as converter

    def broken(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(converter, "convert", broken)
    done = cli("convert", onnx_file, "-o", tmp_path / "m.fil")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: a bug in filigree: KeyError: 'lost'\n"
        "  next: the same command with --debug, and report what it prints\n"
    )
    done = cli("convert", onnx_file, "-o", tmp_path / "m.fil", "--debug")
    assert done.code == 1
    assert "Traceback" in done.err


def scattered(path: Path) -> Path:
    """The tiny network with the rows of its blocks far from each other."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load(tiny_onnx(path))
    tensor = next(t for t in model.graph.initializer if t.name == "w1")
    rows = np.arange(64).reshape(16, 4).T.reshape(-1)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[rows], "w1"))
    onnx.save(model, path)
    return path


def test_channels_are_reordered_unless_asked_not_to(cli: Cli, tmp_path: Path) -> None:
    source, out = scattered(tmp_path / "scattered.onnx"), tmp_path / "m.fil"
    done = cli("convert", source, "-o", out, "--pattern", "4x1")
    assert (done.code, done.err) == (0, "")
    line = next(text for text in done.out.splitlines() if "channels reordered" in text)
    found = re.fullmatch(
        r"(1 group|2 groups) of channels reordered: ([\d,]+) -> ([\d,]+) stored blocks of 4x1", line
    )
    assert found and int(found[3].replace(",", "")) < int(found[2].replace(",", ""))
    assert cli("verify", out, "--against", source).code == 0
    plain = tmp_path / "plain.fil"
    done = cli("convert", source, "-o", plain, "--pattern", "4x1", "--no-rearrange")
    assert (done.code, done.err) == (0, "")
    assert "channels reordered" not in done.out
    assert plain.stat().st_size > out.stat().st_size
    assert cli("verify", plain, "--against", source).code == 0


def test_reordering_as_json(cli: Cli, tmp_path: Path) -> None:
    source, out = scattered(tmp_path / "scattered.onnx"), tmp_path / "m.fil"
    args = ("convert", source, "-o", out, "--json", "--force", "--pattern", "4x1")
    found = json.loads(cli(*args).out)["rearranged"]
    assert found["block_rows"] == 4 and found["blocks_after"] < found["blocks_before"]
    assert json.loads(cli(*args, "--no-rearrange").out)["rearranged"] is None


def test_float16(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "m.fil", tmp_path / "page.html"
    done = cli("convert", onnx_file, "-o", out, "--dtype", "float16", "--report", page)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[2].endswith("; 3 in float16")
    assert lines[4].split()[6:8] == ["type", "bytes"]
    assert all(" float16 " in line for line in lines[5:8])
    assert "<td>float16</td>" in page.read_text(encoding="utf-8")
    layers = json.loads(cli("inspect", out, "--layers", "--json").out)["layers"]
    assert {layer["dtype"] for layer in layers} == {"float16"}
    assert cli("inspect", out, "--layers").out.splitlines()[0].endswith("; 3 in float16")


def test_int4(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.fil"
    done = cli("convert", onnx_file, "-o", out, "--dtype", "int4", "--json")
    assert (done.code, done.err) == (0, "")
    found = {layer["kind"]: layer for layer in json.loads(done.out)["layers"]}
    types = {kind: layer["dtype"] for kind, layer in found.items()}
    assert types == {"conv": "float16", "spmm4": "int4", "spmv4": "int4"}
    assert found["conv"]["rounding"].startswith("int4 is for fully connected and 1x1 layers")
    assert found["spmv4"]["rounding"].endswith(" dB over its error")
    assert "; 2 in int4; 1 in float16" in cli("inspect", out, "--layers").out.splitlines()[0]
    assert cli("verify", out, "--against", onnx_file).code == 0


def test_int4_with_real_inputs(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out, other, data = tmp_path / "m.fil", tmp_path / "other.fil", tmp_path / "x.npz"
    done = cli("convert", onnx_file, "-o", out, "--dtype", "int4")
    assert (
        "with real inputs (--calib DATA) biases make up for part of what int4 changes" in done.out
    )
    np.savez(data, x=np.random.default_rng(0).random((8, 3, 8, 8)).astype(np.float32))
    done = cli("convert", onnx_file, "-o", other, "--dtype", "int4", "--calib", data)
    assert (done.code, done.err) == (0, "") and "--calib" not in done.out
    assert out.stat().st_size == other.stat().st_size
    assert out.read_bytes() != other.read_bytes()
    assert cli("verify", other, "--against", onnx_file).code == 0


def test_int4_but_for_layers_by_name(cli: Cli, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.fil"
    done = cli("convert", onnx_file, "-o", out, "--dtype", "int4", "--keep-float", "point,nose*")
    assert done.code == 2 and not out.exists()
    assert 'no layer is called "nose*"' in done.err


def test_a_layer_that_float16_cannot_hold_stays_float32(cli: Cli, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    source, out = tiny_onnx(tmp_path / "large.onnx"), tmp_path / "m.fil"
    model = onnx.load(source)
    weights = next(w for w in model.graph.initializer if w.name == "w0")
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 1e6, "w0"))
    onnx.save(model, source)
    done = cli("convert", source, "-o", out, "--dtype", "float16", "--json")
    assert done.code == 0
    found = {layer["node"]: layer for layer in json.loads(done.out)["layers"]}
    stem = next(layer for node, layer in found.items() if node.startswith("stem"))
    assert stem["dtype"] == "float32" and "is over float16's 65504" in stem["rounding"]
    assert sorted(layer["dtype"] for layer in found.values()) == ["float16", "float16", "float32"]
    assert cli("verify", out, "--against", source).code == 0
