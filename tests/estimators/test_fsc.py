"""What a local FSC must do whoever defines it: physics, not programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.errors import MapError, UsageError
from emres.estimators.fsc import SHELL_SIGMA, SHELL_STEP, dense_fsc
from emres.estimators.fsc_blocres import blocres_fsc
from emres.estimators.fsc_relion import relion_fsc
from emres.estimators.relion_spheres import Spheres
from tests.estimators.conftest import low_passed

DEFINITIONS = {
    "dense": lambda a, b: dense_fsc(a, b, 1.0),
    "relion": lambda a, b: relion_fsc(a, b, 1.0, sampling=12.0),
    "blocres": lambda a, b: blocres_fsc(a, b, 1.0, box_size=16, step=4),
}
each_definition = pytest.mark.parametrize("estimate", DEFINITIONS.values(), ids=DEFINITIONS)


def noise(seed: int, n: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, n, n)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_white_noise_in_both_halves_is_capped_at_the_worst_everywhere(seed):
    estimate = dense_fsc(noise(2 * seed), noise(2 * seed + 1), 1.0)
    assert (estimate.resolution == np.float32(estimate.window)).all()
    assert estimate.unresolved_share == estimate.capped_share == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_white_noise_is_capped_everywhere_in_relions_definition_too(seed):
    estimate = relion_fsc(noise(2 * seed, 64), noise(2 * seed + 1, 64), 1.0, sampling=25.0)
    np.testing.assert_allclose(estimate.resolution[estimate.resolution > 0], 50.0, rtol=1e-6)
    assert estimate.capped_share == 1.0


def test_white_noise_passes_for_signal_where_the_last_crossing_counts():
    # Nothing to be proud of, but blocres' definition: the last of many crossings by chance lies anywhere.
    found = blocres_fsc(noise(0), noise(1), 1.0, box_size=16, step=4).resolution
    assert np.median(found[found > 0]) < 10


@each_definition
def test_identical_halves_give_two_voxels(estimate):
    found = estimate(noise(1), noise(1)).resolution
    np.testing.assert_allclose(found[found > 0], 2.0, rtol=1e-5)


# Two plateaus: white signal, cut off sharply at two resolutions, in white noise of this standard deviation. The FSC
# falls from 1 / (1 + NOISE^2) to 0 there, but every definition sees it through shells of a width of its own, and finds
# 0.143 somewhat beyond: these tests hold each to where its own shells put it.
NOISE, FINE, COARSE = 0.35, 4.0, 8.0


def two_plateaus(shape: tuple[int, int, int], seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Return two halves with detail of FINE Å in the first half of x, of COARSE Å in the second."""
    white, *noises = np.random.default_rng(seed).normal(size=(3, *shape)).astype(np.float32)
    first = 1 / (1 + np.exp((np.arange(shape[2], dtype=np.float32) - shape[2] / 2) / 2))
    signal = low_passed(white, FINE) * first + low_passed(white, COARSE) * (1 - first)
    return signal + NOISE * noises[0], signal + NOISE * noises[1]


def crossing(frequency: np.ndarray, fsc: np.ndarray, threshold: float) -> float:
    """Return where a falling curve crosses a threshold, linear between its points, 1/Å."""
    return float(np.interp(-threshold, -fsc, frequency))


def dense_crossing(cut_off: float, window: float) -> float:
    """Return where the dense definition sees a cut-off (Å): through whitened Gaussian shells."""
    f = np.arange(1, 5000) / 10000
    signal = {end: (f < 1 / end).astype(float) for end in (FINE, COARSE)}
    whitened = f**2 / ((signal[FINE] + signal[COARSE]) / 2 + NOISE**2)
    centres = np.arange(2, round(window)) * SHELL_STEP / window
    curve = []
    for centre in centres:
        shell = whitened * np.exp(-(((f - centre) * window / SHELL_SIGMA) ** 2))
        curve.append((shell * signal[cut_off]).sum() / (shell * (signal[cut_off] + NOISE**2)).sum())
    return crossing(centres, np.array(curve), 0.143)


def masked_crossing(mask: np.ndarray, cut_off: float, threshold: float) -> float:
    """Return where a masked FSC sees a cut-off (Å): through the mask's own transform."""
    n = 2048
    power = (np.abs(np.fft.fft(mask, n=n, axis=0)) ** 2).sum((1, 2))
    f = np.fft.fftfreq(n)
    centres = np.arange(0.05, 0.45, 0.001)
    share = np.array([power[np.abs(f + centre) < 1 / cut_off].sum() for centre in centres]) / power.sum()
    return crossing(centres, share / (share + NOISE**2), threshold)


