"""A windowed sinc sees a neighbourhood, and says what the Fourier series says, to within a stated error."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume.local_resample import SINC_LOBES, sinc_matrix, sinc_reach
from emres.volume.resample import fourier_matrix


def band_limited(n: int, highest: float, seed: int = 0) -> np.ndarray:
    """A periodic signal without anything above a frequency (of the sampling rate, up to 0.5)."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.rfftfreq(n)
    coefficients = np.where(frequency <= highest, rng.normal(size=frequency.size), 0)
    return np.fft.irfft(coefficients, n)


def difference(n: int, m: int, step: float, highest: float, offset: float = 0.0) -> float:
    """Of the sinc to the Fourier series, away from the ends, over the rms."""
    signal = band_limited(n, highest)
    found, exact = (build(n, m, step, offset) @ signal for build in (sinc_matrix, fourier_matrix))
    inner = slice(SINC_LOBES, -SINC_LOBES)
    return float(np.std((found - exact)[inner]) / exact[inner].std())


@pytest.mark.parametrize("step", [0.57, 0.8, 1.0])
def test_going_finer_it_is_the_fourier_series(step: float) -> None:
    assert difference(300, int(300 / step), step, 0.42, offset=0.3) < 0.002


@pytest.mark.parametrize("step", [1.06, 1.415, 2.3])
def test_going_coarser_it_is_the_fourier_series_but_for_the_last_tenth_below_the_cut_off(step: float) -> None:
    m = int(300 / step)
    assert difference(300, m, step, 0.90 * 0.5 / step) < 0.005
    assert 0.01 < difference(300, m, step, 0.5) < 0.35  # what lies at the cut-off itself is where they differ


def test_what_the_new_grid_cannot_hold_is_taken_out() -> None:
    step, n = 2.0, 256
    wave = np.cos(2 * np.pi * 0.40 * np.arange(n))  # its Nyquist frequency is 0.25
    left = (sinc_matrix(n, 128, step) @ wave)[SINC_LOBES:-SINC_LOBES]
    assert np.abs(left).max() < 0.005


def test_a_constant_stays_one_inside_and_ends_are_zero() -> None:
    matrix = sinc_matrix(100, 60, 1.5, -6.0)
    inside = [k for k in range(60) if sinc_reach(1.5) <= 1.5 * k - 6 <= 99 - sinc_reach(1.5)]
    np.testing.assert_allclose(matrix.sum(axis=1)[inside], 1, atol=1e-6)
    far = sinc_matrix(100, 4, 1.0, 200.0)
    assert not far.any()


def test_the_same_voxels_stay_as_they_are() -> None:
    np.testing.assert_allclose(sinc_matrix(20, 20, 1.0), np.eye(20), atol=1e-7)
