"""A data set comes back as it was written, and a family never lies on two sides of the split."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emres.archive.manifest import SHARES, SPLITS, DataSet, Row, counts, read_dataset, split_families, write_dataset
from emres.errors import StoreError, UsageError

ROW = Row(
    "3hsy-1", "store", "local_resolution/fsc", "train", "7", 1.0, ("map", "average"), 3.2, 2.5, 5.0, 1.1, 4000, 3.0
)


def test_what_is_written_comes_back(tmp_path):
    dataset = DataSet(tmp_path / "set", (ROW, replace(ROW, entry="other", reported=None)), {"seed": 3})
    assert write_dataset(dataset).is_file()
    assert read_dataset(tmp_path / "set") == dataset
    assert read_dataset(tmp_path / "set" / "dataset.json") == dataset


def test_a_row_is_a_line(tmp_path):
    rows = tuple(replace(ROW, entry=f"e{k}") for k in range(5))
    lines = write_dataset(DataSet(tmp_path, rows)).read_text().splitlines()
    assert sum('"entry"' in line for line in lines) == 5


def test_a_store_beside_the_data_set_moves_with_it(tmp_path):
    assert DataSet(tmp_path, (ROW,)).store_of(ROW) == tmp_path / "store"
    assert DataSet(tmp_path, (ROW,)).store_of(replace(ROW, store="/archive")).as_posix() == "/archive"


def test_a_field_of_a_later_version_is_passed_over(tmp_path):
    path = write_dataset(DataSet(tmp_path, (ROW,)))
    path.write_text(path.read_text().replace('"lattice": 0', '"lattice": 0, "colour": "red"'))
    assert read_dataset(tmp_path).rows == (ROW,)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-5],
        lambda text: "[]",
        lambda text: text.replace('"rows"', '"lines"'),
        lambda text: text.replace("3hsy-1", "../../etc"),
        lambda text: text.replace("local_resolution/fsc", "../fsc"),
        lambda text: text.replace('"train"', '"trial"'),
        lambda text: text.replace('"weight": 1.0', '"weight": NaN'),
        lambda text: text.replace('"map", "average"', '"picture"'),
    ],
)
def test_a_damaged_data_set_is_told(tmp_path, damage):
    path = write_dataset(DataSet(tmp_path, (ROW,)))
    path.write_text(damage(path.read_text()))
    with pytest.raises((StoreError, UsageError)):
        read_dataset(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    path = write_dataset(DataSet(tmp_path, (ROW,)))
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(StoreError, match="newer emres"):
        read_dataset(tmp_path)


def test_no_data_set_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="emres dataset build"):
        read_dataset(tmp_path)


@given(st.sets(st.text(min_size=1, max_size=6), min_size=1, max_size=80), st.integers(0, 5))
def test_shares_are_kept_to_within_one_family(families, seed):
    sides = split_families(families, seed=seed)
    assert set(sides) == families
    for split in SPLITS:
        assert abs(list(sides.values()).count(split) - SHARES[split] * len(families)) <= 1


@given(st.sets(st.text(min_size=1, max_size=6), min_size=2, max_size=40), st.data())
def test_a_growing_data_set_moves_nothing(families, data):
    some = data.draw(st.sets(st.sampled_from(sorted(families))))
    first = split_families(some)
    grown = split_families(families, first)
    assert all(grown[family] == side for family, side in first.items())


def test_another_seed_is_another_split():
    families = [str(k) for k in range(60)]
    assert split_families(families) == split_families(reversed(families))
    assert split_families(families) != split_families(families, seed=1)


def test_counts_are_of_every_side():
    told = counts([ROW, replace(ROW, entry="b"), replace(ROW, entry="c", split="test", family="9")])
    assert told["train"] == {"entries": 2, "families": 1, "voxels": 8000}
    assert told["validation"] == {"entries": 0, "families": 0, "voxels": 0}
    assert told["test"]["families"] == 1


def test_a_data_set_is_plain_json(tmp_path):
    found = json.loads(write_dataset(DataSet(tmp_path, (ROW,))).read_text())
    assert found["rows"][0]["resolution"] == 3.2
