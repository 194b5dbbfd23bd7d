"""An answer that does not go with the resolution that was told is said not to."""

from __future__ import annotations

from pathlib import Path

import pytest

from emres.run.finish import at_its_limit, far_from_reported
from emres.run.single import predict_input

EMBEDDED = Path(__file__).parents[2] / "emres/archive/embedded/structures/EMD-6824/map/emd_6824.map.gz"


@pytest.mark.parametrize(("median", "reported"), [(17.4, 8.4), (2.0, 4.0)])
def test_an_answer_far_from_what_is_reported_is_said_to_be(median: float, reported: float) -> None:
    [sentence] = far_from_reported(median, reported)
    for figure in (median, reported):
        assert f"{figure:.3g} Å" in sentence


@pytest.mark.parametrize("reported", [None, 3.0, 5.0])
def test_an_answer_that_goes_with_it_is_not(reported: float | None) -> None:
    assert far_from_reported(4.6, reported) == []


def test_a_prediction_that_was_told_nonsense_says_so(tmp_path: Path) -> None:
    """EMD-6824 is a map of 5.8 Å on voxels of 2.6 Å: nothing is finer than two of them."""
    facts = predict_input(str(EMBEDDED), output=tmp_path / "out.mrc", resolution=2.0)
    assert any("times the reported 2 Å" in sentence for sentence in facts["warnings"])


@pytest.mark.parametrize(("median", "says"), [(22.6, "22.6 Å, the coarsest"), (2.21, "2.2 Å, two voxels")])
def test_an_answer_at_a_limit_is_said_to_be_that_or_beyond(median: float, says: str) -> None:
    [sentence] = at_its_limit(median, 2.2, 22.6)
    assert says in sentence
    assert at_its_limit(20.0, 2.2, 22.6) == []


def test_a_map_whose_voxels_are_too_coarse_says_so(tmp_path: Path) -> None:
    """EMD-3197 has voxels of 11.4 Å: were it of 12 Å, no answer could say so."""
    file = EMBEDDED.parents[2] / "EMD-3197/map/emd_3197.map.gz"
    facts = predict_input(str(file), output=tmp_path / "out.mrc", resolution=12.0)
    assert any("22.8 Å, two voxels of the map" in sentence for sentence in facts["warnings"])
