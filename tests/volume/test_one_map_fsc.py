"""What one map shows of its local resolution: the truth where the noise is known, the same wherever one looks from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft
from scipy.stats import spearmanr

from emres.estimators.fsc import dense_fsc
from emres.volume import local_power as local_power_module
from emres.volume.blocks import Box
from emres.volume.levels import Levels
from emres.volume.local_power import local_power
from emres.volume.local_window import default_window
from emres.volume.masking import block_any
from emres.volume.one_map_fsc import local_levels, shown_resolution
from emres.volume.spectrum import SHELLS, Spectra

SIDE, WIDTH = 96, 24
WHITE = (1.0,) * SHELLS


def frequencies(side: int) -> np.ndarray:
    along, half = fft.fftfreq(side), fft.rfftfreq(side)
    return np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + half**2)


def low_passed(values: np.ndarray, resolution: float) -> np.ndarray:
    """Leave what is coarser than so many voxels."""
    return fft.irfftn(fft.rfftn(values) * (frequencies(len(values)) <= 1 / resolution), s=values.shape)


def falling(values: np.ndarray, resolution: float) -> np.ndarray:
    """Let the power fall as that of molecules does, to a third at so many voxels."""
    gain = np.exp(-4.1 * (frequencies(len(values)) * resolution - 1)) / np.sqrt(3)
    return fft.irfftn(fft.rfftn(values) * gain, s=values.shape)


def reader(volume: np.ndarray):
    def read(box: Box) -> np.ndarray:
        part, inner = np.zeros(box.shape, dtype=np.float32), box.clipped(volume.shape)
        part[inner.within(box).slices] = volume[inner.slices]
        return part

    return read


@pytest.fixture(scope="module")
def halves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two half maps, with signal as of 4 voxels in one half of a ball and as of 8 voxels in the other; the ball."""
    rng = np.random.default_rng(5)
    z, y, x = np.indices((SIDE,) * 3) - SIDE / 2
    ball = z**2 + y**2 + x**2 < 30**2
    white = rng.normal(size=ball.shape)
    signal = ball * np.where(x < 0, falling(white, 4.0), falling(white, 8.0))
    first, second = ((signal + np.sqrt(2) * rng.normal(size=ball.shape)).astype(np.float32) for _ in range(2))
    return first, second, ball


