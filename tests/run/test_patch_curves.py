"""What is kept of the places of a data set's maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emres.archive.manifest import DataSet
from emres.errors import StoreError
from emres.run.kept_facts import FILE
from emres.run.patch_curves import FOLDER, read_curves
from emres.run.patch_facts import guessed_for
from emres.run.train_data import training_stream
from tests.run.toy_dataset import toy_dataset
from tests.run.toy_training import PLAN, keys


@pytest.fixture
def kept(tmp_path: Path) -> DataSet:
    return toy_dataset(tmp_path / "set", 2)


def test_places_lie_in_the_molecule_with_the_target_there(kept: DataSet) -> None:
    row = kept.side("train")[0]
    curves, target = read_curves(kept, keys(kept)[0])
    assert curves.values.shape == (len(target), 2, 44)
    assert np.isfinite(curves.values).all()
    found = target[curves.inside & (target > 0)]
    assert len(found) >= 8
    assert np.median(found) == pytest.approx(row.resolution, rel=0.05)


def test_curves_that_are_gone_are_taken_again_and_the_same(kept: DataSet) -> None:
    key = keys(kept)[0]
    before, _ = read_curves(kept, key)
    for path in (kept.folder / FOLDER).iterdir():
        path.unlink()
    training_stream(kept, PLAN)
    again, _ = read_curves(kept, key)
    np.testing.assert_array_equal(again.values, before.values)


def test_damaged_curves_are_told_with_the_cure(kept: DataSet) -> None:
    key = keys(kept)[0]
    for path in (kept.folder / FOLDER).iterdir():
        path.write_bytes(b"PK damaged")
    with pytest.raises(StoreError, match=f"missing or damaged.*remove .*{FILE}"):
        read_curves(kept, key)


def test_windows_where_no_noise_shows_are_off_as_a_guess_is(kept: DataSet) -> None:
    """Were they as wide as what is to be learnt wants them, their width would tell it."""
    row = kept.side("train")[0]
    guesses = [guessed_for(replace(row, entry=f"entry-{k}")) for k in range(400)]
    off = np.log(np.array(guesses) / (row.reported or row.resolution))
    assert np.std(off) == pytest.approx(0.12, rel=0.1)
    assert abs(np.mean(off)) < 0.02
    assert guesses[7] == guessed_for(replace(row, entry="entry-7"))
