"""What gives reason to doubt an answer is said: a resolution that does not go with it, limits, filters of the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc import read_mrc, write_mrc
from emres.archive.registry import find_model
from emres.model.condition import condition_of
from emres.model.contract import read_contract
from emres.run.doubts import (
    at_its_limit,
    cut_through,
    doubts,
    far_from_reported,
    low_passed,
    sharpened_too_far,
    unsure,
)
from emres.run.evaluate_robust import filtered
from emres.run.single import predict_input
from emres.simulate.atoms import read_atoms
from emres.simulate.deposit import deposit
from emres.simulate.halfmaps import simulate_half_maps
from emres.simulate.recipe import Processing, Recipe
from emres.volume.grid import Grid, make_volume
from emres.volume.spectrum import NYQUIST, Spectra
from tests.run.atomic_models import write_model

EMBEDDED = Path(__file__).parents[2] / "emres/archive/embedded/structures/EMD-6824/map/emd_6824.map.gz"


@pytest.mark.parametrize(("median", "reported"), [(17.4, 8.4), (2.0, 4.0)])
def test_an_answer_far_from_what_is_reported_is_said_to_be(median: float, reported: float) -> None:
    [sentence] = far_from_reported(median, reported)
    for figure in (median, reported):
        assert f"{figure:.3g} Å" in sentence


@pytest.mark.parametrize("reported", [None, 3.0, 5.0])
def test_an_answer_that_goes_with_it_is_not(reported: float | None) -> None:
    assert far_from_reported(4.6, reported) == []


def test_a_prediction_that_was_told_nonsense_says_so(tmp_path: Path) -> None:
    """EMD-6824 is a map of 5.8 Å on voxels of 2.6 Å: nothing is finer than two of them."""
    facts = predict_input(str(EMBEDDED), output=tmp_path / "out.mrc", resolution=2.0)
    assert any("times the reported 2 Å" in sentence for sentence in facts["warnings"])


@pytest.mark.parametrize(("median", "says"), [(22.6, "22.6 Å, the coarsest"), (2.21, "2.2 Å, two voxels")])
def test_an_answer_at_a_limit_is_said_to_be_that_or_beyond(median: float, says: str) -> None:
    [sentence] = at_its_limit(median, 2.2, 22.6)
    assert says in sentence
    assert at_its_limit(20.0, 2.2, 22.6) == []


def test_a_map_whose_voxels_are_too_coarse_says_so() -> None:
    """EMD-3197 has voxels of 11.4 Å: were it of 6 Å, no answer could say so."""
    contract, grid = read_contract(find_model()), Grid((20, 20, 20), (11.4, 11.4, 11.4))
    [sentence] = doubts(22.8, 0.1, None, (), contract, (grid, contract.working_grid(grid)))
    assert "22.8 Å, two voxels of the map" in sentence


@pytest.mark.parametrize("reported", [None, 12.0])
def test_an_answer_that_is_not_sure_says_so_and_what_would_help(reported: float | None) -> None:
    [sentence] = unsure(0.94, reported)
    assert "known to 0.94 Å or worse" in sentence
    assert ("--resolution" in sentence) == (reported is None)
    assert unsure(0.35, reported) == []
    assert unsure(0.35, reported, noise_shown=False)


def test_without_noise_beside_the_molecule_less_is_taken_for_sure() -> None:
    grid, contract = Grid((32, 32, 32), (1.5, 1.5, 1.5)), read_contract(find_model("emres-small"))
    shells = (1.0,) * (NYQUIST + 1)
    shown, masked = (
        doubts(6.0, 0.35, None, condition_of(Spectra(1.5, shells, outside)).tolist(), contract, (grid, grid))
        for outside in (shells, ())
    )
    assert len(masked) == len(shown) + 1
    assert "known to 0.35 Å" in " ".join(masked)


def _told(power: np.ndarray) -> list[float]:
    """Return what a net is told of a map whose shells, from the first on, have this power."""
    return condition_of(Spectra(1.5, (1.0, *power.tolist()))).tolist()


@pytest.mark.parametrize("strength", [1.0, 1000.0])
def test_power_that_rises_towards_fine_detail_is_sharpened_too_far_whatever_its_scale(strength: float) -> None:
    shells = np.arange(NYQUIST)
    falls, rises = np.exp(-shells / 4), np.exp(np.where(shells < 10, -shells, shells - 20) / 3)
    assert sharpened_too_far(_told(strength * falls)) == []
    [sentence] = sharpened_too_far(_told(strength * rises))
    assert f"{np.exp(13 / 3):.0f} times" in sentence


def _cut_in(sentence: str) -> float:
    """Return where a sentence says that a spectrum breaks off, Å."""
    return float(sentence.split("breaks off at ")[1].split(" Å")[0])


@pytest.mark.parametrize(("voxel_size", "near"), [(1.5, 1.1), (0.8, 1.0)])
def test_where_a_spectrum_breaks_off_is_told_beside_an_answer_that_lies_there_and_not_beside_a_coarser_one(
    voxel_size: float, near: float
) -> None:
    """A low-pass between shells 12 and 13 of 48: at some 5.8 Å, or 3.1 Å, where a tenth more is nothing to speak of."""
    power = np.where(np.arange(1, NYQUIST + 1) <= 12, 1.0, 1e-4)
    [sentence] = low_passed(3.6 * voxel_size, _told(power), voxel_size)
    cut = _cut_in(sentence)
    assert cut == pytest.approx(voxel_size * 48 / 12.5, rel=0.05)
    assert low_passed(0.99 * near * cut, _told(power), voxel_size)
    assert low_passed((near + 0.1) * cut, _told(power), voxel_size) == []
    assert low_passed(3.6 * voxel_size, _told(np.ones(NYQUIST)), voxel_size) == []


def test_where_a_low_pass_cut_is_told_and_not_where_it_is_steepest() -> None:
    """Its flank falls the more the farther it goes."""
    shells = np.arange(1, NYQUIST + 1)
    gain = 0.5 - 0.5 * np.tanh((shells / 10 - 1) / 0.06)
    [sentence] = low_passed(6.0, _told(np.maximum(gain, 1e-6) ** 2), 1.5)
    assert _cut_in(sentence) == pytest.approx(1.5 * 48 / 10, rel=0.1)


@pytest.mark.parametrize(("b_factor", "warned"), [(-400.0, True), (0.0, False)])
def test_a_map_that_was_sharpened_too_far_is_said_to_be(tmp_path: Path, b_factor: float, warned: bool) -> None:
    atoms = read_atoms(write_model(tmp_path / "ball.pdb", radius=22.0, atoms=2500))
    density, grid = deposit(simulate_half_maps(atoms, Recipe(voxel_size=2.0, resolution=6.0)), Processing())
    write_mrc(tmp_path / "in.mrc", make_volume(filtered(density, grid, b_factor=b_factor), grid))
    facts = predict_input(str(tmp_path / "in.mrc"), output=tmp_path / "out.mrc")
    assert any("sharpened so far" in sentence for sentence in facts.get("warnings", [])) == warned


@pytest.mark.parametrize(("negative", "warned"), [(False, True), (True, False)])
def test_a_map_of_which_all_that_is_negative_was_taken_away_is_said_to_be(
    tmp_path: Path, negative: bool, warned: bool
) -> None:
    volume = read_mrc(EMBEDDED)
    write_mrc(tmp_path / "in.mrc", volume if negative else volume.clip(min=0))
    facts = predict_input(str(tmp_path / "in.mrc"), output=tmp_path / "out.mrc")
    assert any("below its background" in sentence for sentence in facts["warnings"]) == warned


def test_a_deposit_that_was_low_passed_far_from_its_claim_says_where(tmp_path: Path) -> None:
    """EMD-6824 claims 5.8 Å; from 8 Å on there is next to nothing in it."""
    facts = predict_input(str(EMBEDDED), output=tmp_path / "out.mrc")
    assert any("breaks off at 8.85 Å" in sentence for sentence in facts["warnings"])


def test_a_molecule_that_touches_a_face_is_whole() -> None:
    assert cut_through(0.1) == []


@pytest.mark.parametrize("padding", [0, 9])
def test_a_map_whose_box_cuts_through_the_molecule_is_said_to_be_whatever_it_is_padded_to(
    tmp_path: Path, padding: int
) -> None:
    volume = read_mrc(EMBEDDED)
    middle = volume.sizes["z"] // 2
    part = np.pad(volume.values[:middle], padding)
    write_mrc(tmp_path / "in.mrc", make_volume(part, Grid(part.shape, (2.64, 2.64, 2.64))))
    facts = predict_input(str(tmp_path / "in.mrc"), output=tmp_path / "out.mrc")
    assert any("beyond a face of the box" in sentence for sentence in facts["warnings"])


def test_a_map_that_lies_free_in_its_box_is_not(tmp_path: Path) -> None:
    facts = predict_input(str(EMBEDDED), output=tmp_path / "out.mrc")
    assert not any("face of the box" in sentence for sentence in facts.get("warnings", ()))
