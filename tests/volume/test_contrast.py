"""Signal differs from place to place, noise does not; no filter and no gain changes that."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emres.volume.blocks import Box
from emres.volume.contrast import NUMBERS, SHELLS, Contrast, contrast_of, molecule_contrast
from emres.volume.masking import block_any
from emres.volume.resample import read_box

SIDE = 64
Array = np.ndarray


@pytest.fixture(scope="module")
def molecule() -> Array:
    z, y, x = np.ogrid[:SIDE, :SIDE, :SIDE]
    return np.asarray((z - 32) ** 2 + (y - 30) ** 2 + (x - 33) ** 2 < 20**2)


@pytest.fixture(scope="module")
def density(molecule: Array) -> Array:
    """White noise, and signal up to 0.2 per voxel that is strong in some parts and weak in others."""
    rng = np.random.default_rng(4)
    frequency = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[np.fft.fftfreq(SIDE)] * 3, indexing="ij")))
    signal = np.fft.ifftn(np.fft.fftn(rng.normal(size=molecule.shape)) * (frequency < 0.2)).real
    slow = ndimage.gaussian_filter(rng.normal(size=molecule.shape), 8)
    strength = np.exp(0.7 * slow / slow.std())
    return np.asarray(
        (4 * signal * strength * ndimage.gaussian_filter(1.0 * molecule, 2) + rng.normal(size=molecule.shape)).astype(
            np.float32
        )
    )


def contrast(density: Array, molecule: Array) -> Contrast:
    found = molecule_contrast(
        lambda box: read_box(density, box), lambda box: read_box(molecule, box), block_any(molecule, 8)
    )
    assert found is not None
    return found


def test_signal_differs_from_place_to_place_and_noise_does_not(density: Array, molecule: Array) -> None:
    found = contrast(density, molecule)
    signal, noise = slice(0, 8), slice(13, SHELLS)  # up to 0.19, from 0.31 per voxel on
    assert min(np.add(found.weak, found.strong)[signal]) > 1.5
    assert max(np.add(found.weak, found.strong)[noise]) < 0.6
    assert min(found.likeness[signal]) > 0.6
    assert np.mean(found.likeness[noise]) < 0.4
    assert min(found.rise[signal]) > 1
    assert max(np.abs(found.rise[noise])) < 0.2


@pytest.mark.parametrize("b_factor", [-8.0, 8.0])
def test_neither_a_filter_nor_a_gain_changes_it(density: Array, molecule: Array, b_factor: float) -> None:
    square = sum(axis**2 for axis in np.meshgrid(*[np.fft.fftfreq(SIDE)] * 3, indexing="ij"))
    gain = 7 * np.exp(-b_factor / 4 * square)
    other = np.fft.ifftn(np.fft.fftn(density) * gain).real.astype(np.float32)
    np.testing.assert_allclose(contrast(other, molecule).numbers, contrast(density, molecule).numbers, atol=0.15)


def test_a_mask_round_the_molecule_hardly_changes_it(density: Array, molecule: Array) -> None:
    masked = density * ndimage.binary_dilation(molecule, iterations=4)
    np.testing.assert_allclose(contrast(masked, molecule).numbers, contrast(density, molecule).numbers, atol=0.2)


def test_noise_on_top_takes_contrast_away() -> None:
    one = contrast_of(np.exp(np.random.default_rng(0).normal(size=(50, SHELLS))), cells=40)
    less = one.diluted(np.linspace(1, 0, SHELLS))
    assert (less.weak[0], less.strong[0], less.rise[0]) == (one.weak[0], one.strong[0], one.rise[0])
    assert less.weak[-1] == less.strong[-1] == less.rise[-1] == 0
    assert (less.likeness, less.cells) == (one.likeness, one.cells)


def test_numbers_are_finite_where_a_filter_left_nothing() -> None:
    powers = np.random.default_rng(0).random((20, SHELLS))
    powers[:, 15:] = 0
    found = contrast_of(powers).numbers
    assert found.shape == (NUMBERS,)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 10


def test_what_lies_beyond_a_low_pass_tells_little_of_what_lies_before(density: Array, molecule: Array) -> None:
    """Signal ends at 0.2 per voxel, the filter at 0.3: what is noise in between still looks like noise."""
    frequency = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[np.fft.fftfreq(SIDE)] * 3, indexing="ij")))
    gain = np.clip((0.33 - frequency) / 0.06, 1e-4, 1)
    filtered = np.fft.ifftn(np.fft.fftn(density) * gain).real.astype(np.float32)
    kept = slice(2, 11)
    before, after = (
        np.add(found.weak, found.strong)[kept] for found in map(contrast, (density, filtered), [molecule] * 2)
    )
    np.testing.assert_allclose(after, before, atol=0.1)


def test_a_speck_tells_nothing() -> None:
    speck = np.zeros((8, 8, 8), dtype=bool)
    speck[4, 4, 4] = True
    empty = np.zeros((1, 1, 1), dtype=bool)

    def nothing(box: Box) -> Array:
        return np.zeros(box.shape, dtype=np.float32)

    assert molecule_contrast(nothing, lambda box: read_box(speck, box), ~empty) is None
