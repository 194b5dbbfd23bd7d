from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from emres.errors import MapError, UsageError
from emres.view.palette import GRAY, PALETTES, Palette, determined, limits, palette_for

VALUES = np.linspace(3, 6, 201)


@pytest.mark.parametrize("name", PALETTES)
def test_colours_run_from_the_first_stop_to_the_last_and_hold_beyond(name: str) -> None:
    palette = palette_for(VALUES, name)
    ends = palette(np.array([0.5 * palette.low, palette.low, palette.high, palette.high + 0.1]))
    expected = [to_rgb(palette.colours[k]) for k in (0, 0, -1, -1)]
    np.testing.assert_allclose(ends, expected, atol=1e-6)


@pytest.mark.parametrize("name", PALETTES)
def test_no_two_stops_of_a_palette_look_alike_and_none_looks_gray(name: str) -> None:
    colours = np.array([to_rgb(colour) for colour in palette_for(VALUES, name).colours])
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert apart[~np.eye(len(colours), dtype=bool)].min() > 0.09
    assert np.linalg.norm(colours - to_rgb(GRAY), axis=1).min() > 0.15


@pytest.mark.parametrize("name", ["viridis", "cividis"])
def test_the_colour_blind_palettes_rise_in_brightness(name: str) -> None:
    colours = palette_for(VALUES, name)(np.linspace(3.1, 5.9, 30))
    assert (np.diff(colours @ (0.2126, 0.7152, 0.0722)) > 0).all()


def test_what_is_not_determined_or_far_off_the_scale_is_gray() -> None:
    palette = palette_for(VALUES)
    gray = palette(np.array([0.0, np.nan, 100.0, np.inf, palette.gray_from + 0.01]))
    np.testing.assert_allclose(gray, np.tile(to_rgb(GRAY), (5, 1)), atol=1e-6)
    assert determined(np.array([0, np.nan, 100, np.inf, 3, -1])).tolist() == [False] * 4 + [True, False]


def test_matplotlib_and_json_say_the_same_colours() -> None:
    palette = palette_for(VALUES)
    values = np.linspace(palette.low, palette.high, 37)
    np.testing.assert_allclose(palette.colormap(palette.scale(values))[:, :3], palette(values), atol=0.01)
    told = json.loads(json.dumps(palette.to_json()))
    at, colours = zip(*told["stops"], strict=True)
    linear = [np.interp(values, at, channel) for channel in np.array([to_rgb(colour) for colour in colours]).T]
    np.testing.assert_allclose(np.stack(linear, -1), palette(values), atol=1e-3)


def test_limits_are_percentiles_of_what_is_determined() -> None:
    background = np.array([0.0] * 500 + [100.0] * 500 + [np.nan] * 10)
    assert limits(np.concatenate([VALUES, background])) == limits(VALUES) == pytest.approx((3.06, 5.94))


def test_a_constant_resolution_has_a_scale_too() -> None:
    low, high = limits(np.full(10, 4.0))
    assert low < 4 < high


@pytest.mark.parametrize(("reported", "drawn"), [(4.5, True), (7.0, True), (30.0, False)])
def test_the_reported_resolution_widens_the_scale_but_does_not_spoil_it(reported: float, drawn: bool) -> None:
    low, high = limits(VALUES, reported)
    assert (low <= reported <= high) == drawn
    assert high - low < 5


def test_refusals() -> None:
    with pytest.raises(UsageError, match=r"palette.*rainbow-of-my-dreams.*viridis"):
        palette_for(VALUES, "rainbow-of-my-dreams")
    with pytest.raises(MapError, match="no resolved voxel"):
        palette_for(np.array([0.0, 100.0, np.nan]))


def test_hexes_are_the_colours() -> None:
    assert Palette("two", 1.0, 3.0, ("#000000", "#ffffff")).hexes(np.array([[1.0, 2.0, 3.0]])).tolist() == [
        ["#000000", "#808080", "#ffffff"]
    ]
