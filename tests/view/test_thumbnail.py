from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from emres.errors import MapError, UsageError
from emres.view.thumbnail import SIDE, thumbnail
from emres.volume.grid import Grid, make_volume
from tests.view.test_slices import pair


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGBA")).astype(int)


def test_colours_lie_in_the_mask_and_tell_fine_from_coarse() -> None:
    picture = opened(thumbnail(*pair(), 10_000))
    assert picture.shape == (SIDE, 3 * SIDE, 4)
    inside = picture[..., 3] > 200
    assert 0.4 < inside.mean() < 0.8
    assert picture[0, 0, 3] == 0
    left, right = (picture[:, part][inside[:, part]] for part in (slice(0, 25), slice(31, 56)))  # x < 0 is 3 Å
    assert left[:, 2].mean() > left[:, 0].mean() + 50
    assert right[:, 0].mean() > right[:, 2].mean() + 50


def test_z_rises_upwards() -> None:
    volume, resolution = pair()
    resolution.values[:20][resolution.values[:20] > 0] = 3.0
    resolution.values[20:][resolution.values[20:] > 0] = 6.0
    picture = opened(thumbnail(volume, resolution, 10_000))[:, SIDE : 2 * SIDE]
    top, bottom = (part[part[..., 3] > 200] for part in (picture[:25], picture[31:]))
    assert top[:, 0].mean() > top[:, 2].mean() + 50
    assert bottom[:, 2].mean() > bottom[:, 0].mean() + 50


def test_less_room_makes_a_smaller_picture_and_none_at_last() -> None:
    values = np.random.default_rng(1).uniform(3, 9, (64, 64, 64)).astype(np.float32)
    grid = Grid((64, 64, 64), (1.0, 1.0, 1.0))
    noise = make_volume(values, grid), make_volume(values, grid, kind="local_resolution/a@1")
    sizes = []
    for most in (100_000, 4000, 2000, 1500):
        data = thumbnail(*noise, most)
        assert len(data) <= most
        sizes.append(len(data))
    assert sizes == sorted(sizes, reverse=True)
    assert thumbnail(*noise, 100) is None


@pytest.mark.parametrize("shape", [(1, 30, 40), (40, 1, 3), (1, 1, 1)])
def test_odd_maps_have_pictures(shape: tuple[int, int, int]) -> None:
    values = np.full(shape, 5.0, dtype=np.float32)
    volume = make_volume(values, Grid(shape, (1.0, 2.0, 1.0)))
    assert (opened(thumbnail(volume, volume, 10_000))[..., 3] > 0).any()


def test_what_has_no_picture_is_told() -> None:
    volume, resolution = pair()
    with pytest.raises(MapError, match="no resolved voxel"):
        thumbnail(volume, resolution * 0, 10_000)
    with pytest.raises(UsageError, match="different grids"):
        thumbnail(volume, resolution[1:], 10_000)