@pytest.mark.parametrize(("cut_off", "middle"), [(FINE, 64), (COARSE, 192)])
def test_dense_finds_two_plateaus_where_its_shells_put_them(cut_off, middle):
    estimate = dense_fsc(*two_plateaus((64, 64, 256)), 1.0)
    plateau = estimate.resolution[12:-12, 12:-12, middle - 16 : middle + 16]
    expected = dense_crossing(cut_off, estimate.window)
    off = np.abs(1 / plateau - expected) * estimate.window
    assert np.median(1 / plateau) == pytest.approx(expected, abs=0.1 / estimate.window)
    assert np.percentile(off, 95) < 0.3


@pytest.mark.parametrize(("cut_off", "middle"), [(FINE, 18), (COARSE, 78)])
def test_relions_definition_finds_two_plateaus_where_its_spheres_put_them(cut_off, middle):
    n, sampling = 96, 12.0
    spheres = Spheres.of(n, 1.0, sampling, 25.0)
    estimate = relion_fsc(*two_plateaus((n, n, n)), 1.0, sampling=sampling)
    plateau = estimate.resolution[30:66, 30:66, middle - 3 : middle + 4]
    expected = masked_crossing(spheres.whole_mask(torch.device("cpu")).numpy(), cut_off, 0.143)
    assert np.median(1 / plateau) == pytest.approx(expected, abs=1 / n)


@pytest.mark.parametrize(("cut_off", "middle"), [(FINE, 16), (COARSE, 48)])
def test_blocres_definition_finds_two_plateaus_where_its_boxes_put_them(cut_off, middle):
    # At 0.143 the last crossing of a small box is one of noise: hence 0.5.
    side = 20
    hann = np.hanning(side)
    expected = masked_crossing(hann[:, None, None] * hann[:, None] * hann, cut_off, 0.5)
    found = blocres_fsc(*two_plateaus((64, 64, 64)), 1.0, box_size=side, step=4, threshold=0.5).resolution
    plateau = found[:, :, middle - 4 : middle + 5]
    assert np.median(1 / plateau[plateau > 0]) == pytest.approx(expected, abs=0.2 / side)


@each_definition
def test_half_maps_swapped_give_the_same(estimate, ball):
    there, back = estimate(ball.first, ball.second), estimate(ball.second, ball.first)
    if there.definition == "relion":  # its random phases follow the order of the halves: a shell here or there
        assert np.abs(there.resolution - back.resolution).mean() < 0.3
    else:
        np.testing.assert_allclose(there.resolution, back.resolution, atol=2e-3)


@each_definition
@pytest.mark.parametrize("factor", [1e-25, 1e-4, 3e3, 1e22])
def test_scaling_the_maps_changes_nothing(estimate, factor, ball):
    plain = estimate(ball.first, ball.second).resolution
    scaled = estimate(ball.first * np.float32(factor), ball.second * np.float32(factor)).resolution
    np.testing.assert_allclose(scaled, plain, atol=2e-3)


each_turn = pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])


@each_turn
def test_a_quarter_turn_of_the_map_turns_the_answer(axes, ball):
    plain = dense_fsc(ball.first, ball.second, 1.0).resolution
    turned = dense_fsc(np.rot90(ball.first, axes=axes), np.rot90(ball.second, axes=axes), 1.0).resolution
    np.testing.assert_allclose(turned, np.rot90(plain, axes=axes), atol=2e-3)


@each_turn
def test_a_quarter_turn_turns_relions_answer_where_the_grid_of_spheres_turns_too(axes, ball):
    # In 49 voxels a step of 12 puts a sphere into the middle. No random phases: their order in memory does not turn.
    halves = [np.pad(half, (0, 1)) for half in (ball.first, ball.second)]
    plain = relion_fsc(*halves, 1.0, sampling=12.0, randomise_at=0.1).resolution
    turned = relion_fsc(*(np.rot90(half, axes=axes) for half in halves), 1.0, sampling=12.0, randomise_at=0.1)
    same_but_for_the_half_kept(turned.resolution, np.rot90(plain, axes=axes), axes)


@each_turn
def test_a_quarter_turn_turns_blocres_answer(axes, ball):
    plain = blocres_fsc(ball.first, ball.second, 1.0, box_size=16, step=4).resolution
    turned = blocres_fsc(*(np.rot90(half, axes=axes) for half in (ball.first, ball.second)), 1.0, box_size=16, step=4)
    # An even box reaches one voxel farther down than up: turned round, its centre is one voxel on.
    expected = np.roll(np.rot90(plain, axes=axes), 1, axis=axes[0])
    same_but_for_the_half_kept(turned.resolution, expected, axes)


def same_but_for_the_half_kept(found: np.ndarray, expected: np.ndarray, axes: tuple[int, int]) -> None:
    """Hold a turned answer of another program's definition: exactly round x, nearly round y and z.

    Both programs count what they store of a transform: x = 0 with its mirror image, all else without.
    """
    np.testing.assert_array_equal(found == 0, expected == 0)
    difference = np.abs(found - expected)[expected > 0] / expected[expected > 0]
    if axes == (0, 1):
        assert difference.max() < 1e-3
    else:
        assert np.median(difference) < 0.02


