"""The picture of a data set's resolutions: whole, or a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from emres.errors import UsageError
from emres.view.resolution_histogram import COLOURS, histogram_picture

EDGES = [2.0, 2.25, 2.5, 2.75]
SIDES = {"train": [5, 9, 1], "validation": [0, 2, 2], "test": [0, 0, 0]}


def test_each_side_is_drawn_in_its_colour(tmp_path: Path) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    picture = imread(histogram_picture(EDGES, SIDES, tmp_path / "h.png", title="toy"))[..., :3]
    seen = {split: (abs(picture - to_rgb(colour)).max(axis=2) < 0.02).sum() for split, colour in COLOURS.items()}
    assert seen["train"] > 3 * seen["validation"] > 0
    assert seen["test"] < seen["validation"]
    assert [path.name for path in tmp_path.iterdir()] == ["h.png"]


@pytest.mark.parametrize(("edges", "sides"), [([], {"train": []}), ([2.0, 3.0], {"train": [1, 2]})])
def test_what_is_no_histogram_is_refused(tmp_path: Path, edges: list[float], sides: dict[str, list[float]]) -> None:
    with pytest.raises(UsageError, match="no histogram"):
        histogram_picture(edges, sides, tmp_path / "h.png")
    assert not list(tmp_path.iterdir())
