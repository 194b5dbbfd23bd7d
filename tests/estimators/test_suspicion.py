from __future__ import annotations

import numpy as np
import pytest

from emres.estimators.suspicion import suspect
from tests.estimators.conftest import low_passed


def test_an_untouched_map_is_not_suspected(ball):
    assert not suspect(ball.mean, ball.voxel_size).found


def test_a_masked_map_is_noticed(ball):
    noticed = suspect(ball.mean * ball.mask, ball.voxel_size)
    assert noticed.constant_share == pytest.approx(1 - ball.mask.mean(), abs=0.05)
    assert any("masked" in said and "half maps" in said for said in noticed.sentences)


@pytest.mark.parametrize("cut", [4.0, 6.0])
def test_a_low_passed_map_is_noticed_and_its_cut_named(cut, ball):
    noticed = suspect(low_passed(ball.mean, cut), ball.voxel_size)
    assert noticed.low_passed_at == pytest.approx(cut, rel=0.1)
    assert any("low-passed" in said for said in noticed.sentences)


def test_a_sharpened_map_is_noticed(ball):
    axis = np.fft.fftfreq(48)
    squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2
    sharpened = np.fft.ifftn(np.fft.fftn(ball.mean) * np.exp(60 * squared / 4)).real
    assert any("sharpened" in said for said in suspect(sharpened, ball.voxel_size).sentences)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_the_simulated_maps_are_not_suspected(name, half_maps):
    halves = half_maps(name)
    assert not suspect(halves.mean, halves.voxel_size).found


def test_the_real_maps_give_themselves_away(real_map):
    assert suspect(real_map("emd_6824").mean, 2.64).low_passed_at == pytest.approx(8.4, abs=1.0)
    assert suspect(real_map("emd_1832").mean, 5.7).constant_share > 0.5
