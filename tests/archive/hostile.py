"""A local HTTP server that does to a client all that real ones do."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler", bytes], None]


@dataclass
class Server:
    """Serves ``files`` honestly, unless ``script`` has behaviours for a path: one a request, the last for ever."""

    files: dict[str, bytes] = field(default_factory=dict)
    script: dict[str, list[Behaviour]] = field(default_factory=dict)
    #: Path and headers of every request, in order.
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    etags: bool = True
    stopping: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def put(self, path: str, data: bytes, *behaviours: Behaviour) -> str:
        self.files[path], self.script[path] = data, list(behaviours)
        return self.url(path)

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        book: Server = self.server.book
        path = self.path.split("?")[0].lstrip("/")
        book.asked.append((self.path.lstrip("/"), dict(self.headers)))
        behaviours = book.script.get(path) or [serve]
        behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
        behaviour(self, book.files.get(path, b""))

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", *, promise: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if promise is None else promise))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def validators(handler: Handler, body: bytes) -> dict[str, str]:
    digest = hashlib.sha256(body).hexdigest()
    if handler.server.book.etags:
        return {"ETag": f'"{digest[:16]}"'}
    return {"Last_Modified": f"Mon, 01 Jan 2024 00:{int(digest[:4], 16) % 60:02d}:00 GMT"}


def answer_to(handler: Handler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
    """Return what a server true to RFC 9110 says."""
    marks = validators(handler, body)
    if handler.path.lstrip("/").split("?")[0] not in handler.server.book.files:
        return 404, b"not here", {}
    if {handler.headers.get("If-None-Match"), handler.headers.get("If-Modified-Since")} & {*marks.values()}:
        return 304, b"", marks
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    condition = handler.headers.get("If-Range")
    if match is None or (condition and condition not in marks.values()):
        return 200, body, marks
    return rest_of(body, int(match[1]), marks)


def rest_of(body: bytes, start: int, marks: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
    if start >= len(body):
        return 416, b"", {"Content_Range": f"bytes */{len(body)}"}
    return 206, body[start:], {**marks, "Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}


def serve(handler: Handler, body: bytes) -> None:
    status, part, headers = answer_to(handler, body)
    handler.answer(status, part, **headers)


def cut(after: int) -> Behaviour:
    """Hang up after so many bytes of the body."""

    def behave(handler: Handler, body: bytes) -> None:
        status, part, headers = answer_to(handler, body)
        handler.answer(status, part[:after], promise=len(part), **headers)
        handler.close_connection = True

    return behave


def stall(after: int) -> Behaviour:
    """Say nothing more after so many bytes of the body."""

    def behave(handler: Handler, body: bytes) -> None:
        cut(after)(handler, body)
        handler.server.book.stopping.wait(10)

    return behave


def refuse(status: int, **headers: str) -> Behaviour:
    return lambda handler, body: handler.answer(status, b"no", **headers)


def other(body: bytes) -> Behaviour:
    """Serve another body once."""
    return lambda handler, _: serve(handler, body)


def become(path: str, body: bytes) -> Behaviour:
    """Change the file for good, then serve it."""

    def behave(handler: Handler, _: bytes) -> None:
        handler.server.book.files[path] = body
        serve(handler, body)

    return behave


def ignore_range(handler: Handler, body: bytes) -> None:
    handler.answer(200, body, **validators(handler, body))


def ignore_if_range(handler: Handler, body: bytes) -> None:
    """Send a part of whatever the file is now, as some servers do."""
    start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    status, part, headers = rest_of(body, start, validators(handler, body))
    handler.answer(status, part, **headers)


def web_page(handler: Handler, body: bytes) -> None:
    handler.answer(200, b"<!DOCTYPE html><html><body>Please sign in</body></html>", Content_Type="text/html")


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are no news here."""


def start(book: Server) -> ThreadingHTTPServer:
    server = _Quiet(("127.0.0.1", 0), Handler)
    server.book = book  # type: ignore[attr-defined]
    book.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server
