from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.estimators import monogenic
from emres.estimators.monogenic import FLANK, MonogenicAmplitude, Voxels
from emres.volume.fourier import inverse_transform

# Odd edges: an even one has a Nyquist plane, whose sign the two ways round choose differently.
SHAPE = (21, 25, 27)


@pytest.fixture
def volume() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).normal(size=SHAPE).astype(np.float32))


def everywhere(shape: tuple[int, ...]) -> Voxels:
    return Voxels.of(torch.ones(shape, dtype=torch.bool))


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
    amplitude = MonogenicAmplitude(volume.shape, volume.device).load(volume)
    (found,) = amplitude.beyond(frequency, everywhere(SHAPE))
    np.testing.assert_allclose(found.reshape(SHAPE), envelope_of_the_high_passed(volume.numpy(), frequency), atol=1e-4)


def test_a_plane_wave_has_its_own_height_everywhere():
    wave = torch.cos(2 * torch.pi * 5 * torch.arange(30) / 30).mul(3.0).expand(30, 30, 30).contiguous()
    (blurred,) = MonogenicAmplitude(wave.shape, wave.device).load(wave).blurred(2.0, everywhere(wave.shape))
    torch.testing.assert_close(blurred, torch.full((wave.numel(),), 3.0), rtol=1e-4, atol=1e-4)


def test_another_volume_can_be_taken_after_the_first(volume):
    used = MonogenicAmplitude(volume.shape, volume.device).load(volume + 1.0)
    used.beyond(0.3, everywhere(SHAPE))
    fresh = MonogenicAmplitude(volume.shape, volume.device).load(volume)
    torch.testing.assert_close(
        used.load(volume).beyond(0.2, everywhere(SHAPE)), fresh.beyond(0.2, everywhere(SHAPE)), rtol=0, atol=0
    )


def test_values_come_in_the_order_of_a_mask(volume):
    amplitude = MonogenicAmplitude(volume.shape, volume.device).load(volume)
    everything, some = amplitude.beyond(0.2, everywhere(SHAPE), Voxels.of(volume > 1.0))
    torch.testing.assert_close(some, everything.reshape(SHAPE)[volume > 1.0])


def test_few_planes_at_a_time_give_the_same_as_all_at_once(volume, monkeypatch):
    def found() -> torch.Tensor:
        return MonogenicAmplitude(volume.shape, volume.device).load(volume).beyond(0.2, Voxels.of(volume > 0))[0]

    together = found()
    monkeypatch.setattr(monogenic, "_AT_ONCE_CPU", 1000)
    torch.testing.assert_close(found(), together)


@pytest.mark.parametrize("shape", [(6, 7, 8), (5, 6, 9)])
def test_missing_columns_of_a_spectrum_are_zero(shape):
    spectrum = torch.fft.rfftn(torch.from_numpy(np.random.default_rng(0).normal(size=shape)))
    torch.testing.assert_close(inverse_transform(spectrum, shape), torch.fft.irfftn(spectrum, s=shape))
    padded = spectrum.clone()
    padded[..., 2:] = 0
    torch.testing.assert_close(inverse_transform(spectrum[..., :2], shape), torch.fft.irfftn(padded, s=shape))
