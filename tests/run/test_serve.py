"""The server of one entry: to this machine alone, only what lies in the entry, for reading only."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from emres.errors import UsageError
from emres.run import serve
from emres.run.serve import Served, served

ORIGIN = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("store")
    inside = tmp_path / "EMD-1.zarr"
    (inside / "map/scale0/density/c/0/0").mkdir(parents=True)
    (inside / "local_resolution/net@1.0+x").mkdir(parents=True)
    (inside / "zarr.json").write_text('{"zarr_format": 3}')
    (inside / "map/scale0/density/c/0/0/0").write_bytes(bytes(range(256)))
    (inside / "local_resolution/net@1.0+x/zarr.json").write_text("{}")
    (inside / ".hidden").write_text("secret")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "EMD-1.zarrette").mkdir()
    (tmp_path / "EMD-1.zarrette/secret").write_text("secret")
    os.symlink(tmp_path / "secret", inside / "leads_out")
    os.symlink(tmp_path, inside / "folder_out")
    return inside


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with served(folder, ORIGIN) as data:
        yield data


def asked(server: Served, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Ask with the path exactly as it stands."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def word(server: Served) -> str:
    return urlsplit(server.url).path


def test_files_of_the_entry_are_served_to_the_one_origin(server: Served) -> None:
    status, body, headers = asked(server, f"{word(server)}/map/scale0/density/c/0/0/0")
    assert (status, body) == (200, bytes(range(256)))
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    status, body, headers = asked(server, f"{word(server)}/local_resolution/net%401.0%2Bx/zarr.json?a=b")
    assert (status, body, headers["Content-Type"]) == (200, b"{}", "application/json")
    status, body, headers = asked(server, f"{word(server)}/zarr.json", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "18")


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/map", "/map/scale0/density/c/9/9/9", "/../secret", "/map/../../secret", "/%2e%2e/secret",
        "/..%2fsecret", "/%2e%2e%2fsecret", "/..%5csecret", "/map/%2e%2e/%2e%2e/secret", "//etc/passwd",
        "//../EMD-1.zarrette/secret", "/.hidden", "/leads_out", "/folder_out/secret", "/zarr.json%00", "/./zarr.json",
        "/%2fetc/passwd", "/zarr.json/", "/zarr.json%0a", "/%252e%252e/secret", "/C:/secret", "/~/secret",
    ],
)  # fmt: skip
def test_nothing_else_is_served(server: Served, path: str) -> None:
    status, body, _ = asked(server, word(server) + path)
    assert (status, body) == (404, b"")


def test_whoever_does_not_know_the_word_gets_nothing(server: Served) -> None:
    for path in (
        "/zarr.json",
        "/guessed/zarr.json",
        f"{word(server)[:-1]}/zarr.json",
        "/%C3%A5/zarr.json",
    ):
        assert asked(server, path)[:2] == (404, b"")


def test_another_name_for_this_machine_gets_nothing(server: Served) -> None:
    for host in ("evil.example", f"evil.example:{server.port}", f"127.0.0.1:{server.port + 1}", ""):
        assert asked(server, f"{word(server)}/zarr.json", Host=host)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "MOVE"])
def test_nothing_can_be_changed(server: Served, folder: Path, method: str) -> None:
    assert asked(server, f"{word(server)}/zarr.json", method)[0] == 501
    assert (folder / "zarr.json").read_text() == '{"zarr_format": 3}'


def test_the_server_is_bound_to_this_machine_alone_and_frees_its_port(folder: Path) -> None:
    made: list[tuple[str, int]] = []

    class Watched(serve.ThreadingHTTPServer):
        def server_bind(self) -> None:
            super().server_bind()
            made.append(self.socket.getsockname())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "ThreadingHTTPServer", Watched)
        with served(folder) as first, served(folder) as second:
            assert made == [("127.0.0.1", first.port), ("127.0.0.1", second.port)]
            assert word(first) != word(second)
            assert len(word(first)) > 20
            assert "Access-Control-Allow-Origin" not in asked(first, f"{word(first)}/zarr.json")[2]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", first.port), timeout=1):
        pass


def test_a_client_that_says_nothing_does_not_keep_the_others_waiting_nor_the_end(folder: Path) -> None:
    with served(folder) as server:
        silent = socket.create_connection(("127.0.0.1", server.port))
        assert asked(server, f"{word(server)}/zarr.json")[0] == 200
    silent.close()


def test_a_file_that_may_not_be_read_is_not_there(
    server: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", refused)
    assert asked(server, f"{word(server)}/zarr.json")[0] == 404


def test_a_machine_without_its_own_address_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "LOCALHOST", "192.0.2.1")  # an address that no machine has
    with pytest.raises(UsageError, match="no server can be started"), served(folder):
        pass
