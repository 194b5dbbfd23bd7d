"""The FSC of two whole half maps, against what can be said without computing it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.errors import UsageError
from emres.estimators.global_fsc import (
    GlobalFsc,
    global_fsc,
    randomise_beyond,
    resolution_at,
    shell_correlation,
)
from emres.volume.masking import soft_edge

SHAPE, VOXEL = (36, 40, 33), 1.5


def noise(seed: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def low_passed(values: np.ndarray, finest: float) -> np.ndarray:
    frequency = np.sqrt(sum(np.square(f) for f in np.meshgrid(
        *(np.fft.fftfreq(n, VOXEL) for n in values.shape), indexing="ij")))  # fmt: skip
    return np.fft.ifftn(np.fft.fftn(values) * (frequency < 1 / finest)).real.astype(np.float32)


def mask() -> np.ndarray:
    z, y, x = (np.arange(n) - n / 2 for n in SHAPE)
    ball = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 < 100
    return soft_edge(ball, 4)


def test_a_map_agrees_with_itself_up_to_nyquist_and_noise_with_nothing() -> None:
    same = global_fsc(noise(1), 3 * noise(1) - 2, VOXEL)
    assert np.allclose(same.unmasked, 1)
    assert same.resolution(0.143) == pytest.approx(2 * VOXEL, rel=0.03)
    other = global_fsc(noise(1), noise(2), VOXEL)
    assert np.abs(other.unmasked[6:]).max() < 0.25
    assert other.resolution(0.143) > 10


def test_the_curve_is_the_plain_sum_over_all_coefficients() -> None:
    one, two = noise(1) + noise(3), noise(2) + noise(3)
    a, b = np.fft.fftn(one), np.fft.fftn(two)
    frequency = np.sqrt(sum(np.square(f) for f in np.meshgrid(
        *(np.fft.fftfreq(n, VOXEL) for n in SHAPE), indexing="ij")))  # fmt: skip
    index = np.round(frequency * max(SHAPE) * VOXEL).astype(int)
    found, curve = shell_correlation(torch.from_numpy(one), torch.from_numpy(two), VOXEL)
    for shell in range(1, len(curve)):
        of = index == shell
        cross, power = (a * b.conj())[of].real.sum(), [np.square(np.abs(c[of])).sum() for c in (a, b)]
        assert curve[shell] == pytest.approx(cross / np.sqrt(power[0] * power[1]), abs=1e-4)
        assert found[shell] == pytest.approx(shell / (max(SHAPE) * VOXEL))


def test_two_maps_that_share_what_is_coarse_cross_where_it_ends() -> None:
    signal = low_passed(noise(3), finest=6.0)
    found = global_fsc(signal + 0.01 * noise(1), signal + 0.01 * noise(2), VOXEL)
    assert found.resolution(0.5) == pytest.approx(6.0, rel=0.1)
    swapped = global_fsc(signal + 0.01 * noise(2), signal + 0.01 * noise(1), VOXEL)
    assert np.allclose(found.unmasked, swapped.unmasked, atol=1e-5)


def test_what_a_hard_mask_feigns_is_taken_off() -> None:
    """Noise beyond 6 Å in both; a tight, nearly hard mask correlates it, and the correction takes that away."""
    signal, hard = 5 * low_passed(noise(3), finest=6.0), (mask() > 0.9).astype(np.float32)
    halves = [signal + 2 + 0.3 * noise(k) for k in (1, 2)]
    found = global_fsc(*halves, VOXEL, hard)
    beyond = found.frequency > 1.15 / 6.0
    assert found.masked[beyond].mean() > 0.3
    assert abs(found.corrected[beyond].mean()) < 0.5 * found.masked[beyond].mean()
    assert found.best == "corrected"
    assert list(found.curves) == ["unmasked", "masked", "randomised", "corrected"]
    assert found.randomised_beyond == pytest.approx(6.0, rel=0.15)


def test_below_the_randomised_shells_nothing_is_corrected() -> None:
    signal = low_passed(noise(3), finest=6.0)
    found = global_fsc(signal + 0.1 * noise(1), signal + 0.1 * noise(2), VOXEL, mask())
    untouched = found.frequency <= 1 / found.randomised_beyond
    assert np.array_equal(found.corrected[untouched], found.masked[untouched])
    assert not np.array_equal(found.corrected, found.masked)


def test_random_phases_keep_amplitudes_and_what_is_coarse() -> None:
    values = torch.from_numpy(noise(1))
    random = randomise_beyond(values, VOXEL, 1 / 6, seed=0)
    a, b = torch.fft.rfftn(values), torch.fft.rfftn(random)
    assert torch.allclose(a.abs(), b.abs(), rtol=1e-3, atol=1e-2)
    frequency, fsc = shell_correlation(values, random, VOXEL)
    assert np.allclose(fsc[frequency < 0.95 / 6], 1, atol=1e-4)
    assert np.abs(fsc[frequency > 1.05 / 6]).mean() < 0.1
    assert torch.equal(random, randomise_beyond(values, VOXEL, 1 / 6, seed=0))
    assert not torch.equal(random, randomise_beyond(values, VOXEL, 1 / 6, seed=1))


@pytest.mark.parametrize(
    ("fsc", "expected"),
    [([1, 1, 1, 1], 1 / 0.3), ([1, 0.4, 0, 0], 12.0), ([1, 1, 0, 1], 1 / 0.15), ([1, 0, 0, 0], 20.0)],
)
def test_the_resolution_is_the_first_crossing(fsc: list[float], expected: float) -> None:
    assert resolution_at([0.0, 0.1, 0.2, 0.3], fsc, 0.5) == pytest.approx(expected)


def test_the_curve_that_counts_is_the_unmasked_one_without_a_mask() -> None:
    frequency = np.array([0.0, 0.1, 0.2])
    alone = GlobalFsc(frequency, np.array([1.0, 0.5, 0.0]))
    assert (alone.best, alone.resolution(0.25)) == ("unmasked", pytest.approx(1 / 0.15))


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="differ in shape"):
        global_fsc(noise(1), noise(2), VOXEL, np.ones((4, 4, 4)))
    with pytest.raises(UsageError, match="empty"):
        global_fsc(noise(1), noise(2), VOXEL, np.zeros(SHAPE))