def test_a_shift_of_the_map_shifts_the_answer(ball):
    shift = (3, -2, 5)
    plain = dense_fsc(ball.first, ball.second, 1.0).resolution
    moved = dense_fsc(*(np.roll(half, shift, (0, 1, 2)) for half in (ball.first, ball.second)), 1.0).resolution
    middle = (slice(20, 28),) * 3
    np.testing.assert_allclose(moved[middle], np.roll(plain, shift, (0, 1, 2))[middle], rtol=0.02)


def test_a_shift_by_whole_steps_shifts_blocres_answer(ball):
    shift = (4, -8, 4)
    plain = blocres_fsc(ball.first, ball.second, 1.0, box_size=16, step=4).resolution
    halves = (np.roll(half, shift, (0, 1, 2)) for half in (ball.first, ball.second))
    moved = blocres_fsc(*halves, 1.0, box_size=16, step=4).resolution
    middle = (slice(16, 32),) * 3
    np.testing.assert_allclose(moved[middle], np.roll(plain, shift, (0, 1, 2))[middle], rtol=1e-3)


def test_a_shift_by_whole_steps_shifts_relions_answer(ball):
    shift = (12, 0, -12)
    halves = [np.pad(half, 24) for half in (ball.first, ball.second)]
    plain = relion_fsc(*halves, 1.0, sampling=12.0, randomise_at=0.1).resolution
    moved = relion_fsc(*(np.roll(half, shift, (0, 1, 2)) for half in halves), 1.0, sampling=12.0, randomise_at=0.1)
    middle = (slice(40, 56),) * 3
    np.testing.assert_allclose(moved.resolution[middle], np.roll(plain, shift, (0, 1, 2))[middle], rtol=0.01)


def test_a_box_that_is_no_cube_gives_relions_answer_on_the_padded_cube(ball):
    flat = (slice(6, 42), slice(0, 48), slice(4, 44))
    cubes = []
    for half in (ball.first, ball.second):
        cube = np.zeros((48, 48, 48), np.float32)
        cube[flat] = half[flat]
        cubes.append(cube)
    inside = relion_fsc(ball.first[flat], ball.second[flat], 1.0, sampling=12.0).resolution
    np.testing.assert_array_equal(inside, relion_fsc(*cubes, 1.0, sampling=12.0).resolution[flat])


def test_a_higher_threshold_is_never_finer(ball):
    low, high = (dense_fsc(ball.first, ball.second, 1.0, threshold=value).resolution for value in (0.143, 0.5))
    assert (high >= low - 1e-4).all()


def test_blocres_computes_every_step_th_voxel_of_the_mask_that_a_box_fits_round(ball):
    found = blocres_fsc(ball.first, ball.second, 1.0, mask=ball.mask, box_size=16, step=3).resolution
    index = np.argwhere(found > 0)
    assert len(index)
    assert not (index % 3).any()
    assert index.min() >= 8
    assert index.max() <= 40
    assert (ball.mask[found > 0] > 0.5).all()


def test_the_voxel_size_scales_the_answer(ball):
    once = relion_fsc(ball.first, ball.second, 1.0, sampling=12.0, randomise_at=25.0).resolution
    twice = relion_fsc(ball.first, ball.second, 2.0, sampling=24.0, randomise_at=50.0, coarsest=100.0).resolution
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)


@each_definition
def test_halves_of_different_shape_are_refused(estimate, ball):
    with pytest.raises(UsageError, match="differ in shape"):
        estimate(ball.first, ball.second[1:])


@each_definition
def test_nan_is_refused(estimate, ball):
    broken = ball.first.copy()
    broken[3, 4, 5] = np.nan
    with pytest.raises(MapError, match="NaN"):
        estimate(broken, ball.second)


@each_definition
def test_a_constant_half_is_refused(estimate, ball):
    with pytest.raises(MapError, match="half map 2 is constant"):
        estimate(ball.first, np.full_like(ball.first, 3))


def test_spheres_of_less_than_two_voxels_are_refused(ball):
    with pytest.raises(UsageError, match="sampling is too fine"):
        relion_fsc(ball.first, ball.second, 1.0, sampling=0.1)


@pytest.mark.parametrize(
    ("setting", "what"),
    [({"threshold": 1.5}, "threshold"), ({"window": 3.0}, "too narrow"), ({"window": 49.0}, "wider than the box")],
)
def test_settings_out_of_range_are_refused(setting, what, ball):
    with pytest.raises(UsageError, match=what):
        dense_fsc(ball.first, ball.second, 1.0, **setting)
