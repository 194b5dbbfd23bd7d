from __future__ import annotations

import time

import numpy as np
import pytest

from emres.errors import MapError
from emres.view.palette import Palette, palette_for
from emres.view.render import VIEWS, Picture, make_scene, render
from emres.volume.grid import Grid, make_volume
from tests.view.test_surface import CENTRE, GRID, RADIUS, ball, distances, resolution_map, true_resolution

PALETTE = Palette("two", 3.0, 7.0, ("#0000ff", "#ff0000"), gray="#00ff00")


def picture(view: str = "front", **kwargs) -> Picture:
    scene = make_scene(
        ball(), 0.0, resolution_map(kwargs.pop("mask_radius", RADIUS - 1.3), kwargs.pop("background", 0.0))
    )
    return render(scene, view, PALETTE, **kwargs)


def seen(found: Picture) -> np.ndarray:
    return found.rgba[..., 3] > 0.99


@pytest.mark.parametrize("view", VIEWS)
def test_a_ball_is_a_disc_of_its_size_in_angstrom_from_every_side(view: str) -> None:
    found = picture(view)
    area = found.rgba[..., 3].sum() * found.pixel_size**2
    assert area == pytest.approx(np.pi * RADIUS**2, rel=0.02)
    rows, columns = np.nonzero(seen(found))
    for place, length in ((rows, found.extent[0]), (columns, found.extent[1])):
        assert np.ptp(place) * found.pixel_size == pytest.approx(2 * RADIUS, rel=0.03)
        assert length < 2 * RADIUS + 12


@pytest.mark.parametrize("background", [0.0, 100.0])
def test_no_streaks_of_the_background_come_into_the_picture(background: float) -> None:
    """Colours change smoothly along z although the mask ends below the surface; nothing is gray (here: green)."""
    found = picture("top", background=background, pixels=120)
    red, green, blue = (found.rgba[..., channel] for channel in range(3))
    share = ((red - green) / (red + blue - 2 * green + 1e-6))[seen(found)]  # white is added by gloss and fog
    rows, _ = np.nonzero(seen(found))
    middle = (rows.max() + rows.min()) / 2
    height = (rows - middle) / (np.ptp(rows) / 2) * RADIUS  # in the view from the top z points down
    expected = (true_resolution(CENTRE + np.stack([height, 0 * height, 0 * height], -1)) - 3) / 4
    assert np.abs(share - np.clip(expected, 0, 1)).max() < 0.12


@pytest.mark.parametrize(
    ("view", "seen_at"),
    [("front", {"y": "up", "x": "right"}), ("side", {"y": "up", "z": "left"}), ("top", {"z": "down", "x": "right"})],
)
def test_the_views_show_what_a_right_handed_viewer_sees(view: str, seen_at: dict[str, str]) -> None:
    """A big ball with a small one on its +x, +y or +z side: it is seen where x, y, z as a right hand says."""
    for axis, side in seen_at.items():
        offset = 0.75 * RADIUS * np.eye(3)["zyx".index(axis)]
        both = np.maximum(ball(radius=0.6 * RADIUS), ball(centre=CENTRE + offset, radius=4.0))
        rgba = render(make_scene(both, 0.0, resolution_map(RADIUS, 0.0)), view, PALETTE, pixels=90).rgba
        rows, columns = np.nonzero(rgba[..., 3] > 0.5)
        cropped = rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, 3]
        along = {"up": cropped, "down": cropped[::-1], "left": cropped.T, "right": cropped.T[::-1]}[side]
        # The small ball is narrower than the big one, at the same distance from the end of what is seen.
        deep = len(along) // 8
        assert along[deep].sum() < 0.8 * along[-1 - deep].sum(), (view, axis)


def test_a_small_map_is_drawn_smoothly_and_dust_is_not() -> None:
    grid = Grid((18, 18, 18), (6.0, 6.0, 6.0))
    centre = np.array(grid.to_angstrom((9, 9, 9)))
    values = (30 - distances(grid, centre)).astype(np.float32)
    values[1, 1, 1] = 3.0
    scene = make_scene(make_volume(values, grid), 0.0, make_volume(np.full(grid.shape, 5.0, np.float32), grid))
    found = render(scene, "front", PALETTE, pixels=150)
    rows, columns = np.nonzero(seen(found))
    away = np.hypot(rows - rows.mean(), columns - columns.mean()) * found.pixel_size
    assert away.max() == pytest.approx(30, abs=1.0)
    assert seen(found).sum() * found.pixel_size**2 == pytest.approx(np.pi * 30**2, rel=0.03)


def test_light_comes_from_above() -> None:
    found = picture("front", pixels=120)
    brightness = found.rgba[..., :3].sum(-1)
    rows, _ = np.nonzero(seen(found))
    third = np.ptp(rows) // 3
    upper, lower = (
        brightness[part][seen(found)[part]].mean()
        for part in (slice(0, rows.min() + third), slice(rows.max() - third, None))
    )
    assert upper > lower


@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 12, 9), (30, 2, 5)])
def test_thin_maps_are_drawn(shape: tuple[int, int, int]) -> None:
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    volume = make_volume(values, Grid(shape, (1.0, 2.0, 1.3)))
    scene = make_scene(volume, float(values.mean()), np.abs(volume) + 2)
    assert any(seen(render(scene, view, PALETTE, pixels=40)).any() for view in VIEWS)


def test_a_map_of_256_voxels_is_drawn_from_three_sides_in_five_seconds() -> None:
    grid = Grid((256, 256, 256), (1.0, 1.0, 1.0))
    waves = [np.sin(np.arange(256, dtype=np.float32) / step) for step in (5, 6, 7)]
    values = waves[0][:, None, None] + waves[1][None, :, None] + waves[2][None, None, :]
    values *= distances(grid, np.array([128.0] * 3)).astype(np.float32) < 100
    volume = make_volume(values, grid)
    resolution = make_volume(np.where(values > 0, 4 + values, 0).astype(np.float32), grid)
    start = time.process_time()
    scene = make_scene(volume, 1.0, resolution)
    for view in VIEWS:
        render(scene, view, palette_for(resolution.values))
    assert time.process_time() - start < 10  # 5 s on a quiet core


def test_a_level_that_the_map_never_crosses_is_refused() -> None:
    with pytest.raises(MapError, match="no surface"):
        make_scene(ball(), 100.0, resolution_map(RADIUS, 0.0))
    assert GRID.voxels == ball().size
