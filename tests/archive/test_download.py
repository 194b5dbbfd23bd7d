"""Downloads over a bad line from bad servers: the right file in the end, or a clear error and no file."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from emres.archive import download as module
from emres.archive import integrity
from emres.archive.download import Patience, download, fetch_bytes, fetch_if_changed
from emres.archive.local import NotFoundError, local_path
from emres.archive.manners import Limiter
from emres.archive.partial import Partial
from emres.errors import ArchiveError, IntegrityError, StoreError, UsageError
from tests.archive.hostile import (
    Server,
    become,
    cut,
    ignore_if_range,
    ignore_range,
    other,
    refuse,
    serve,
    stall,
    web_page,
)

CONTENT = random.Random(0).randbytes(1_000_000)
MAP = gzip.compress(CONTENT, 1, mtime=0)
OTHER_MAP = gzip.compress(random.Random(1).randbytes(1_000_000), 1, mtime=0)
NAME = "emd_6824.map.gz"
QUICK = Patience(connect=2, read=0.3, tries=4, first_delay=0.01, longest_delay=0.2)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def fetched(server: Server, tmp_path: Path, *, checksum: str | None = md5(MAP), **options: Any) -> bytes:
    target = tmp_path / "deep" / NAME
    assert download(server.url(NAME), target, md5=checksum, patience=QUICK, **options) == target
    assert sorted(path.name for path in target.parent.iterdir()) == [NAME]
    return target.read_bytes()


def test_a_file_arrives_whole_and_nothing_else_is_left(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP)
    seen: list[tuple[int, int | None]] = []
    assert fetched(server, tmp_path, progress=lambda done, total: seen.append((done, total))) == MAP
    assert seen[0] == (0, len(MAP))
    assert seen[-1] == (len(MAP), len(MAP))
    assert seen == sorted(seen)
    assert server.asked[0][1]["User-Agent"].startswith("emres/")


@pytest.mark.parametrize("ends", [cut, stall])
@pytest.mark.parametrize("etags", [True, False], ids=["etag", "last-modified"])
def test_a_resumed_download_asks_only_for_the_missing_bytes(
    server: Server, tmp_path: Path, etags: bool, ends: Any
) -> None:
    server.etags = etags
    server.put(NAME, MAP, ends(600_000), serve)
    assert md5(fetched(server, tmp_path)) == md5(MAP)
    assert server.ranges() == [None, "bytes=600000-"]
    assert server.asked[1][1]["If-Range"]


@pytest.mark.parametrize("cuts", [[], [cut(600_000)]], ids=["at once", "with a cut"])
def test_what_came_in_one_go_is_not_read_again_for_its_checksum(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: list[Any]
) -> None:
    read: list[object] = []
    digest = integrity._digest
    monkeypatch.setattr(integrity, "_digest", lambda file: read.append(file) or digest(file))
    server.put(NAME, MAP, *cuts, *([serve] if cuts else []))
    assert md5(fetched(server, tmp_path)) == md5(MAP)
    assert read == []


def test_a_download_goes_on_in_another_process(server: Server, tmp_path: Path) -> None:
    target = tmp_path / NAME
    server.put(NAME, MAP, cut(600_000))
    with pytest.raises(ArchiveError):
        download(server.url(NAME), target, patience=Patience(tries=1))
    held = (tmp_path / f"{NAME}.part").stat().st_size
    assert held == 600_000
    assert not target.exists()
    server.put(NAME, MAP)
    download(server.url(NAME), target, md5=md5(MAP), patience=QUICK)  # of all of it, also of what was there
    assert server.ranges()[-1] == f"bytes={held}-"
    assert target.read_bytes() == MAP


def test_a_killed_download_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP, stall(700_000))
    code = (
        "import sys; from pathlib import Path; from emres.archive.download import download; "
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    victim = subprocess.Popen([sys.executable, "-c", code, server.url(NAME), str(tmp_path / NAME)])
    part = tmp_path / f"{NAME}.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= 500_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    held = part.stat().st_size
    assert held >= 500_000
    assert part.read_bytes() == MAP[:held]
    server.put(NAME, MAP)
    download(server.url(NAME), tmp_path / NAME, md5=md5(MAP), patience=QUICK)
    assert server.ranges() == [None, f"bytes={held}-"]


def test_killed_once_the_file_has_come_the_next_try_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP)
    assert fetched(server, tmp_path) == MAP
    (tmp_path / f"{NAME}.json.part").write_text("{}")
    assert fetched(server, tmp_path) == MAP
    assert len(server.asked) == 1


def test_a_part_that_was_already_whole_is_not_asked_for_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(NAME, MAP)
    with monkeypatch.context() as patch:
        patch.setattr(Partial, "commit", lambda self: signal.raise_signal(signal.SIGINT))  # to this very thread
        with pytest.raises(KeyboardInterrupt):
            download(server.url(NAME), tmp_path / NAME)
    download(server.url(NAME), tmp_path / NAME, md5=md5(MAP))
    assert len(server.asked) == 1


@pytest.mark.parametrize("answer", [serve, ignore_if_range], ids=["true to If-Range", "ignores If-Range"])
def test_a_file_that_changed_is_never_spliced(server: Server, tmp_path: Path, answer: Any) -> None:
    server.put(NAME, MAP, cut(600_000), become(NAME, OTHER_MAP) if answer is serve else answer, serve)
    if answer is ignore_if_range:
        with pytest.raises(ArchiveError):
            download(server.url(NAME), tmp_path / "deep" / NAME, patience=Patience(tries=1))
        server.files[NAME] = OTHER_MAP
    assert fetched(server, tmp_path, checksum=None) == OTHER_MAP


def test_a_server_that_vouches_for_nothing_is_asked_for_the_whole_file_again(server: Server, tmp_path: Path) -> None:
    def cut_without_validator(handler: Any, body: bytes) -> None:
        handler.answer(200, body[:600_000], promise=len(body))
        handler.close_connection = True

    server.put(NAME, MAP, cut_without_validator, serve)
    assert fetched(server, tmp_path) == MAP
    assert server.ranges() == [None, None]


def test_a_server_that_ignores_range_is_listened_to_from_the_start(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP, cut(600_000), ignore_range)
    assert fetched(server, tmp_path) == MAP


def test_a_part_longer_than_the_file_begins_anew(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP, cut(900_000), refuse(416), serve)
    assert fetched(server, tmp_path) == MAP
    assert server.ranges()[-1] is None


def test_stalls_cuts_and_busy_servers_are_outlasted(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP, refuse(500), refuse(503), stall(300_000), refuse(502), cut(300_000), refuse(429), serve)
    assert fetched(server, tmp_path) == MAP
    assert len(server.asked) == 7


def test_retry_after_is_honoured(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP, refuse(429, Retry_After="1"), serve)
    begun = time.monotonic()
    download(server.url(NAME), tmp_path / NAME, patience=Patience(first_delay=0.01, longest_delay=5))
    assert time.monotonic() - begun >= 1


def test_a_server_that_never_recovers_is_given_up_with_the_reason(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP, refuse(503))
    with pytest.raises(ArchiveError, match="HTTP 503, 4 times in a row"):
        download(server.url(NAME), tmp_path / NAME, patience=QUICK)
    assert len(server.asked) == QUICK.tries
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_an_archive_error_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(ArchiveError, match="--mirror"):
        download("http://127.0.0.1:9/x.map.gz", tmp_path / NAME, patience=QUICK)


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_told_at_once(server: Server, tmp_path: Path, status: int) -> None:
    server.put(NAME, MAP, refuse(status))
    with pytest.raises(NotFoundError):
        download(server.url(NAME), tmp_path / NAME, patience=QUICK)
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_not_repeated(server: Server, tmp_path: Path, status: int) -> None:
    server.put(NAME, MAP, refuse(status))
    with pytest.raises(ArchiveError, match=f"HTTP {status}"):
        download(server.url(NAME), tmp_path / NAME, patience=QUICK)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "checksum", [md5(MAP), md5(MAP).upper(), md5(CONTENT), None], ids=["gz", "GZ", "content", "none"]
)
def test_the_checksum_is_of_the_file_or_of_its_content(server: Server, tmp_path: Path, checksum: str | None) -> None:
    server.put(NAME, MAP)
    assert fetched(server, tmp_path, checksum=checksum) == MAP


def test_wrong_bytes_are_fetched_once_more(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP, other(OTHER_MAP), serve)
    assert fetched(server, tmp_path) == MAP
    assert server.ranges() == [None, None]


DAMAGED = MAP[:500_000] + b"\0" * 64 + MAP[500_064:]


@pytest.mark.parametrize(
    ("body", "checksum", "told"),
    [
        (OTHER_MAP, md5(MAP), "not what the archive lists"),
        (MAP[:-100], None, "did not arrive whole"),
        (DAMAGED, None, "did not arrive whole"),
        (b"this is no gzip at all" * 100, None, "not compressed"),
        (b"", None, "did not arrive whole"),
    ],
    ids=["other file", "cut gzip", "damaged gzip", "no gzip", "empty"],
)
def test_a_file_that_is_twice_wrong_is_an_integrity_error_and_leaves_nothing(
    server: Server, tmp_path: Path, body: bytes, checksum: str | None, told: str
) -> None:
    server.put(NAME, body)
    with pytest.raises(IntegrityError, match=told):
        download(server.url(NAME), tmp_path / NAME, md5=checksum, patience=QUICK)
    assert len(server.asked) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [NAME, "emd_6824_msk_1.map"])
@pytest.mark.parametrize("checksum", [None, md5(MAP)])
def test_a_web_page_is_never_taken_for_a_map(server: Server, tmp_path: Path, name: str, checksum: str | None) -> None:
    server.put(name, MAP, web_page)
    with pytest.raises(IntegrityError, match="a web page"):
        download(server.url(name), tmp_path / name, md5=checksum, patience=QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("checksum", [md5(MAP), md5(CONTENT)])
def test_a_file_that_is_there_already_is_not_fetched_again(server: Server, tmp_path: Path, checksum: str) -> None:
    server.put(NAME, MAP)
    for _ in range(2):
        assert fetched(server, tmp_path, checksum=checksum) == MAP
    assert len(server.asked) == 1
    (tmp_path / "deep" / NAME).write_bytes(DAMAGED)
    assert fetched(server, tmp_path, checksum=checksum) == MAP


def test_a_target_that_exists_stays_until_its_successor_is_verified(server: Server, tmp_path: Path) -> None:
    target = tmp_path / NAME
    target.write_bytes(OTHER_MAP)
    server.put(NAME, DAMAGED)
    with pytest.raises(IntegrityError):
        download(server.url(NAME), target, patience=QUICK)
    assert target.read_bytes() == OTHER_MAP
    server.put(NAME, MAP)
    download(server.url(NAME), target)
    assert target.read_bytes() == MAP


@pytest.mark.parametrize("form", [str, Path, Path.as_uri], ids=["str", "Path", "file://"])
def test_a_folder_is_as_good_as_a_server(tmp_path: Path, form: Any) -> None:
    source, target = tmp_path / "m ä#p.gz", tmp_path / NAME
    source.write_bytes(MAP)
    assert download(form(source), target, md5=md5(CONTENT)).read_bytes() == MAP
    with pytest.raises(IntegrityError):
        download(form(source), target, md5=md5(b""))
    with pytest.raises(NotFoundError):
        download(form(tmp_path / "none.map.gz"), target)
    assert target.read_bytes() == MAP
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_told_before_it_is_filled(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(NAME, MAP)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("emres.archive.partial.shutil.disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match="does not fit on the disk"):
        download(server.url(NAME), tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_what_there_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(NAME, MAP)
    append = Partial.append

    def full(self: Partial, data: bytes) -> None:
        if self.size > 300_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, data)

    monkeypatch.setattr(Partial, "append", full)
    with pytest.raises(StoreError, match="the disk is full"):
        download(server.url(NAME), tmp_path / NAME)
    assert not (tmp_path / NAME).exists()
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert download(server.url(NAME), tmp_path / NAME, md5=md5(MAP)).read_bytes() == MAP
    assert server.ranges()[1] is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_store_error(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP)
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(StoreError, match="permission denied"):
        download(server.url(NAME), tmp_path / "locked" / NAME)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_a_store_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(path: Path) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("emres.archive.partial.open_locked", refused)
    with pytest.raises(StoreError, match="cannot be written"):
        download(tmp_path / "any.gz", tmp_path / NAME)


def test_two_processes_never_write_one_file(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP)
    with Partial.beside(tmp_path / NAME), pytest.raises(StoreError, match="another run"):
        download(server.url(NAME), tmp_path / NAME)
    assert download(server.url(NAME), tmp_path / NAME).read_bytes() == MAP


def test_a_note_that_was_half_written_costs_only_the_bytes(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP)
    (tmp_path / f"{NAME}.part").write_bytes(OTHER_MAP[:5000])
    (tmp_path / f"{NAME}.json.part").write_text('{"source": "http')
    assert download(server.url(NAME), tmp_path / NAME, md5=md5(MAP)).read_bytes() == MAP
    assert server.ranges() == [None]


def test_documents_are_small_or_refused(server: Server, tmp_path: Path) -> None:
    server.put("a.xml", b"x" * 1000, refuse(503), stall(10), serve)
    (tmp_path / "a.xml").write_bytes(b"x" * 1000)
    for source in (server.url("a.xml"), tmp_path / "a.xml"):
        assert fetch_bytes(source, limit=1000, patience=QUICK) == b"x" * 1000
        with pytest.raises(ArchiveError, match="larger than"):
            fetch_bytes(source, limit=999, patience=QUICK)
    for missing in (server.url("b.xml"), tmp_path / "b.xml"):
        with pytest.raises(NotFoundError):
            fetch_bytes(missing, patience=QUICK)


@pytest.mark.parametrize("etags", [True, False])
def test_a_document_that_did_not_change_is_not_sent_again(server: Server, etags: bool) -> None:
    server.etags = etags
    url = server.put("list.json", b"{}")
    first = fetch_if_changed(url, None, limit=100)
    assert first is not None
    assert first[0] == b"{}"
    assert fetch_if_changed(url, first[1], limit=100) is None
    server.put("list.json", b'{"a": 1}')
    assert fetch_if_changed(url, first[1], limit=100) is not None


@pytest.mark.parametrize(
    "source",
    [
        "ftp://ftp.ebi.ac.uk/pub/databases/emdb/",
        "s3://bucket/x",
        "file://other-host/x",
        "https:///no-host",
        "gopher://x",
    ],
)
def test_other_schemes_are_refused(source: str) -> None:
    with pytest.raises(UsageError):
        local_path(source)


class Offline:
    """A session that counts how often it is asked and never gets through."""

    asked = 0

    def get(self, *_: object, **__: object) -> None:
        self.asked += 1
        raise requests.ConnectionError("offline")


@pytest.mark.parametrize(("url", "slots"), [("https://ftp.ebi.ac.uk/x", 2), ("http://127.0.0.1:9/x", 0)])
def test_every_try_at_a_public_server_waits_its_turn(monkeypatch: pytest.MonkeyPatch, url: str, slots: int) -> None:
    taken: list[float] = []
    monkeypatch.setattr(module, "POLITE", Limiter(1e6, 4, clock=lambda: taken.append(0) or 0.0, sleep=lambda _: None))
    session: Any = Offline()
    with pytest.raises(ArchiveError, match="2 times in a row"):
        fetch_bytes(url, session=session, patience=Patience(tries=2, first_delay=0.01))
    assert session.asked == 2
    assert len(taken) == slots


def test_a_server_that_calls_gzip_an_encoding_does_not_get_the_map_unpacked(server: Server, tmp_path: Path) -> None:
    server.put(NAME, MAP, lambda handler, body: handler.answer(200, body, Content_Encoding="x-gzip", ETag='"a"'))
    assert fetched(server, tmp_path) == MAP


def test_a_redirect_is_followed_over_the_network_only(server: Server, tmp_path: Path) -> None:
    server.put("moved.map.gz", MAP)
    server.put(NAME, b"", refuse(302, Location="/moved.map.gz"))
    assert fetched(server, tmp_path) == MAP
    server.put(NAME, b"", refuse(302, Location="file:///etc/passwd"))
    with pytest.raises(ArchiveError, match="cannot be fetched"):
        download(server.url(NAME), tmp_path / NAME, patience=QUICK)
    server.put(NAME, b"", refuse(302, Location=f"/{NAME}"))
    with pytest.raises(ArchiveError, match="cannot be fetched"):
        download(server.url(NAME), tmp_path / NAME, patience=QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_many_threads_fetch_over_a_bad_line_and_every_file_is_right(server: Server, tmp_path: Path) -> None:
    bodies = {f"emd_{1000 + i}.map.gz": gzip.compress(random.Random(i).randbytes(300_000), 1) for i in range(16)}
    for i, (name, body) in enumerate(bodies.items()):
        server.put(name, body, *([cut(150_000), refuse(503), stall(100_000)][i % 3 :]), serve)

    def fetch(name: str) -> bytes:
        return download(server.url(name), tmp_path / name, md5=md5(bodies[name]), patience=QUICK).read_bytes()

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(bodies, pool.map(fetch, bodies), strict=True))
    assert found == bodies
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(bodies)
