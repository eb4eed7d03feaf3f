"""A short libFuzzer run of the loader: FILIGREE_FUZZ_SECONDS (10)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import need
from tests.native import build, tiny

# The peak of memory that the fuzzer looks at is, at first, that of the process that starts it.
SMALL_PARENT = ("sh", "-c", '"$@"; exit $?', "sh")
SECONDS = int(os.environ.get("FILIGREE_FUZZ_SECONDS", "10"))


def fuzzing_clang(folder: Path) -> str | None:
    """A clang whose fuzzer runtime is installed."""
    source = folder / "probe.c"
    source.write_text("int LLVMFuzzerTestOneInput(const char *p, long n) { return !p && n; }\n")
    flags = ["-fsanitize=fuzzer,address,undefined", str(source), "-o", str(folder / "probe")]
    for name in ("clang-19", "clang", "clang-14"):
        clang = build.find_tool(name)
        if (
            clang
            and not subprocess.run([clang, *flags], capture_output=True, check=False).returncode
        ):
            return clang
    return None


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clang = fuzzing_clang(tmp_path_factory.mktemp("probe"))
    need(
        "fuzzer",
        clang is not None,
        "no clang with its fuzzer runtime (apt install clang libclang-rt-14-dev)",
    )
    need("cmake", build.find_tool("cmake") is not None, "cmake is not installed")
    return build.cmake("native-fuzz", f"-DCMAKE_C_COMPILER={clang}", "-DFIL_FUZZ=ON") / "fuzz_open"


def test_fuzz_open(target: Path, tmp_path: Path) -> None:
    corpus, findings = tmp_path / "corpus", tmp_path / "findings"
    corpus.mkdir()
    findings.mkdir()
    for lanes in (1, 4, 16):
        (corpus / f"sample{lanes}").write_bytes(tiny.sample(lanes=lanes).encode())
        (corpus / f"band{lanes}").write_bytes(tiny.band(lanes=lanes).encode())
        (corpus / f"pixels{lanes}").write_bytes(tiny.pixels(lanes=lanes).encode())
        half = tiny.sample(lanes=lanes, half=True).encode()
        (corpus / f"half{lanes}").write_bytes(half)
        four = tiny.sample(lanes=lanes, four=True).encode()
        (corpus / f"four{lanes}").write_bytes(four)
        (corpus / f"fours{lanes}").write_bytes(tiny.pixels(lanes=lanes, four=True).encode())
        (corpus / f"eight{lanes}").write_bytes(tiny.eight(lanes=lanes).encode())
    (corpus / "one_op").write_bytes(tiny.one_op().encode())
    (corpus / "converted").write_bytes(tiny.converted().encode())
    done = subprocess.run(
        [
            *SMALL_PARENT,
            str(target),
            str(corpus),
            f"-max_total_time={SECONDS}",
            "-max_len=8192",
            "-timeout=5",
            "-rss_limit_mb=1024",
            f"-artifact_prefix={findings}/",
            "-print_final_stats=1",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert not list(findings.iterdir())
