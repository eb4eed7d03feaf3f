"""The findings of ``filigree doctor``. Nothing is installed or downloaded."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FAILED = "self-test failed, or not in this build"
MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One thing looked for: ``state`` is a version, "present", "missing" or a failure; ``install``
    is empty where nothing needs doing."""

    area: str
    name: str
    state: str
    enables: str
    install: str = ""


CPU_FLAGS = {
    "neon": "asimd",
    "neon_dotprod": "asimddp",
    "neon_fp16": "asimdhp",
    "avx2": "avx2",
    "avx512": "avx512f",
}  # as /proc/cpuinfo names them

# (package, what it enables, extra of filigree that brings it)
PACKAGES = (
    ("numpy", "everything", ""),
    ("cffi", "everything", ""),
    ("click", "the command line", ""),
    ("onnx", "convert, inspect", "convert"),
    ("onnx-ir", "convert, inspect", "convert"),
    ("onnxscript", "convert, inspect", "convert"),
    ("tflite", "convert, inspect .tflite", "convert"),
    ("scipy", "convert", "convert"),
    ("onnxruntime", "verify, bench --vs onnxruntime", "convert"),
    ("ai-edge-litert", "verify --against .tflite, bench --vs litert", "peers"),
    ("pillow", "run on images", "convert"),
    ("rich", "progress bars", "convert"),
    ("torch", "finetune", "train"),
    ("wasmtime", "verify --on wasm (wasmtime)", "emulate"),
    ("ziglang", "compiling for arm64, wasm, Cortex-M", "cross"),
)

# (programs of which one is enough, what they enable, Debian package)
TOOLS = (
    (
        ("qemu-aarch64", "qemu-aarch64-static"),
        "verify --on arm64, armv7, riscv64, count",
        "qemu-user",
    ),
    (("aarch64-linux-gnu-gcc",), "verify --on arm64 without ziglang", "gcc-aarch64-linux-gnu"),
    (
        ("qemu-system-arm",),
        "verify, run, count, bench --on cortex-m4 and others",
        "qemu-system-arm",
    ),
    (("node",), "verify --on wasm, bench --on node", "nodejs"),
    (("npm",), "bench --on node,chromium --vs ...", "npm"),
    (("chromium", "chromium-browser", "google-chrome"), "bench --on chromium", "chromium"),
    (("clang-19", "clang"), "compiling for wasm without ziglang", "clang-19 lld-19"),
    (("wasm-ld-19", "wasm-ld"), "linking for wasm without ziglang", "lld-19"),
    (("gcc", "cc"), "building filigree from source", "gcc"),
    (("cmake",), "building filigree from source", "cmake"),
)


def checkup() -> list[Finding]:
    """Every finding, in the order in which a user should read them."""
    return [*_machine(), *_isas(), *_packages(), *_tools()]


def _machine() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        Finding("machine", "processor", _cpu(), f"{cores} usable cores"),
        Finding(
            "machine", "system", f"{platform.system()} {platform.machine()}", "the host target"
        ),
        Finding("machine", "python", platform.python_version(), "everything"),
    ]


def _cpu() -> str:
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _isas() -> list[Finding]:
    """The runtime calls an instruction set present only once its kernels have passed a test."""
    from filigree.cli.tasks.isas import known_isas
    from filigree.native.model import isas

    present = [*isas(), *isas("float16")]
    findings = []
    for isa in known_isas():
        chosen = " (the default)" if isa == present[-1] else ""
        if isa in present:
            use = f"FILIGREE_ISA={isa}{chosen}"
            findings.append(Finding("instruction sets", isa, "ok, self-test passed", use))
        else:
            state = FAILED if CPU_FLAGS.get(isa, "-") in _cpu_flags() else "not on this machine"
            findings.append(Finding("instruction sets", isa, state, ""))
    return findings


def _cpu_flags() -> set[str]:
    lines = [line.split(":", 1)[1] for line in _cpuinfo() if line.startswith(("flags", "Features"))]
    return set(lines[0].split()) if lines else set()


def _cpuinfo() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []


def _packages() -> list[Finding]:
    findings = []
    for name, enables, extra in PACKAGES:
        try:
            state, install = importlib.metadata.version(name), ""
        except importlib.metadata.PackageNotFoundError:
            state = MISSING
            install = f'pip install "filigree[{extra}]"' if extra else f"pip install {name}"
        findings.append(Finding("Python packages", name, state, enables, install))
    return findings


def _tools() -> list[Finding]:
    findings = []
    for programs, enables, package in TOOLS:
        path = next((found for name in programs if (found := shutil.which(name))), None)
        state = _version(path) if path else MISSING
        install = "" if path else f"apt-get install {package}"
        findings.append(Finding("emulators and compilers", programs[0], state, enables, install))
    return findings


def _version(path: str) -> str:
    """The first line of ``--version``, shortened to what looks like the version."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "present, does not run"
    first = (done.stdout or done.stderr).strip().splitlines()[:1]
    words = [word for line in first for word in line.split() if word.lstrip("v")[:1].isdigit()]
    return words[0].strip("(),") if words else "present"