@pytest.fixture(scope="module")
def two_plateaus(halves: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Their average, with noise of variance 1."""
    first, second, ball = halves
    return (first + second) / 2, ball


def levels_of(volume: np.ndarray, ball: np.ndarray, noise: tuple[float, ...] = WHITE) -> Levels:
    room = Box((0, 0, 0), volume.shape)
    return local_levels(local_power(reader(volume), reader(ball), block_any(ball, 8), room, WIDTH), noise)


def resolution(levels: Levels, shape: tuple[int, int, int]) -> np.ndarray:
    return np.exp(levels.pattern((0, 0, 0), shape) + levels.median)


def test_one_map_shows_what_the_fsc_of_its_halves_is(halves: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    first, second, ball = halves
    dense = np.asarray(dense_fsc(first, second, 1.0, window=WIDTH).resolution)
    found = resolution(levels_of((first + second) / 2, ball), ball.shape)
    assert spearmanr(found[ball], dense[ball])[0] > 0.95
    assert np.median(np.abs(found - dense)[ball]) < 0.2


def test_a_filter_changes_nothing(two_plateaus: tuple[np.ndarray, np.ndarray]) -> None:
    """It changes the noise as it changes the map."""
    volume, ball = two_plateaus
    frequency = np.arange(SHELLS) / 48
    gain = np.exp(4 * frequencies(SIDE) ** 2)
    sharpened = fft.irfftn(fft.rfftn(volume) * gain, s=volume.shape).astype(np.float32)
    plain, sharp = levels_of(volume, ball), levels_of(sharpened, ball, tuple(np.exp(8 * frequency**2)))
    change = resolution(sharp, volume.shape)[ball] / resolution(plain, volume.shape)[ball]
    assert abs(np.median(change) - 1) < 0.03
    assert np.abs(change - 1).max() < 0.12


def test_noise_alone_is_coarse_and_signal_alone_is_fine(two_plateaus: tuple[np.ndarray, np.ndarray]) -> None:
    ball, rng = two_plateaus[1], np.random.default_rng(1)
    white = rng.normal(size=ball.shape).astype(np.float32)
    assert levels_of(white, ball).median > np.log(WIDTH / 2)
    assert levels_of(10 * white, ball).median == pytest.approx(np.log(2), abs=0.01)


def test_turning_the_map_turns_the_answer(two_plateaus: tuple[np.ndarray, np.ndarray]) -> None:
    volume, ball = two_plateaus
    upright = resolution(levels_of(volume, ball), volume.shape)
    turned = resolution(
        levels_of(np.ascontiguousarray(np.swapaxes(volume, 0, 2)), np.swapaxes(ball, 0, 2)), volume.shape
    )
    np.testing.assert_allclose(np.swapaxes(turned, 0, 2), upright, rtol=1e-3)


def test_a_box_shows_what_the_whole_shows(two_plateaus: tuple[np.ndarray, np.ndarray]) -> None:
    volume, ball = two_plateaus
    levels = levels_of(volume, ball)
    whole = levels.pattern((0, 0, 0), volume.shape)
    np.testing.assert_allclose(levels.pattern((13, 40, 7), (20, 30, 40)), whole[13:33, 40:70, 7:47], atol=1e-6)
    half = levels.pattern((13.5, 40, 7), (1, 1, 1)).item()
    assert half == pytest.approx((whole[13, 40, 7] + whole[14, 40, 7]) / 2, abs=1e-4)  # it is no straight line


def test_a_molecule_at_the_faces_is_looked_at_as_one_in_the_middle(
    two_plateaus: tuple[np.ndarray, np.ndarray],
) -> None:
    """Windows that reach beyond the box count for what they have within."""
    volume, ball = two_plateaus
    cut = (slice(14, 82),) * 3
    tight, whole = levels_of(volume[cut], ball[cut]), levels_of(volume, ball)
    inside = ball[cut]
    change = resolution(tight, inside.shape)[inside] / resolution(whole, volume.shape)[cut][inside]
    assert abs(np.median(change) - 1) < 0.05


def test_fewer_windows_say_the_same(
    two_plateaus: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large map they lie further apart, so that memory is bounded."""
    volume, ball = two_plateaus
    many = levels_of(volume, ball)
    monkeypatch.setattr(local_power_module, "_PLACES", 512)
    few = levels_of(volume, ball)
    assert few.values.size < many.values.size / 4
    change = resolution(few, volume.shape)[ball] / resolution(many, volume.shape)[ball]
    assert np.abs(change - 1).mean() < 0.05


def test_what_a_low_pass_left_nothing_of_is_not_looked_at(two_plateaus: tuple[np.ndarray, np.ndarray]) -> None:
    ball, frequency = two_plateaus[1], np.arange(SHELLS) / 48
    white = np.random.default_rng(3).normal(size=ball.shape)
    found = levels_of(
        low_passed(10 * white, 5.0).astype(np.float32), ball, tuple(np.where(frequency < 1 / 5, 1.0, 0.0))
    )
    assert np.exp(found.median) == pytest.approx(5.0, abs=0.6)


def test_spectra_show_the_resolution_of_the_whole() -> None:
    signal = tuple(np.where(np.arange(SHELLS) < 16, 3.0, 1.0))
    assert shown_resolution(Spectra(2.0, signal, WHITE)) == pytest.approx(48 * 2.0 / 16 / 1.15)
    assert shown_resolution(Spectra(2.0, tuple(3 * np.array(WHITE)), WHITE)) == pytest.approx(4.0 / 1.15)


def test_windows_are_as_wide_as_those_of_the_dense_fsc() -> None:
    assert [default_window(*pair) for pair in ((1.0, 3.0), (2.0, 3.0), (1.0, 8.0))] == [30.0, 34.0, 56.0]
