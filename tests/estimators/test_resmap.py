from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from emres.errors import UsageError
from emres.estimators.resmap import UNRESOLVED, false_discovery_limit, resmap, sweep_levels
from emres.estimators.resmap_kernels import chi_square_tail, local_model


def test_every_voxel_of_the_mask_gets_a_level_or_counts_as_unresolved(ball):
    found = resmap(ball.mean, 1.0, ball.mask, finest=4.2, coarsest=7.0)
    inside = found.resolution[ball.mask > 0.5]
    levels = np.float32([*sweep_levels(1.0, 4.2, 7.0, 1.0), UNRESOLVED])
    assert np.isin(inside, levels).all()
    assert (found.resolution[ball.mask <= 0.5] == 0).all()
    assert found.unresolved_share == pytest.approx(np.mean(inside == UNRESOLVED))


def test_detail_is_found_and_noise_is_not(ball):
    detail = resmap(ball.mean, 1.0, ball.mask, finest=5.2, coarsest=7.0)
    alone = resmap((ball.first - ball.second) / 2, 1.0, ball.mask, finest=5.2, coarsest=7.0)
    assert detail.unresolved_share < 0.5
    assert alone.unresolved_share > 0.99


def measured(first: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return resmap(first, 1.0, mask, finest=4.2, coarsest=7.0).resolution


@pytest.mark.parametrize("seed", [0, 1])
def test_white_noise_is_unresolved(seed, ball):
    noise = np.random.default_rng(seed).normal(size=ball.mask.shape).astype(np.float32)
    assert resmap(noise, 1.0, ball.mask).unresolved_share > 0.999


def test_two_plateaus_keep_their_order(two_plateaus):
    # A window also answers to waves coarser than its own: the coarse half comes out finer than it was cut.
    halves, fine, coarse = two_plateaus
    found = resmap(halves.mean, 1.0, halves.mask, finest=3.2, coarsest=12.0).resolution
    assert np.median(found[fine]) == pytest.approx(4.2)
    assert np.median(found[coarse]) in np.float32([5.2, 6.2, 7.2])
    assert (found[fine | coarse] < UNRESOLVED).mean() > 0.99


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_a_quarter_turn_of_the_map_turns_the_answer(axes, ball):
    turned = measured(np.rot90(ball.mean, axes=axes), np.rot90(ball.mask, axes=axes))
    # Not to the last voxel: the windows that measure the noise are laid from one corner of the box.
    assert (turned == np.rot90(measured(ball.mean, ball.mask), axes=axes)).mean() > 0.999


def test_a_shift_of_the_map_shifts_the_answer_where_both_are_tested(ball):
    def shifted(part: np.ndarray) -> np.ndarray:
        return np.roll(part, (3, -2, 2), axis=(0, 1, 2))

    there, back = measured(shifted(ball.mean), shifted(ball.mask)), shifted(measured(ball.mean, ball.mask))
    tested = np.sqrt(((np.indices(there.shape) - 23.5) ** 2).sum(0)) < 24 - 9 - 4.2  # both before and after
    tested &= shifted(ball.mask) > 0.5
    assert tested.sum() > 4000
    assert (there == back)[tested].mean() > 0.98


def test_a_map_of_inverted_contrast_has_the_same_resolution(ball):
    np.testing.assert_array_equal(measured(-ball.mean, ball.mask), measured(ball.mean, ball.mask))


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scaling_the_map_changes_nothing(factor, ball):
    plain, scaled = (
        resmap(ball.mean * np.float32(f), 1.0, ball.mask, finest=5.2, coarsest=6.0).resolution for f in (1, factor)
    )
    assert np.mean(plain == scaled) > 0.9999


def test_the_statistic_of_unit_noise_follows_the_null_distribution():
    model = local_model(4.2, 1.0)
    windows = np.random.default_rng(3).normal(size=(20000, model.side**3))
    statistic = ((windows @ model.filters.reshape(len(model.filters), -1).T) ** 2).sum(1)
    assert statistic.mean() == pytest.approx(model.eigenvalues.sum(), rel=0.02)
    assert model.residuals(windows).mean() == pytest.approx(1.0, rel=0.02)
    assert np.mean(np.exp(chi_square_tail(statistic[statistic > 4], model.eigenvalues)) < 0.01) > 0
    assert np.mean(model.p_values(statistic) < 0.01) == pytest.approx(0.01, abs=0.004)


def test_a_constant_and_a_window_of_the_model_itself_are_told_apart():
    model = local_model(5.2, 1.0)
    filters = model.filters.reshape(len(model.filters), -1)
    np.testing.assert_allclose(filters @ np.ones(filters.shape[1]), 0, atol=1e-10)
    np.testing.assert_allclose(filters @ filters.T, np.diag(model.eigenvalues), atol=1e-10)


@pytest.mark.parametrize("degrees", [2, 5, 16])
def test_the_tail_of_equal_weights_is_the_chi_square_distributions(degrees):
    values = degrees * np.array([1.5, 3.0, 6.0])
    expected = chi2.logsf(values, degrees)
    np.testing.assert_allclose(chi_square_tail(values, np.ones(degrees)), expected, atol=0.06)


def test_discoveries_are_those_of_the_definition():
    p_values = np.random.default_rng(0).uniform(size=500) ** 4
    limits = 0.05 * np.arange(1, 501) / (500 * sum(1 / k for k in range(1, 501)))
    ranked = np.sort(p_values)
    assert false_discovery_limit(p_values, 0.05) == ranked[ranked <= limits].max()


def test_no_discovery_where_all_p_values_are_uniform():
    assert false_discovery_limit(np.linspace(0.001, 1, 1000), 0.05) == -1.0


@pytest.mark.parametrize("mask", [np.zeros((48, 48, 48)), np.ones((48, 48, 48))])
def test_a_mask_without_molecule_or_solvent_is_refused(mask, ball):
    with pytest.raises(UsageError, match="molecule and solvent"):
        resmap(ball.mean, 1.0, mask)


def test_a_sweep_up_to_the_mark_of_unresolved_voxels_is_refused():
    with pytest.raises(UsageError, match="stands for unresolved"):
        sweep_levels(30.0, None, None, 1.0)


def test_a_mask_out_of_reach_is_refused(ball):
    mask = np.zeros_like(ball.mask)
    mask[:3, :3, :3] = 1
    with pytest.raises(UsageError, match="no voxel 9 voxels inside"):
        resmap(ball.mean, 1.0, mask)


def test_too_little_solvent_is_refused(ball):
    mask = np.ones((48, 48, 48))
    mask[:12, :12, :12] = 0
    with pytest.raises(UsageError, match="too little solvent"):
        resmap(ball.mean, 1.0, mask, finest=9.0, coarsest=9.0)
