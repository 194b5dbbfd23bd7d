"""A mirror of real layout: entries, their absence, lists and searches."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from emres.archive import listing
from emres.archive.emdb import (
    DEFAULT_API,
    DEFAULT_MIRROR,
    HOLDINGS,
    STATUS,
    Mirror,
    all_ids,
    fetch_entry,
    search,
)
from emres.archive.entry import Entry, header_path
from emres.archive.manners import Patience
from emres.errors import ArchiveError, UsageError
from tests.archive.hostile import Handler, Server, cut, refuse, serve, web_page
from tests.mirror import build_mirror

QUICK = Patience(connect=2, read=0.3, tries=2, first_delay=0.01, longest_delay=0.05)
OBSOLETE = Entry("EMD-0555", "gone", status="OBS", superseded_by=("EMD-6824",))
ON_HOLD = Entry("EMD-0556", "not yet", status="HPUB")
IN_WORK = Entry("EMD-0557", "not yet", status="PROC")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMRES_CACHE", str(tmp_path / "cache"))
    for name in ("EMRES_MIRROR", "EMRES_API"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(listing, "_loaded", {})


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    (tmp_path / "any.map").write_bytes(b"density" * 1000)
    kinds = ("map", "half_map_1", "half_map_2", "mask", "mask_2", "additional_1")
    facts = Entry(
        "EMD-6824",
        "A title",
        "helical",
        5.8,
        "FSC 0.143 CUT-OFF",
        0.25,
        update_date="2024-05-01",
        fitted_pdbs=("7sgd",),
        point_group="C2",
    )
    return build_mirror(
        tmp_path / "mirror",
        {"EMD-6824": dict.fromkeys(kinds, tmp_path / "any.map"), "EMD-0339": tmp_path / "any.map"},
        facts=[facts],
        others=[OBSOLETE, ON_HOLD, IN_WORK],
    )


def online(server: Server, mirror: Mirror, *, api: str | None = "api") -> Mirror:
    """Serve a folder by HTTP."""
    root = Path(mirror.root)
    for path in root.rglob("*"):
        if path.is_file():
            server.put(path.relative_to(root).as_posix(), path.read_bytes())
    return Mirror(server.url(), server.url(api) if api else None)


def test_the_archive_itself_is_the_default() -> None:
    assert Mirror.at() == Mirror(DEFAULT_MIRROR, DEFAULT_API)
    assert Mirror.at().url("a/b") == "https://ftp.ebi.ac.uk/pub/databases/emdb/a/b"
    assert not Mirror.at().is_local


def test_the_environment_chooses_the_mirror_and_arguments_overrule_it(
    monkeypatch: pytest.MonkeyPatch, mirror: Mirror
) -> None:
    monkeypatch.setenv("EMRES_MIRROR", "https://files.wwpdb.org/pub/emdb")
    monkeypatch.setenv("EMRES_API", "https://api.example")
    assert Mirror.at() == Mirror("https://files.wwpdb.org/pub/emdb", "https://api.example")
    assert Mirror.at().url("a") == "https://files.wwpdb.org/pub/emdb/a"
    assert Mirror.at(mirror.root).is_local


def test_a_folder_and_its_file_address_are_one_mirror(mirror: Mirror) -> None:
    folder = Path(mirror.root)
    assert Mirror.at(folder) == Mirror.at(folder.as_uri()) == Mirror.at(str(folder)) == mirror
    assert fetch_entry(mirror, "6824") == fetch_entry(Mirror(folder.as_uri()), "6824")


def test_a_folder_that_is_no_mirror_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(ArchiveError, match="not a mirror"):
            Mirror.at(place)
    with pytest.raises(UsageError, match="https"):
        Mirror.at("ftp://ftp.ebi.ac.uk/pub/databases/emdb/")


def test_an_entry_is_its_header_with_the_checksums_of_the_holdings(mirror: Mirror) -> None:
    entry = fetch_entry(mirror, "emd_6824")
    assert (entry.title, entry.method, entry.resolution, entry.contour_level) == ("A title", "helical", 5.8, 0.25)
    assert list(entry.files) == ["map", "half_map_1", "half_map_2", "mask", "mask_2", "additional_1"]
    assert all(file.md5 and file.last_update == "2024-05-01" for file in entry.files.values())
    assert all((Path(mirror.root) / file.path).is_file() for file in entry.files.values())
    assert entry.files["mask_2"].path == "structures/EMD-6824/masks/emd_6824_msk_2.map"


def test_a_mirror_by_http_gives_the_same_entry(server: Server, mirror: Mirror) -> None:
    assert fetch_entry(online(server, mirror), "EMD-6824", patience=QUICK) == fetch_entry(mirror, "EMD-6824")


def test_holdings_may_be_wrapped(mirror: Mirror) -> None:
    plain = fetch_entry(mirror, "EMD-6824")
    path = Path(mirror.root, HOLDINGS)
    path.write_text(json.dumps({"date": "2024-05-01", "holdings": json.loads(path.read_text())}))
    assert fetch_entry(mirror, "EMD-6824") == plain
    assert all_ids(mirror) == ["EMD-0339", "EMD-6824"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("<html>down for maintenance</html>"),
        lambda path: path.write_bytes(path.read_bytes().split(b'"file_name"')[0]),
    ],
    ids=["absent", "empty", "web page", "cut"],
)
def test_without_usable_holdings_an_entry_is_known_by_its_header(mirror: Mirror, spoil: object) -> None:
    spoil(Path(mirror.root, HOLDINGS))  # type: ignore[operator]
    entry = fetch_entry(mirror, "EMD-6824")
    assert entry.has_half_maps
    assert entry.files["map"].md5 is None
    assert all_ids(mirror) in (["EMD-0339", "EMD-6824"], ["EMD-6824"])


def test_a_name_in_a_mirror_never_escapes(mirror: Mirror) -> None:
    path = Path(mirror.root, HOLDINGS)
    path.write_text(path.read_text().replace("emd_6824.map.gz", "../../evil.map.gz"))
    assert fetch_entry(mirror, "EMD-6824").files["map"].name == "emd_6824.map.gz"
    header = Path(mirror.root, header_path("EMD-6824"))
    header.write_text(header.read_text().replace("emd_6824.map.gz", "../../evil.map.gz"))
    with pytest.raises(ArchiveError, match="unsafely"):
        fetch_entry(mirror, "EMD-6824")


def test_an_unknown_entry_is_an_archive_error(server: Server, mirror: Mirror) -> None:
    for place in (mirror, online(server, mirror), online(server, mirror, api=None)):
        with pytest.raises(ArchiveError, match="there is no entry EMD-9999"):
            fetch_entry(place, "EMD-9999", patience=QUICK)


def test_an_obsolete_entry_names_what_superseded_it(server: Server, mirror: Mirror) -> None:
    for place in (mirror, online(server, mirror)):
        with pytest.raises(ArchiveError, match="EMD-6824, which superseded it"):
            fetch_entry(place, "EMD-0555", patience=QUICK)


def test_the_api_too_tells_what_superseded_an_entry(server: Server, mirror: Mirror) -> None:
    place = online(server, mirror)
    server.put(STATUS, b"", refuse(404))
    admin = {"current_status": {"code": {"valueOf_": "OBS"}}, "superseded_by_list": {"entry": [{"entry": "EMD-0339"}]}}
    server.put("api/entry/EMD-0777", json.dumps({"emdb_id": "EMD-0777", "admin": admin}).encode())
    with pytest.raises(ArchiveError, match="EMD-0339, which superseded it"):
        fetch_entry(place, "EMD-0777", patience=QUICK)


def test_why_there_is_no_entry_yet_is_told(mirror: Mirror) -> None:
    with pytest.raises(ArchiveError, match="on hold until publication"):
        fetch_entry(mirror, "EMD-0556")
    with pytest.raises(ArchiveError, match="not released yet"):
        fetch_entry(mirror, "EMD-0557")
    Path(mirror.root, header_path("EMD-0339")).unlink()
    with pytest.raises(ArchiveError, match="lacks the released entry EMD-0339"):
        fetch_entry(mirror, "EMD-0339")


def test_an_entry_with_a_header_may_still_be_obsolete(mirror: Mirror) -> None:
    header = Path(mirror.root, header_path("EMD-0339"))
    header.write_text(header.read_text().replace("REL", "OBS"))
    with pytest.raises(ArchiveError, match="EMD-0339 cannot be fetched: it is obsolete"):
        fetch_entry(mirror, "EMD-0339")


def test_an_entry_without_header_is_read_from_the_api(server: Server, mirror: Mirror) -> None:
    place = online(server, mirror)
    server.files.pop(header_path("EMD-6824"))
    server.put("api/entry/EMD-6824", json.dumps({"emdb_id": "EMD-6824", "admin": {"title": "By API"}}).encode())
    entry = fetch_entry(place, "EMD-6824", patience=QUICK)
    assert entry.title == "By API"
    assert entry.files["map"].md5


def test_a_header_of_another_entry_is_refused(mirror: Mirror) -> None:
    other = Path(mirror.root, header_path("EMD-0339")).read_bytes()
    Path(mirror.root, header_path("EMD-6824")).write_bytes(other)
    with pytest.raises(ArchiveError, match="EMD-0339"):
        fetch_entry(mirror, "EMD-6824")


def test_a_server_without_holdings_still_gives_entries(server: Server, mirror: Mirror) -> None:
    place = online(server, mirror)
    server.put(HOLDINGS, b"", refuse(503))
    assert fetch_entry(place, "EMD-6824", patience=QUICK).files["map"].md5 is None
    with pytest.raises(ArchiveError):
        all_ids(place, patience=QUICK)


def holdings_answers(server: Server) -> list[str | None]:
    return [headers.get("If-None-Match") for path, headers in server.asked if path == HOLDINGS]


def test_the_holdings_are_fetched_once_and_then_only_if_they_changed(
    server: Server, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = online(server, mirror)
    first = [fetch_entry(place, name, patience=QUICK) for name in ("EMD-6824", "EMD-0339", "EMD-6824")]
    assert holdings_answers(server) == [None]
    monkeypatch.setattr(listing, "_loaded", {})  # as another process would begin
    assert fetch_entry(place, "EMD-6824", patience=QUICK) == first[0]
    assert holdings_answers(server)[1] is not None
    changed = server.files[HOLDINGS].replace(b"2024-05-01", b"2024-06-01")
    server.put(HOLDINGS, changed)
    monkeypatch.setattr(listing, "_loaded", {})
    assert fetch_entry(place, "EMD-6824", patience=QUICK).files["map"].last_update == "2024-06-01"


def test_the_kept_list_serves_while_the_server_does_not(
    server: Server, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = online(server, mirror)
    ids = all_ids(place, patience=QUICK)
    monkeypatch.setattr(listing, "_loaded", {})
    server.put(HOLDINGS, server.files[HOLDINGS], refuse(503), cut(10))
    assert all_ids(place, patience=QUICK) == ids == ["EMD-0339", "EMD-6824"]


def test_a_web_page_is_never_kept_as_a_list(
    server: Server, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = online(server, mirror)
    server.put(HOLDINGS, server.files[HOLDINGS], web_page, serve)
    with pytest.raises(ArchiveError, match="no list of the archive"):
        all_ids(place, patience=QUICK)
    assert not (tmp_path / "cache").exists()
    assert all_ids(place, patience=QUICK) == ["EMD-0339", "EMD-6824"]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_done_without(
    server: Server, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("EMRES_CACHE", str(tmp_path / "file"))
    assert all_ids(online(server, mirror), patience=QUICK) == ["EMD-0339", "EMD-6824"]


def test_a_local_list_that_changes_is_read_again(mirror: Mirror, tmp_path: Path) -> None:
    fetch_entry(mirror, "EMD-6824")
    path = Path(mirror.root, HOLDINGS)
    path.write_text(path.read_text().replace("2024-05-01", "2024-12-24") + " ")
    assert fetch_entry(mirror, "EMD-6824").files["map"].last_update == "2024-12-24"
    assert not (tmp_path / "cache").exists()


def test_a_folder_without_lists_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "any.map").write_bytes(b"density")
    names = ["EMD-12345", "EMD-0339", "EMD-6824"]
    bare = build_mirror(tmp_path / "mirror", dict.fromkeys(names, tmp_path / "any.map"), lists=False)
    (tmp_path / "mirror/structures/EMD-not-one").mkdir()
    assert all_ids(bare) == ["EMD-0339", "EMD-6824", "EMD-12345"]


def paged(ids: list[str], rows: int) -> object:
    """Answer a search with pages of ``rows`` ids, whatever number is asked for."""

    def behave(handler: Handler, _: bytes) -> None:
        page = int(parse_qs(urlsplit(handler.path).query)["page"][0])
        some = ids[(page - 1) * rows : page * rows]
        handler.answer(200, "\r\n".join(["emdb_id", *some]).encode())

    return behave


def searched(server: Server, query: str, behaviour: object, **options: int) -> list[str]:
    full = quote(f'({query}) AND database:EMDB AND current_status:"REL"', safe="")
    server.put(f"api/search/{full}", b"", behaviour)  # type: ignore[arg-type]
    return search(query, Mirror(server.url(), server.url("api")), patience=QUICK, **options)


def test_a_search_reads_all_pages_and_asks_for_released_entries_only(server: Server) -> None:
    ids = [f"EMD-{number}" for number in range(1000, 1025)]
    query = "resolution:[2 TO 3} OR title:a/b"
    assert searched(server, query, paged(ids, 10)) == ids
    assert [parse_qs(urlsplit(path).query)["page"] for path, _ in server.asked] == [["1"], ["2"], ["3"], ["4"]]
    assert unquote(urlsplit(server.asked[0][0]).path).endswith(f'({query}) AND database:EMDB AND current_status:"REL"')
    assert searched(server, query, paged(ids, 10), limit=12) == ids[:12]


def test_a_search_that_finds_nothing_is_empty(server: Server) -> None:
    assert search("title:nothing", Mirror(server.url(), server.url("api")), patience=QUICK) == []


def test_a_search_answered_by_a_web_page_or_refused_is_an_error(server: Server) -> None:
    with pytest.raises(ArchiveError, match="something else"):
        searched(server, "title:a", web_page)
    with pytest.raises(ArchiveError, match="HTTP 400"):
        searched(server, "title:[", refuse(400))


def test_a_folder_cannot_be_searched(mirror: Mirror) -> None:
    with pytest.raises(UsageError, match="EMRES_API"):
        search("title:a", mirror)
    with pytest.raises(UsageError, match="empty"):
        search("  ")
