"""Every augmentation does to a patch what it would do to a map, and nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import fft, ndimage

from emres.errors import UsageError
from emres.model.augment import (
    CONTEXT,
    ROTATIONS,
    USUAL,
    Augmentation,
    b_factor_gain,
    filtered,
    placed,
    rms_gain,
    rotated,
    soft_mask,
    varied_spectra,
    vary,
    with_noise,
)
from emres.volume.spectrum import SHELLS, SIDE, Spectra, mean_power

VOXEL_SIZE = 1.5
FLAT = Spectra(VOXEL_SIZE, (1.0,) * SHELLS, (0.5,) * SHELLS)


def windows_of(values: np.ndarray) -> list[np.ndarray]:
    return [
        values[a : a + SIDE, b : b + SIDE, c : c + SIDE]
        for a, b, c in itertools.product((0, values.shape[0] - SIDE), repeat=3)
    ]


@pytest.fixture
def density() -> np.ndarray:
    rng = np.random.default_rng(0)
    return ndimage.gaussian_filter(rng.normal(size=(40, 40, 40)), 0.8, mode="wrap").astype(np.float32)


@pytest.fixture
def wide() -> np.ndarray:
    """Wider than a window of a spectrum."""
    rng = np.random.default_rng(0)
    return ndimage.gaussian_filter(rng.normal(size=(56, 56, 56)), 0.8, mode="wrap").astype(np.float32)


@pytest.fixture
def target() -> np.ndarray:
    target = np.zeros((40, 40, 40), dtype=np.float32)
    target[12:28, 12:28, 12:28] = 3.0
    return target


def test_turns_are_a_group_without_mirror_images() -> None:
    corner = np.random.default_rng(1).normal(size=(4, 4, 4))
    turned = {placed(corner, turn, False).tobytes() for turn in range(24)}
    mirrored = {placed(corner, turn, True).tobytes() for turn in range(24)}
    assert len(turned) == len(mirrored) == len(ROTATIONS) == 24
    assert turned.isdisjoint(mirrored)
    assert all(
        np.ascontiguousarray(rotated(np.frombuffer(one).reshape(4, 4, 4), 7)).tobytes() in turned for one in turned
    )


@pytest.mark.parametrize("b_factor", [60.0, -60.0])
def test_a_b_factor_multiplies_every_wave_by_its_gain(b_factor: float) -> None:
    n, k = 40, 6
    wave = np.cos(2 * np.pi * k * np.arange(n) / n).astype(np.float32)
    cube = np.broadcast_to(wave, (n, n, n))
    frequency = k / (n * VOXEL_SIZE)
    expected = np.exp(-b_factor * frequency**2 / 4)
    np.testing.assert_allclose(filtered(cube, b_factor, VOXEL_SIZE), expected * cube, atol=1e-5)


def test_blurring_undoes_sharpening(density: np.ndarray) -> None:
    there_and_back = filtered(filtered(density, -40, VOXEL_SIZE), 40, VOXEL_SIZE)
    np.testing.assert_allclose(there_and_back, density, atol=1e-4)


def test_nothing_finer_than_the_map_is_sharpened_any_further() -> None:
    square = np.linspace(0, 1 / 9, 50)
    gain = b_factor_gain(square, -200, finest=5.0)
    assert gain.max() == pytest.approx(np.exp(200 / 4 / 25))
    assert (np.diff(gain) >= 0).all()
    assert b_factor_gain(np.array([10.0]), -200)[0] == pytest.approx(np.exp(3))


def test_a_patch_with_its_context_is_filtered_as_the_map_is() -> None:
    whole = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(96, 96, 96)), 1.0).astype(np.float32)
    for b_factor in (80.0, -80.0):
        of_map = filtered(whole, b_factor, VOXEL_SIZE, 3.5)[32:64, 32:64, 32:64]
        part = whole[32 - CONTEXT : 64 + CONTEXT, 32 - CONTEXT : 64 + CONTEXT, 32 - CONTEXT : 64 + CONTEXT]
        inner = (slice(CONTEXT, -CONTEXT),) * 3
        of_patch = filtered(part, b_factor, VOXEL_SIZE, 3.5)[inner]
        assert (of_patch - of_map).std() < 0.01 * of_map.std()


def test_the_rms_gain_is_the_one_that_the_map_has(wide: np.ndarray) -> None:
    spectra = Spectra(VOXEL_SIZE, mean_power(windows_of(wide)))
    for b_factor in (-60.0, 60.0):
        rms = [np.sqrt(np.square(part).mean()) for part in (filtered(wide, b_factor, VOXEL_SIZE), wide)]
        assert rms_gain(spectra, b_factor, 0.0) == pytest.approx(rms[0] / rms[1], rel=0.05)


@pytest.mark.parametrize(
    "plan", [Augmentation(b_factor=(-60.0, -60.0)), Augmentation(noise=0.6), Augmentation(gain=0.4)]
)
def test_the_spectra_are_those_of_the_map_that_was_varied(wide: np.ndarray, plan: Augmentation) -> None:
    normalised = wide / wide.std()
    before = Spectra(VOXEL_SIZE, mean_power(windows_of(normalised)))
    varied = vary(normalised, np.ones_like(wide), plan, VOXEL_SIZE, (before, 3.0), seed=4)
    after = np.array(mean_power(windows_of(varied)))
    found = np.array(varied_spectra(before, plan, 3.0, seed=4).inside)
    np.testing.assert_allclose(found[1:16], after[1:16], rtol=0.15)


def test_a_masked_patch_is_of_a_map_with_nothing_beside_its_molecule() -> None:
    assert not any(varied_spectra(FLAT, Augmentation(mask=1.0), 3.0, seed=1).outside)
    assert varied_spectra(FLAT, Augmentation(), 3.0, seed=1) == FLAT


def test_noise_is_white_and_the_rms_stays_one() -> None:
    rng = np.random.default_rng(3)
    signal = rng.normal(size=(48, 48, 48)).astype(np.float32)
    noisy = with_noise(signal, 0.5, np.random.default_rng(4))
    assert noisy.std() == pytest.approx(1, abs=0.01)
    noise = noisy * np.sqrt(1.25) - signal
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    power = np.square(np.abs(fft.fftn(noise)))
    assert power[4:12, 4:12, 4:12].mean() == pytest.approx(power[14:22, 14:22, 14:22].mean(), rel=0.15)


def test_a_soft_mask_is_one_in_the_molecule_and_zero_far_from_it(target: np.ndarray) -> None:
    mask = soft_mask(target, 5, 1.0)
    assert mask[target > 0].min() > 0.999
    assert mask[:3].max() < 0.01
    assert 0.2 < mask[20, 20, 6] < 0.8
    assert (np.diff(mask[20, 20, :20]) >= -1e-6).all()
    np.testing.assert_allclose(soft_mask(np.ones_like(target), 3, 2.0), 1, atol=1e-6)


def test_masked_is_masked_and_the_rest_goes_on(density: np.ndarray, target: np.ndarray) -> None:
    masked = vary(density, target, Augmentation(mask=1.0), VOXEL_SIZE, (FLAT, 3.0), seed=1)
    np.testing.assert_allclose(masked[14:26, 14:26, 14:26], density[14:26, 14:26, 14:26], rtol=0.2)
    assert not masked[0].any()


def test_gain_and_offset_are_one_number_each_for_a_patch(density: np.ndarray, target: np.ndarray) -> None:
    varied = vary(density, target, Augmentation(gain=0.3, offset=0.2), VOXEL_SIZE, (FLAT, 3.0), seed=2)
    slope, offset = np.polyfit(density.ravel(), varied.ravel(), 1)
    assert slope != pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(varied, slope * density + offset, atol=1e-5)
    seeds = [vary(density, target, Augmentation(gain=0.3), VOXEL_SIZE, (FLAT, 3.0), seed=k).std() for k in range(200)]
    assert np.std(np.log(seeds)) == pytest.approx(0.3, rel=0.2)


def test_a_seed_says_everything(density: np.ndarray, target: np.ndarray) -> None:
    one, again, other = (vary(density, target, USUAL, VOXEL_SIZE, (FLAT, 3.0), seed, CONTEXT) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.shape == (24, 24, 24)


def test_nothing_is_nothing(density: np.ndarray, target: np.ndarray) -> None:
    np.testing.assert_array_equal(vary(density, target, Augmentation(), VOXEL_SIZE, (FLAT, 3.0), 1), density)
    assert not Augmentation(rotations=True, mirrors=True).varies


@pytest.mark.parametrize(
    "strengths", [{"noise": -1.0}, {"mask": 1.5}, {"gain": float("nan")}, {"b_factor": (10.0, -10.0)}]
)
def test_strengths_out_of_range_are_refused(strengths: dict) -> None:
    with pytest.raises(UsageError, match="out of range"):
        Augmentation(**strengths)
