from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.estimators.monogenic import FLANK, FourierSpace, MonogenicAmplitude, Voxels
from emres.volume.fourier import inverse_transform

# Odd edges: an even one has a Nyquist plane, whose sign the two ways round choose differently.
SHAPE = (21, 25, 27)


@pytest.fixture
def volume() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).normal(size=SHAPE).astype(np.float32))


def raised_cosine(share: np.ndarray) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(np.pi * share.clip(0, 1))


def envelope_of_the_high_passed(volume: np.ndarray, frequency: float) -> np.ndarray:
    """Filter first, then take the Riesz transforms: on the whole of Fourier space."""
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in volume.shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    spectrum = np.fft.fftn(volume) * raised_cosine((radius - frequency + FLANK) / FLANK)
    turned = -1j * spectrum / np.maximum(radius, 1e-9)
    parts = [np.fft.ifftn(part).real for part in (spectrum, *(turned * axis for axis in axes))]
    envelope = np.sqrt(sum(part**2 for part in parts))
    return np.fft.ifftn(np.fft.fftn(envelope) * raised_cosine((frequency + FLANK - radius) / FLANK)).real


@pytest.mark.parametrize("frequency", [0.04, 0.15, 0.3, 0.5])
def test_the_amplitude_is_that_of_the_high_passed_volume(frequency, volume):
    space = FourierSpace.of(volume)
    everywhere = Voxels.of(torch.ones(SHAPE, dtype=torch.bool))
    found = MonogenicAmplitude(volume, space)(space.band(frequency), everywhere).reshape(SHAPE)
    np.testing.assert_allclose(found, envelope_of_the_high_passed(volume.numpy(), frequency), atol=1e-4)


def test_a_plane_wave_has_its_own_height_everywhere():
    wave = torch.cos(2 * torch.pi * 5 * torch.arange(30) / 30).mul(3.0).expand(30, 30, 30).contiguous()
    unfiltered = MonogenicAmplitude(wave, FourierSpace.of(wave)).unfiltered()
    torch.testing.assert_close(unfiltered, torch.full_like(wave, 3.0), rtol=1e-4, atol=1e-4)


def test_voxels_are_taken_in_the_order_of_a_mask(volume):
    mask = volume > 1.0
    torch.testing.assert_close(Voxels.of(mask).take(volume), volume[mask])


@pytest.mark.parametrize("shape", [(6, 7, 8), (5, 6, 9)])
def test_missing_columns_of_a_spectrum_are_zero(shape):
    spectrum = torch.fft.rfftn(torch.from_numpy(np.random.default_rng(0).normal(size=shape)))
    torch.testing.assert_close(inverse_transform(spectrum, shape), torch.fft.irfftn(spectrum, s=shape))
    padded = spectrum.clone()
    padded[..., 2:] = 0
    torch.testing.assert_close(inverse_transform(spectrum[..., :2], shape), torch.fft.irfftn(padded, s=shape))
