"""Curves of places tell where a map has more than elsewhere, whatever filter it went through."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft, ndimage

from emres.volume.blocks import Box
from emres.volume.local_power import LocalPower, local_power
from emres.volume.masking import block_any
from emres.volume.place_curves import FREQUENCIES, LOGS, PlaceCurves, onto_axis, place_curves
from emres.volume.spectrum import SHELLS, SIDE, Spectra, mean_power, molecule_windows
from tests.volume.test_one_map_fsc import reader

N, WIDTH = 80, 24


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    z, y, x = np.indices((N,) * 3) - N / 2
    return np.asarray(z**2 + y**2 + x**2 < 24**2)


@pytest.fixture(scope="module")
def density(ball: np.ndarray) -> np.ndarray:
    """A ball whose one half is finer, in noise."""
    rng = np.random.default_rng(2)
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=ball.shape), s) * s**1.5 * 6 for s in (0.8, 2.5))
    values = ball * np.where(np.indices(ball.shape)[2] < N // 2, fine, coarse) + rng.normal(size=ball.shape)
    return values.astype(np.float32)


def power_of(volume: np.ndarray, ball: np.ndarray) -> LocalPower:
    return local_power(reader(volume), reader(ball), block_any(ball, 8), Box((0, 0, 0), volume.shape), WIDTH)


def curves_of(volume: np.ndarray, ball: np.ndarray) -> PlaceCurves:
    inside = mean_power(map(reader(volume), molecule_windows(block_any(ball, 8), Box((0, 0, 0), volume.shape))))
    return place_curves(power_of(volume, ball), Spectra(1.0, inside))


def at(frequency: float) -> int:
    return int(np.argmin(np.abs(LOGS - np.log(frequency))))


def test_the_finer_half_has_more_at_high_frequencies(density: np.ndarray, ball: np.ndarray) -> None:
    curves = curves_of(density, ball)
    core, x = curves.values[curves.inside, 0, at(0.2)].astype(np.float32), curves.voxels()[curves.inside, 2]
    assert np.median(core[x < N // 2 - 8]) > np.median(core[x > N // 2 + 8]) + 0.5


def test_a_skirt_differs_less_from_place_to_place_than_a_core(density: np.ndarray, ball: np.ndarray) -> None:
    core, skirt = curves_of(density, ball).values.astype(np.float32).std(axis=0).mean(axis=1)
    assert skirt < core


def test_no_filter_changes_them(density: np.ndarray, ball: np.ndarray) -> None:
    along, half = fft.fftfreq(N), fft.rfftfreq(N)
    squared = along[:, None, None] ** 2 + along[:, None] ** 2 + half**2
    sharpened = fft.irfftn(fft.rfftn(density) * np.exp(6 * squared), s=density.shape).astype(np.float32)
    plain, sharp = (curves_of(volume, ball).values.astype(np.float32) for volume in (density, sharpened))
    assert np.abs(plain - sharp)[:, 0].mean() < 0.05
    assert np.abs(plain - sharp)[:, 1].mean() < 0.05


def test_levels_are_what_is_known_at_the_places_and_their_median_elsewhere(density, ball: np.ndarray) -> None:
    curves = curves_of(density, ball)
    known = np.linspace(1.0, 2.0, len(curves.values)).astype(np.float32)
    levels = curves.levels(known)
    assert levels.median == pytest.approx(float(np.median(known[curves.inside])), abs=1e-5)
    np.testing.assert_allclose(levels.values[tuple(curves.places.T)], known, atol=2e-3)
    elsewhere = np.ones(levels.values.shape, dtype=bool)
    elsewhere[tuple(curves.places.T)] = False
    np.testing.assert_allclose(levels.values[elsewhere], levels.median, atol=2e-3)


def test_every_voxel_of_the_molecule_lies_between_known_places(density: np.ndarray, ball: np.ndarray) -> None:
    """What stands elsewhere hardly tells on it: a cubic leans a little on the place behind the nearest."""
    curves = curves_of(density, ball)
    known = curves.levels(np.zeros(len(curves.values), dtype=np.float32))
    unknown = np.ones(known.values.shape, dtype=np.float32)
    unknown[tuple(curves.places.T)] = 0
    told = type(known)(unknown, known.start, known.step, 0.0).pattern((0, 0, 0), ball.shape)
    assert np.abs(told[ball]).max() < 0.01
    assert (told[ball] == 0).mean() > 0.9


def test_places_in_the_molecule_are_those_with_half_of_their_voxels_in_it(density, ball: np.ndarray) -> None:
    """A place lies between voxels, so eight are next to it."""
    curves = curves_of(density, ball)
    at = np.ceil(curves.voxels()).astype(int)
    within = ((at > 0) & (at < N)).all(axis=1)
    near = sum(ball[tuple((at[within] - step).T)].astype(int) for step in np.indices((2, 2, 2)).reshape(3, -1).T)
    np.testing.assert_array_equal(curves.inside[within], near >= 4)
    assert not curves.inside[~within].any()


def test_a_molecule_smaller_than_a_step_has_a_place() -> None:
    ball = np.zeros((40,) * 3, dtype=bool)
    ball[3:5, 20:22, 33:35] = True
    volume = np.random.default_rng(0).normal(size=ball.shape).astype(np.float32)
    assert len(curves_of(volume, ball).values) > 0


def test_the_axis_keeps_what_is_linear_and_goes_on_where_nothing_is_given() -> None:
    given = np.arange(4, 20) / SIDE
    found = given @ onto_axis(given)
    assert found.shape == (FREQUENCIES,)
    wanted = np.clip(np.exp(LOGS), given[0], given[-1])
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_nothing_in_a_shell_is_no_infinity(ball: np.ndarray) -> None:
    curves = place_curves(power_of(np.zeros(ball.shape, dtype=np.float32), ball), Spectra(1.0, (0.0,) * SHELLS))
    assert np.isfinite(curves.values).all()
