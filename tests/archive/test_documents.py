"""EMDB's documents: real ones are read right, poor ones leniently, hostile ones not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emres.archive.documents import merge_holdings, parse_entry_json, parse_entry_xml
from emres.archive.entry import Entry
from emres.errors import ArchiveError, EmresError

METADATA = Path(__file__).parents[2] / "../shared/data/metadata"
real = pytest.mark.skipif(not METADATA.is_dir(), reason="the shared metadata is not beside this checkout")


def header(inside: str, emdb_id: str = "EMD-6824") -> bytes:
    return f'<?xml version="1.0"?><emd emdb_id="{emdb_id}" version="3.0.1.7">{inside}</emd>'.encode()


@real
def test_a_real_header_is_read() -> None:
    entry = parse_entry_xml((METADATA / "emd-8216.header.xml").read_bytes())
    assert (entry.emdb_id, entry.method, entry.resolution) == ("EMD-8216", "electronCrystallography", 1.1)
    assert entry.title == "MicroED structure of tau VQIVYK peptide at 1.1 A resolution"
    assert (entry.contour_level, entry.fitted_pdbs, entry.status) == (0.2, ("5k7n",), "REL")
    assert (entry.release_date, entry.update_date) == ("2016-06-22", "2019-12-18")
    assert entry.files["map"].path == "structures/EMD-8216/map/emd_8216.map.gz"


@real
def test_a_mask_that_bears_the_primary_maps_name_is_no_mask() -> None:
    document = (METADATA / "emd-0001.header.xml").read_bytes()
    assert b"<mask_details" in document
    assert list(parse_entry_xml(document).files) == ["map"]


@real
def test_a_real_record_of_the_api_is_read() -> None:
    entry = parse_entry_json(json.loads((METADATA / "EMD-25107.entry.json").read_text()))
    assert (entry.resolution, entry.resolution_method, entry.point_group) == (3.97, "FSC 0.143 CUT-OFF", "C3")
    assert (entry.contour_level, entry.fitted_pdbs) == (0.02, ("7sgd",))
    assert entry.release_date == "2022-10-12"
    assert {kind: file.name for kind, file in entry.files.items()} == {
        "map": "emd_25107.map.gz",
        "half_map_1": "emd_25107_half_map_1.map.gz",
        "half_map_2": "emd_25107_half_map_2.map.gz",
        "mask": "emd_25107_msk_1.map",
    }


def test_a_list_of_one_may_be_bare() -> None:
    half = {"file": "emd_6824_half_map_1.map.gz"}
    contour = {"level": "0.5", "primary": True}
    bare = {
        "emdb_id": "EMD-6824",
        "interpretation": {"half_map_list": {"half_map": half}},
        "map": {"contour_list": {"contour": contour}},
    }
    listed = {
        "emdb_id": "EMD-6824",
        "interpretation": {"half_map_list": {"half_map": [half]}},
        "map": {"contour_list": {"contour": [contour]}},
    }
    assert parse_entry_json(bare) == parse_entry_json(listed)
    assert parse_entry_json(bare).contour_level == 0.5


def test_an_entry_may_say_next_to_nothing() -> None:
    entry = parse_entry_xml(header(""))
    assert entry == parse_entry_json({"emdb_id": "EMD-6824"})
    assert (entry.title, entry.resolution, entry.contour_level) == ("", None, None)
    assert entry.files["map"].name == "emd_6824.map.gz"


def test_the_primary_contour_comes_first_and_may_lack_its_level() -> None:
    two = "<contour primary='false'><level>1</level></contour><contour primary='true'><level>2</level></contour>"
    assert parse_entry_xml(header(f"<map><contour_list>{two}</contour_list></map>")).contour_level == 2
    lacking = two.replace("<level>2</level>", "")
    assert parse_entry_xml(header(f"<map><contour_list>{lacking}</contour_list></map>")).contour_level == 1


@pytest.mark.parametrize("text", ["", "n/a", "nan", "inf", "-3", "0"])
def test_a_resolution_that_is_no_length_is_none(text: str) -> None:
    inside = (
        f"<structure_determination_list><structure_determination><x_processing><final_reconstruction>"
        f"<resolution>{text}</resolution></final_reconstruction></x_processing></structure_determination>"
        f"</structure_determination_list>"
    )
    assert parse_entry_xml(header(inside)).resolution is None


def test_an_obsolete_entry_names_its_successors() -> None:
    inside = (
        "<admin><current_status><code>OBS</code></current_status><superseded_by_list><entry><date>2020-01-01"
        "</date><entry>EMD-1234</entry></entry></superseded_by_list></admin>"
    )
    entry = parse_entry_xml(header(inside))
    assert (entry.status, entry.superseded_by) == ("OBS", ("EMD-1234",))


BOMB = (
    b'<!DOCTYPE emd [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b'<emd emdb_id="EMD-6824"><admin><title>&b;</title></admin></emd>'
)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not xml",
        b"<emd>",
        b"<emd/>",
        b'<emd emdb_id="../.."/>',
        b"\x1f\x8b\x08\x00rubbish",
        BOMB,
        b'<!DOCTYPE emd SYSTEM "file:///etc/passwd"><emd emdb_id="EMD-6824"/>',
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        b'<?xml version="1.0" encoding="no-such"?><emd emdb_id="EMD-6824"/>',
        b'<emd emdb_id="EMD-6824">' + b"<a>" * 200_000,
        b'<emd emdb_id="EMD-6824">' + b" " * 40_000_000 + b"</emd>",
    ],
    ids=lambda document: repr(document[:30]),
)
def test_a_hostile_header_is_an_archive_error(document: bytes) -> None:
    with pytest.raises(ArchiveError):
        parse_entry_xml(document)


def test_a_web_page_is_called_one() -> None:
    with pytest.raises(ArchiveError, match="a web page"):
        parse_entry_xml(b"<!DOCTYPE html><html></html>")


def test_a_deep_record_of_the_api_is_refused() -> None:
    document: dict[str, Any] = {"emdb_id": "EMD-6824"}
    for _ in range(5000):
        document = {"emdb_id": "EMD-6824", "a": document}
    with pytest.raises(ArchiveError, match="too deep"):
        parse_entry_json(document)


@real
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_header_gives_an_entry_or_a_clean_error(data: st.DataObject) -> None:
    document = bytearray((METADATA / "emd-8216.header.xml").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(document) - 1))
        document[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8) | st.just(b"../../"))
    try:
        entry = parse_entry_xml(bytes(document))
    except EmresError:
        return
    assert all(file.path.startswith(f"structures/{entry.emdb_id}/") for file in entry.files.values())


@pytest.mark.parametrize("name", ["../../evil.map.gz", "/etc/passwd", "a/b.map.gz"])
def test_a_name_in_a_header_never_escapes(name: str) -> None:
    with pytest.raises(ArchiveError, match="unsafely"):
        parse_entry_xml(header(f"<map><file>{name}</file></map>"))
    with pytest.raises(ArchiveError, match="unsafely"):
        parse_entry_json({"emdb_id": "EMD-6824", "interpretation": {"half_map_list": {"half_map": {"file": name}}}})


def item(name: str, md5: str = "0" * 32) -> dict[str, str]:
    return {"file_name": name, "md5_checksum": md5, "last_update": "2024-05-01"}


def test_holdings_bring_checksums_dates_and_files() -> None:
    record = {
        "map": [item("emd_6824.map.gz", "A" * 32)],
        "masks": [item("emd_6824_msk_2.map"), item("emd_6824_msk_1.map")],
        "half_maps": [item("emd_6824_half_map_2.map.gz"), item("emd_6824_half_map_1.map.gz")],
    }
    files = merge_holdings(Entry("EMD-6824"), record).files
    assert (files["map"].md5, files["map"].last_update) == ("a" * 32, "2024-05-01")
    assert files["half_map_2"].name == "emd_6824_half_map_2.map.gz"
    assert (files["mask"].name, files["mask_2"].name) == ("emd_6824_msk_1.map", "emd_6824_msk_2.map")


def test_holdings_are_the_truth_where_they_speak() -> None:
    halves = [{"file": "emd_6824_half_map_1.map.gz"}, {"file": "emd_6824_half_map_2.map.gz"}]
    entry = parse_entry_json({"emdb_id": "EMD-6824", "interpretation": {"half_map_list": {"half_map": halves}}})
    assert entry.has_half_maps
    assert not merge_holdings(entry, {"half_maps": []}).has_half_maps
    assert merge_holdings(entry, {}) == entry
    assert merge_holdings(entry, {"half_maps": "nonsense", "map": None}) == entry


def test_a_name_in_the_holdings_never_escapes_and_costs_only_its_checksum(caplog: pytest.LogCaptureFixture) -> None:
    entry = parse_entry_xml(header(""))
    merged = merge_holdings(entry, {"map": [item("../../evil.map.gz")], "masks": [item("../evil.map"), "nonsense"]})
    assert merged == entry
    assert "unsafely" in caplog.text


KEYS = st.sampled_from(
    [
        "map",
        "file",
        "admin",
        "valueOf_",
        "title",
        "interpretation",
        "half_map_list",
        "half_map",
        "file_name",
        "masks",
        "segmentation_list",
        "segmentation",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(KEYS, child, max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_gives_an_entry_or_a_clean_error(junk: Any) -> None:
    document = {**junk, "emdb_id": "EMD-6824"} if isinstance(junk, dict) else junk
    try:
        entry = parse_entry_json(document)
        merge_holdings(entry, document)
    except EmresError:
        return
    assert entry.emdb_id == "EMD-6824"
