"""A spectrum that was cut is noticed, and measured on the grid that it fills."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from emres.estimators import resmap as resmap_module
from emres.estimators.resmap import UNRESOLVED, resmap
from emres.estimators.resmap_low_pass import brought_back, cut_off
from tests.estimators.conftest import low_passed


def nearly_cut(resolution: float) -> torch.Tensor:
    """Noise cut off at a resolution, and a little noise of the file's precision."""
    random = np.random.default_rng(3)
    noise = random.normal(size=(48, 48, 48))
    return torch.from_numpy((low_passed(noise, resolution) + 1e-3 * noise).astype(np.float32))


@pytest.mark.parametrize("resolution", [3.0, 4.0])
def test_a_cut_is_found_where_it_was_made(resolution):
    assert cut_off(nearly_cut(resolution)) == pytest.approx(2 / resolution, abs=0.05)


def test_a_whole_spectrum_and_a_fading_one_have_no_cut():
    noise = torch.from_numpy(np.random.default_rng(3).normal(size=(48, 48, 48)).astype(np.float32))
    frequency = torch.from_numpy(np.abs(np.fft.fftfreq(48))).float()
    fading = torch.exp(-20 * (frequency[:, None, None] + frequency[None, :, None] + frequency[None, None, :]))
    assert cut_off(noise) is None
    assert cut_off(torch.fft.ifftn(torch.fft.fftn(noise) * fading).real) is None


def test_nothing_finer_than_the_cut_allows_is_reported(ball):
    cut = low_passed(ball.first, 3.0) + 1e-3 * ball.second
    tested = resmap(cut, 1.0, ball.mask, finest=2.2, coarsest=6.0)
    plain = resmap(cut, 1.0, ball.mask, finest=2.2, coarsest=6.0, low_pass_test=False)
    assert tested.parameters["finest"] >= 2.2 * 3.0 / 2 * 0.9
    assert plain.parameters["finest"] == 2.2
    np.testing.assert_array_equal(tested.resolution > 0, ball.mask > 0.5)


def test_voxels_next_to_unresolved_ones_stay_unresolved():
    coarse = torch.zeros(8, 8, 8)
    coarse[2:6, 2:6, 2:6] = 5.0
    fine = brought_back(coarse, torch.Size((16, 16, 16)), 100.0)
    assert set(np.unique(fine.numpy())) == {0.0, 5.0}
    assert 0 < float((fine > 0).float().mean()) < float((coarse > 0).float().mean())


def test_where_the_program_took_white_noise_for_a_cut_its_cut_is_all_that_differs(half_maps, answer, monkeypatch):
    # Object a is not low-passed; the program's test fired at 0.82 of Nyquist, where the noise of its flat tail has it.
    halves, theirs = half_maps("a"), answer("a", "resmap_single")
    assert cut_off(torch.from_numpy(halves.mean)) is None
    monkeypatch.setattr(resmap_module, "cut_off", lambda density: 0.82)
    ours = resmap(halves.mean, 1.0, halves.mask, finest=2.2, coarsest=8.0).resolution
    inside = halves.mask > 0.5
    open_here, open_there = (values[inside] == UNRESOLVED for values in (ours, theirs))
    assert (open_here & open_there).sum() / (open_here | open_there).sum() >= 0.9
    settled = inside & (np.maximum(ours, theirs) < UNRESOLVED) & (np.minimum(ours, theirs) > 2.71)
    assert spearmanr(ours[settled], theirs[settled]).statistic >= 0.95
    assert np.abs(ours - theirs)[settled].mean() <= 0.25
