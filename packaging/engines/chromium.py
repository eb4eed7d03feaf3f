"""Open a page in headless Chromium, without a window, a profile of its own, and no network but this
machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"),
    *("--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--no-proxy-server"),
    *("--disable-default-apps", "--metrics-recording-only", "--disable-domain-reliability"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def missing() -> str | None:
    return None if _program() else "Chromium is not installed (apt-get install chromium)"


def command(url: str, profile: Path) -> list[str]:
    """The command line that opens ``url``; ``profile`` is an empty folder for it to use."""
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [_program() or PROGRAMS[0], *FLAGS, *root, f"--user-data-dir={profile}", url]


def _program() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)
