"""The npm packages that ``filigree bench --on node,chromium`` times against: pinned in
web/package.json and its lock file, kept in the user's cache folder. Nothing is fetched unasked:

    python -m filigree.packaging.npm

installs them, scripts of packages left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

from filigree.packaging import build
from filigree.packaging.errors import PackagingError, ToolMissing

WEB = Path(__file__).parent / "web"
LISTS = ("package.json", "package-lock.json")
COMMAND = "python -m filigree.packaging.npm"
NPM = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def pins() -> dict[str, str]:
    """Packages and their versions."""
    found: dict[str, str] = json.loads((WEB / LISTS[0]).read_text(encoding="utf-8"))["dependencies"]
    return found


def folder() -> Path:
    """The node_modules of these pins, there or not."""
    return build.cache_folder() / _path()


def absent(*packages: str) -> list[str]:
    """Those that are not installed, with the versions that are wanted."""
    return [f"{name} {pins()[name]}" for name in packages if not (folder() / name).is_dir()]


def need(*packages: str) -> None:
    """Raises ToolMissing with every package that is not installed."""
    if names := absent(*packages):
        verb = "is" if len(names) == 1 else "are"
        raise ToolMissing(f"{', '.join(names)} (npm) {verb} not installed", hint=COMMAND)


def install() -> Path:
    """Install what the lock file names, all or nothing; returns its node_modules.
    Raises ToolMissing, PackagingError."""
    npm = shutil.which("npm")
    if npm is None:
        raise ToolMissing("npm is not installed", hint="apt-get install npm")
    return build.cached(_path(), lambda made: _install(npm, made.parent))


def _install(npm: str, home: Path) -> None:
    for name in LISTS:
        shutil.copyfile(WEB / name, home / name)
    build.call([npm, "--prefix", str(home), *NPM], "npm ci")


def _path() -> Path:
    digest = hashlib.sha256(b"".join((WEB / name).read_bytes() for name in LISTS))
    return Path(f"npm-{digest.hexdigest()[:20]}") / "node_modules"


def main() -> int:
    try:
        home = install()
    except PackagingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{', '.join(f'{name} {version}' for name, version in pins().items())} in {home}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
