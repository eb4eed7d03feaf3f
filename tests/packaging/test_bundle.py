"""Bundles are the same bytes every time and need nothing but themselves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from filigree.native.model import Model
from filigree.packaging.bundle import UnknownPlatform, bundle
from tests.conftest import need
from tests.packaging.conftest import F32


@pytest.fixture
def packed(sample: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.fil"
    path.write_bytes(sample)
    return path


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> Path:
    archive = bundle(packed, tmp_path / "tiny.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "empty", filter="data")
    return tmp_path / "empty" / "tiny"


def make(folder: Path, *words: str) -> None:
    need("make", shutil.which("make") is not None, "make is not installed (apt-get install make)")
    clean = {"PATH": os.environ["PATH"]}
    command = ["make", "--silent", "-j2", *words]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_same_bytes_whatever_the_time_and_place(packed: Path, tmp_path: Path) -> None:
    first = bundle(packed, tmp_path / "a.tar.gz").read_bytes()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = Path(shutil.copy(packed, elsewhere))
    os.utime(again, (1, 1))
    assert bundle(again, elsewhere / "b.tar.gz").read_bytes() == first


def test_members_have_no_owner_and_no_time(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(bundle(packed, tmp_path / "a.tar.gz")) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "", "", 0o644)
    }


def test_manifest_lists_every_file(unpacked: Path) -> None:
    listed = json.loads((unpacked / "manifest.json").read_text())["files"]
    hashes = {row["path"]: (row["bytes"], row["sha256"]) for row in listed}
    there = [p for p in unpacked.rglob("*") if p.is_file() and p.name != "manifest.json"]
    assert hashes == {
        p.relative_to(unpacked).as_posix(): (
            p.stat().st_size,
            hashlib.sha256(p.read_bytes()).hexdigest(),
        )
        for p in there
    }
    assert {"model.fil", "main.c", "Makefile", "kernels/spmm/ref.c", "hosted/team.c"} <= set(hashes)


@pytest.mark.parametrize("words", [(), ("ISAS=",)], ids=["every-isa", "portable"])
def test_builds_alone_and_runs(
    gcc: str, unpacked: Path, sample: bytes, image: F32, words: tuple[str, ...]
) -> None:
    strict = "CFLAGS=-O2 -Wall -Wextra -Wshadow -Wvla -Werror"
    make(unpacked, f"CC={gcc}", strict, *words)
    image.tofile(unpacked / "in")
    want = np.ravel(Model.from_bytes(sample).run(image))
    for threads in ("1", "3"):
        run = [unpacked / "example", "model.fil", "in", threads]
        done = subprocess.run(run, cwd=unpacked, capture_output=True, text=True, check=True)
        got = np.array(done.stdout.split(), np.float32)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_unknown_platform_writes_nothing(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownPlatform) as unknown:
        bundle(packed, tmp_path / "out", platform="toaster")
    assert str(unknown.value) == 'no bundle for "toaster"\n  platforms: c'
    assert not (tmp_path / "out").exists()
