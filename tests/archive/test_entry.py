"""Ids, records, and the refusal of names that would escape."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emres.archive.entry import Entry, MapFile, entry_path, folder_of, header_path, parse_emdb_id, primary_map_name
from emres.errors import ArchiveError, EmresError, StoreError, UsageError

ESCAPES = [
    "../../evil.map.gz",
    "/etc/passwd",
    "a/b.map.gz",
    "..",
    ".hidden",
    "",
    "a\\b.map",
    "a b.map",
    "x\n.map",
    "é.map",
]


def some_entry() -> Entry:
    files = [
        MapFile.of("EMD-25107", "map", "emd_25107.map.gz", md5="0" * 32, last_update="2022-10-12"),
        MapFile.of("EMD-25107", "half_map_1", "emd_25107_half_map_1.map.gz"),
        MapFile.of("EMD-25107", "half_map_2", "emd_25107_half_map_2.map.gz"),
        MapFile.of("EMD-25107", "mask", "emd_25107_msk_1.map"),
    ]
    return Entry(
        "EMD-25107",
        "A title",
        "singleParticle",
        3.97,
        "FSC 0.143 CUT-OFF",
        0.02,
        fitted_pdbs=("7sgd",),
        point_group="C3",
        release_date="2022-10-12",
    ).with_files(files)


@pytest.mark.parametrize("text", ["EMD-6824", "emd_6824", "emd-6824", "6824", " EMD6824\n", "Emd-6824"])
def test_every_usual_spelling_of_an_id_is_understood(text: str) -> None:
    assert parse_emdb_id(text) == "EMD-6824"


@given(st.integers(1, 999_999))
def test_an_official_id_is_its_own_form(number: int) -> None:
    official = f"EMD-{number:04d}"
    assert parse_emdb_id(official) == parse_emdb_id(official.lower().replace("-", "_")) == official


@pytest.mark.parametrize(("text", "meant"), [("EMD-339", "EMD-0339"), ("7", "EMD-0007"), ("emd_06824", "EMD-6824")])
def test_a_badly_padded_id_is_refused_with_the_one_it_means(text: str, meant: str) -> None:
    with pytest.raises(UsageError, match=meant) as caught:
        parse_emdb_id(text)
    assert caught.value.cure is not None
    assert meant in caught.value.cure


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EMD-",
        "../x",
        "EMD-1/../..",
        "EMD-6824/..",
        "EMD-1234567",
        "EMD-٣٤٥٦",
        "7sgd",
        "EMD-12 34",
        "EMD--6824",
        "https://x/EMD-6824",
        "9" * 10_000,
    ],
)
def test_what_is_not_an_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_emdb_id(text)
    assert len(str(caught.value)) < 400


@given(st.text(max_size=20))
def test_no_text_becomes_an_id_that_is_not_one(text: str) -> None:
    try:
        emdb_id = parse_emdb_id(text)
    except UsageError:
        return
    assert emdb_id[4:].isascii()
    assert 4 <= len(emdb_id[4:]) <= 6


def test_paths_are_those_of_the_archive() -> None:
    assert entry_path("EMD-0339") == "structures/EMD-0339"
    assert header_path("EMD-0339") == "structures/EMD-0339/header/emd-0339.xml"
    assert primary_map_name("EMD-0339") == "emd_0339.map.gz"
    kinds = ("map", "half_map_1", "mask", "mask_2", "additional_1")
    assert [folder_of(kind) for kind in kinds] == ["map", "other", "masks", "masks", "other"]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_would_escape_is_refused(name: str) -> None:
    with pytest.raises(ArchiveError):
        MapFile.of("EMD-6824", "map", name)


@pytest.mark.parametrize(
    "path",
    [
        "../../evil.map.gz",
        "evil.map.gz",
        "structures/EMD-6824/other/evil.map.gz",
        "structures/../map/evil.map.gz",
        "/structures/EMD-6824/map/evil.map.gz",
    ],
)
def test_a_path_outside_the_entry_is_refused(path: str) -> None:
    with pytest.raises(EmresError):
        MapFile("map", "evil.map.gz", path)


@pytest.mark.parametrize("kind", ["half_map_3", "mask_0", "fsc", "map/..", ""])
def test_an_unknown_kind_is_refused(kind: str) -> None:
    with pytest.raises(ArchiveError):
        MapFile.of("EMD-6824", kind, "a.map")


def test_an_entry_survives_json_and_pickle() -> None:
    entry = some_entry()
    assert Entry.from_attrs(json.loads(json.dumps(entry.to_attrs()))) == entry
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert hash(entry) == hash(some_entry())


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"files": []},
        {**some_entry().to_attrs(), "files": {"map": {"kind": "map"}}},
        {**some_entry().to_attrs(), "surprise": 1},
    ],
)
def test_attributes_that_are_no_entry_are_a_store_error(attrs: dict[str, object]) -> None:
    with pytest.raises(StoreError):
        Entry.from_attrs(attrs)


def test_attributes_cannot_smuggle_a_path_in() -> None:
    attrs = some_entry().to_attrs()
    attrs["files"]["map"]["name"] = "../../evil.map.gz"
    with pytest.raises(ArchiveError):
        Entry.from_attrs(attrs)


def test_a_kind_that_the_entry_lacks_is_named() -> None:
    assert some_entry().file("mask").name == "emd_25107_msk_1.map"
    assert some_entry().has_half_maps
    with pytest.raises(ArchiveError, match="EMD-25107 has no additional_1"):
        some_entry().file("additional_1")
    assert not some_entry().with_files([]).has_half_maps


def test_the_notebook_table_escapes_everything() -> None:
    shown = Entry("EMD-0001", title="<script>alert('x')</script> & Co", resolution=3.4)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "3.4 Å" in shown
    assert "contour level" not in shown
