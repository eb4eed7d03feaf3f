"""A server on this machine's loopback that hands files to a page or a script and takes in what it
posts. Pages are cross-origin isolated: their clock is finer, and they may share memory."""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
}
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Desk:
    """``roots`` maps the first part of a URL's path to a folder; nothing outside is served.
    ``posted`` holds (path, JSON document) in the order of arrival."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self.posted: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._server = _Server(("127.0.0.1", 0), _handler(roots, self.posted))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Desk:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Does not mind an engine that is ended in the middle of a request."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(
    roots: Mapping[str, Path], posted: queue.Queue[tuple[str, Any]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = _file(roots, self.path)
            if path is None:
                self._answer(404, b"", "text/plain")
            else:
                kind = TYPES.get(path.suffix, "application/octet-stream")
                self._answer(200, path.read_bytes(), kind)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            posted.put((self.path.strip("/"), json.loads(body)))
            self._answer(200, b"{}", "application/json")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: standard error is for the user."""

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            for name, value in ISOLATED.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _file(roots: Mapping[str, Path], url: str) -> Path | None:
    root, _, rest = url.partition("?")[0].lstrip("/").partition("/")
    if root not in roots:
        return None
    folder = roots[root].resolve()
    path = (folder / rest).resolve()
    return path if path.is_relative_to(folder) and path.is_file() else None
