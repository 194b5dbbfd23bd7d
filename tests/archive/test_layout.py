"""What is written with the archive's layout is read back as it was."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emres.archive.documents import merge_holdings, parse_entry_xml
from emres.archive.entry import Entry, MapFile
from emres.archive.layout import add_entry, header_xml, holdings_record, usual_name, write_lists

METADATA = Path(__file__).parents[2] / "../shared/data/metadata"

words = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12)
dates = st.dates().map(str)
ids = st.integers(1, 999_999).map("EMD-{:04d}".format)
kinds = st.lists(
    st.sampled_from(["half_map_1", "half_map_2", "mask", "mask_2", "additional_1", "additional_2"]), unique=True
).map(lambda some: ["map", *sorted(some, key=_order)])


def _order(kind: str) -> tuple[int, str]:
    return ["half", "mask", "additional"].index(kind.split("_")[0]), kind


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    emdb_id = draw(ids)
    files = [MapFile.of(emdb_id, kind, usual_name(emdb_id, kind)) for kind in draw(kinds)]
    return Entry(
        emdb_id,
        " ".join(draw(st.lists(words, max_size=4))),
        method=draw(st.none() | st.sampled_from(["singleParticle", "helical", "tomography"])),
        resolution=draw(st.none() | st.floats(0.5, 100)),
        resolution_method=draw(st.none() | words),
        contour_level=draw(st.none() | st.floats(-1e6, 1e6)),
        status=draw(st.sampled_from(["REL", "OBS", "HPUB"])),
        release_date=draw(st.none() | dates),
        update_date=draw(dates),
        point_group=draw(st.none() | words),
        fitted_pdbs=tuple(draw(st.lists(st.sampled_from(["7sgd", "1ake", "5k7n"]), unique=True))),
        superseded_by=tuple(draw(st.lists(ids, max_size=2, unique=True))),
    ).with_files(files)


@given(entries())
def test_a_header_says_all_that_the_record_knows(entry: Entry) -> None:
    assert parse_entry_xml(header_xml(entry)) == entry


@given(entries())
def test_holdings_restore_checksums_and_dates(entry: Entry) -> None:
    listed = entry.with_files(
        MapFile(file.kind, file.name, file.path, "0" * 32, entry.update_date) for file in entry.files.values()
    )
    assert merge_holdings(entry, json.loads(json.dumps(holdings_record(listed)))) == listed


def test_maps_are_copied_byte_by_byte_and_masks_lie_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "a.map.gz"
    packed.write_bytes(gzip.compress(b"density" * 100))
    entry = add_entry(tmp_path / "mirror", Entry("EMD-6824"), {"map": packed, "mask": packed})
    primary, mask = (tmp_path / "mirror" / entry.files[kind].path for kind in ("map", "mask"))
    assert primary.read_bytes() == packed.read_bytes()
    assert mask.read_bytes() == b"density" * 100
    assert entry.files["map"].md5 == hashlib.md5(packed.read_bytes()).hexdigest()
    again = add_entry(tmp_path / "again", Entry("EMD-6824"), {"map": mask})
    assert gzip.decompress((tmp_path / "again" / again.files["map"].path).read_bytes()) == b"density" * 100


@pytest.mark.skipif(not METADATA.is_dir(), reason="the shared metadata is not beside this checkout")
def test_lists_have_the_fields_of_the_official_schemas(tmp_path: Path) -> None:
    (tmp_path / "a.map").write_bytes(b"density")
    maps = dict.fromkeys(("map", "half_map_1", "half_map_2", "mask"), tmp_path / "a.map")
    released = add_entry(tmp_path, Entry("EMD-6824", "a", update_date="2024-05-01"), maps)
    obsolete = Entry("EMD-0555", "b", status="OBS", superseded_by=("EMD-6824",), update_date="2024-05-01")
    write_lists(tmp_path, [released, obsolete])
    for name, record in (("emdb_released_holdings", "holdings"), ("emdb_status", "statusData")):
        schema = json.loads((METADATA / f"{name}_schema.json").read_text())["definitions"]
        listed = json.loads((tmp_path / f"status/latest/{name}.json").read_text())
        for facts in listed.values():
            assert set(schema[record]["required"]) <= facts.keys() <= set(schema[record]["properties"])
    holdings = json.loads((tmp_path / "status/latest/emdb_released_holdings.json").read_text())
    assert list(holdings) == ["EMD-6824"]
    files = [file for category in ("headers", "map", "half_maps", "masks") for file in holdings["EMD-6824"][category]]
    assert len(files) == 5
    assert all(file.keys() == {"file_name", "md5_checksum", "last_update"} for file in files)
