"""One entry group over HTTP, to this machine alone: what a viewer in a browser reads."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copyfileobj
from typing import Any
from urllib.parse import unquote, urlsplit

from emres.errors import UsageError

LOCALHOST = "127.0.0.1"

# Whatever a store holds is called so; no part begins with a dot, so none leads upwards or to what is hidden.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*\Z")


@dataclass(frozen=True)
class Served:
    """A folder that is being served.

    Parameters
    ----------
    url : str
        Where it is, with a random word that whoever was not told the address does not know.
    port : int
    """

    url: str
    port: int


@contextmanager
def served(folder: Path, origin: str | None = None) -> Iterator[Served]:
    """Serve a folder's files on this machine's own address (127.0.0.1), at a free port, for reading only.

    Parameters
    ----------
    folder : Path
        Only what lies in it is served; links that lead out of it are not followed.
    origin : str, optional
        The one web origin (``http://127.0.0.1:8080``) whose pages may read the files; none by default.

    Yields
    ------
    Served

    Raises
    ------
    UsageError
        If this machine allows no server.
    """
    word = secrets.token_urlsafe(16)
    try:
        server = ThreadingHTTPServer((LOCALHOST, 0), partial(_Handler, folder.resolve(), word, origin))
    except OSError as error:
        raise UsageError(f"no server can be started on {LOCALHOST}", got=error.strerror) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    port = server.server_address[1]
    try:
        yield Served(f"http://{LOCALHOST}:{port}/{word}", port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for files; anything else is refused by what it inherits."""

    protocol_version = "HTTP/1.1"
    server_version = "emres"
    sys_version = ""
    timeout = 60

    def __init__(self, folder: Path, word: str, origin: str | None, *rest: Any) -> None:
        self._folder, self._word, self._origin = folder, word, origin
        super().__init__(*rest)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = self._file()
        try:
            stream = path.open("rb") if path is not None else None
        except OSError:
            stream = None
        if path is None or stream is None:
            self._begin(HTTPStatus.NOT_FOUND, 0, "text/plain")
            return
        with stream:
            kind = "application/json" if path.suffix == ".json" else "application/octet-stream"
            self._begin(HTTPStatus.OK, path.stat().st_size, kind)
            if with_body:
                copyfileobj(stream, self.wfile)

    def _begin(self, status: HTTPStatus, length: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self._origin is not None:
            self.send_header("Access-Control-Allow-Origin", self._origin)
            self.send_header("Vary", "Origin")
        self.end_headers()

    def _file(self) -> Path | None:
        """Return the file that is asked for, if it lies in the folder and the one who asks was told the address."""
        # A page that gives its own name this machine's address would ask under that name.
        if self.headers.get("Host") != f"{LOCALHOST}:{self.server.server_address[1]}":  # type: ignore[index]
            return None
        word, *parts = unquote(urlsplit(self.path).path).removeprefix("/").split("/")
        if not secrets.compare_digest(word.encode(), self._word.encode()) or not all(map(_PART.match, parts)):
            return None
        path = self._folder.joinpath(*parts)
        return path if path.is_file() and path.resolve().is_relative_to(self._folder) else None

    def log_message(self, *_: Any) -> None:
        """Say nothing: a missing chunk is an empty one, not news."""
