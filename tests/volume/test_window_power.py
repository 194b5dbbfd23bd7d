"""The power of small windows: that of white noise, of a wave, and of any number of windows alike."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume.window_power import frequencies, window_power


@pytest.mark.parametrize(("width", "order"), [(8, 2), (16, 2), (24, 2), (24, 4)])
def test_white_noise_has_its_variance_in_every_shell(width: int, order: int) -> None:
    windows = np.random.default_rng(0).normal(scale=2, size=(200, width, width, width)).astype(np.float32)
    np.testing.assert_allclose(window_power(windows, width, order).mean(axis=0), 4, rtol=0.1)


def test_a_wave_lies_in_the_shell_of_its_frequency() -> None:
    wave = np.cos(2 * np.pi * 0.25 * np.arange(16)).astype(np.float32)
    power = window_power(np.broadcast_to(wave, (1, 16, 16, 16)), 16)[0]
    assert frequencies(16)[power.argmax()] == 0.25


def test_a_smoother_taper_leaks_less() -> None:
    wave = 1e3 * np.cos(2 * np.pi * 0.0931 * np.arange(24)).astype(np.float32)
    far = frequencies(24) > 0.3
    hann, smooth = (window_power(np.broadcast_to(wave, (1, 24, 24, 24)), 24, order)[0][far] for order in (2, 4))
    assert smooth.max() < hann.max() / 20


def test_windows_do_not_depend_on_how_many_there_are() -> None:
    windows = np.random.default_rng(0).normal(size=(30, 8, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(window_power(windows, 8)[17:18], window_power(windows[17:18], 8), rtol=1e-5)
