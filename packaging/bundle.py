"""Bundles: a packed model and the runtime in the form that a platform expects.

``c`` is a tar.gz with the C sources, an example and a Makefile. The same inputs give the same
bytes: names sorted, no times, no owners.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from filigree.packaging import sources
from filigree.packaging.errors import PackagingError

TEMPLATES = Path(__file__).parent / "templates"
MODEL = "model.fil"
MANIFEST = "manifest.json"
MANIFEST_VERSION = 1


class UnknownPlatform(PackagingError):
    """A platform that there is no bundle for (exit 2)."""

    exit_code = 2


def bundle(fil_path: Path, out_path: Path, *, platform: str = "c") -> Path:
    """Write the bundle of the packed model at ``fil_path`` to ``out_path``, atomically; returns
    ``out_path``. Raises UnknownPlatform, OSError."""
    make = PLATFORMS.get(platform)
    if make is None:
        known = ", ".join(sorted(PLATFORMS))
        raise UnknownPlatform(f'no bundle for "{platform}"', [f"platforms: {known}"])
    files = make(fil_path.stem, fil_path.read_bytes())
    files[MANIFEST] = manifest(fil_path.stem, platform, files)
    write_atomically(out_path, tar_gz(fil_path.stem, files))
    return out_path


def c_files(name: str, model: bytes) -> dict[str, bytes]:
    """Contents by path: the model, the runtime's sources, the example that uses them."""
    template = TEMPLATES / "c"
    library = [*sources.headers(), *sources.core(), *sources.simd(), *sources.hosted()]
    return {
        MODEL: model,
        **{path.relative_to(sources.native()).as_posix(): path.read_bytes() for path in library},
        **{path.name: (template / path.name).read_bytes() for path in template.iterdir()},
        "README.md": (template / "README.md").read_text().format(name=name).encode(),
        "isas.mk": isas_mk().encode(),
    }


def isas_mk() -> str:
    """Each instruction set's flags and each processor's instruction sets, as make variables."""
    rows = sources.processors()
    lines = [f"ISAS_{processor} := {' '.join(isas)}" for processor, isas in rows.items()]
    for isa in (isa for isas in rows.values() for isa in isas):
        flags = " ".join((*sources.isa_defines(isa), *sources.isa_flags(isa)))
        files = " ".join(p.relative_to(sources.native()).as_posix() for p in sources.simd(isa))
        lines += [f"FLAGS_{isa} := {flags}", f"HAVE_{isa} := {sources.have_define(isa)}"]
        lines += [f"SIMD_{isa} := {files}"]
    return "".join(f"{line}\n" for line in lines)


def manifest(name: str, platform: str, files: dict[str, bytes]) -> bytes:
    """JSON: what this is, what made it, and every file's size and SHA-256."""
    listed = [
        {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in sorted(files.items())
    ]
    about = {
        "manifest": MANIFEST_VERSION,
        "name": name,
        "platform": platform,
        "producer": f"filigree {importlib.metadata.version('filigree')}",
        "files": listed,
    }
    return (json.dumps(about, indent=1) + "\n").encode()


def tar_gz(folder: str, files: dict[str, bytes]) -> bytes:
    """The archive of ``files`` under ``folder``/."""
    raw = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{folder}/{path}")
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return raw.getvalue()


def write_atomically(path: Path, data: bytes) -> None:
    """The file appears whole or not at all: a temporary in the same folder, synced, renamed."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


PLATFORMS: dict[str, Callable[[str, bytes], dict[str, bytes]]] = {"c": c_files}
