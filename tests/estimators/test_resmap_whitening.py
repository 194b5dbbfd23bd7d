from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.estimators import resmap_whitening
from emres.estimators.resmap_whitening import shell_means, whitened
from emres.volume.fourier import as_tensor, radial_frequency, radial_power


def test_whitening_flattens_the_spectrum_of_coloured_solvent():
    random = np.random.default_rng(1).normal(size=(40, 40, 40)).astype(np.float32)
    smooth = as_tensor(random + 2 * np.roll(random, 1, 0) + 2 * np.roll(random, 1, 1) + 2 * np.roll(random, 1, 2))
    frequency, before = radial_power(smooth, 1.0)
    _, after = radial_power(whitened(smooth, as_tensor(np.ones_like(random)) > 0, 1.0), 1.0)
    beyond = frequency > 0.12
    assert np.ptp(np.log(after[beyond])) < 0.5 * np.ptp(np.log(before[beyond]))


@pytest.mark.parametrize("at_once", [1, 8])
@pytest.mark.parametrize("power", [1, 2])
def test_the_mean_of_a_shell_is_over_the_stored_coefficients_whose_radius_rounds_to_it(power, at_once, monkeypatch):
    monkeypatch.setattr(resmap_whitening, "_AT_ONCE", at_once)
    shape = torch.Size((9, 12, 15))
    spectrum = torch.fft.rfftn(torch.from_numpy(np.random.default_rng(2).normal(size=shape).astype(np.float32)))
    radius = np.round(radial_frequency(shape, 1.0).numpy() * 15)
    found = shell_means(spectrum, shape, power)
    expected = [(spectrum.abs().numpy()[radius == shell] ** power).mean() for shell in range(11)]
    np.testing.assert_allclose(found[:11], expected, rtol=1e-5)
    assert len(found) > radius.max()
