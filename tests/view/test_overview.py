from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from emres.errors import MapError, UsageError
from emres.view.overview import overview_picture
from emres.volume.grid import Grid, make_volume
from tests.view.test_surface import GRID, RADIUS, ball, resolution_map


def test_surface_and_slices_are_drawn_in_one_picture_without_a_display(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    path = overview_picture(ball(), resolution_map(RADIUS, 0.0), 0.0, tmp_path / "a.png", title="a ball", reported=4.0)
    colours = np.ptp(imread(path)[..., :3], axis=-1) > 0.3
    middle = len(colours) // 2
    thirds = np.array_split(colours[:middle, : int(0.85 * colours.shape[1])], 3, axis=1)
    assert all(third.mean() > 0.05 for third in thirds), "a view of the surface is empty"
    assert colours[middle:].mean() > 0.05
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_coarser_overview_serves_for_the_surface(tmp_path: Path) -> None:
    coarse = Grid((20, 24, 28), (3.0, 2.4, 2.0), origin=GRID.to_angstrom((0.5, 0.5, 0.5)))
    path = overview_picture(
        ball(), resolution_map(RADIUS, 0.0), 0.0, tmp_path / "a.png",
        overview=(ball(coarse), resolution_map(RADIUS, 0.0, coarse)), palette="cividis",
    )  # fmt: skip
    assert (np.ptp(imread(path)[..., :3], axis=-1) > 0.2).mean() > 0.05


def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    path, resolution = tmp_path / "a.png", resolution_map(RADIUS, 0.0)
    with pytest.raises(MapError, match="no surface"):
        overview_picture(ball(), resolution, 1000.0, path)
    with pytest.raises(MapError, match="no resolved voxel"):
        overview_picture(ball(), resolution * 0, 0.0, path)
    with pytest.raises(UsageError, match="different grids"):
        overview_picture(make_volume(np.ones((9, 9, 9)), Grid((9, 9, 9), (1.0,) * 3)), resolution, 0.0, path)
    assert not list(tmp_path.iterdir())
