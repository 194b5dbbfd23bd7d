"""Changed maps: a model that sees through the change does not move, and what a change does to a map is what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emres.errors import MapError
from emres.run.evaluate_model import Answer
from emres.run.evaluate_robust import LOOSE, STRICT, Change, changes, robustness
from emres.run.evaluate_robust_tables import robustness_by_resolution, robustness_table
from emres.volume.grid import Grid, grid_of
from tests.run.toy_dataset import ball, texture

GRID = Grid((36, 32, 40), (1.5, 1.5, 1.5), (3.0, -4.0, 5.0))
DENSITY = texture(GRID, 3)
INSIDE = ball(GRID) > 0.5


def all_changes(resolution: float = 4.0) -> dict[str, Change]:
    return {change.name: change for change in changes(DENSITY, GRID, INSIDE, resolution)}


def test_every_answer_comes_back_to_where_it_belongs() -> None:
    """The density itself as an answer: what only moves voxels must give back what was there."""
    for name, change in all_changes().items():
        assert change.density.shape == change.grid.shape, name
        if name.startswith(("box", "turned", "cropped")):
            back = change.back(change.density)
            assert back.shape == DENSITY.shape
            there = back != 0
            assert (back[there] == DENSITY[there]).all(), name
            assert there.sum() > 0.2 * DENSITY.size, name


def test_a_resampled_answer_comes_back_without_the_zeros_beyond_its_mask() -> None:
    change = all_changes()["resampled 0.8x"]
    answer = np.zeros(change.grid.shape, dtype=np.float32)
    answer[10:30, 10:30, 10:30] = 5.0
    back = change.back(answer)
    assert set(np.round(np.unique(back), 4)) == {0.0, 5.0}
    assert (back > 0).sum() == pytest.approx(20**3 * 0.8**3, rel=0.2)


def test_a_map_is_not_resampled_to_voxels_that_cannot_hold_its_resolution() -> None:
    assert "resampled 1.25x" in all_changes(resolution=4.5)
    assert "resampled 1.25x" not in all_changes(resolution=3.2)


def test_filters_change_the_power_that_they_are_to_change() -> None:
    of = all_changes(resolution=4.0)

    def power(values: np.ndarray, frequency: float) -> float:
        spectrum = np.abs(np.fft.rfftn(values)) ** 2
        axes = [np.fft.fftfreq(n, 1.5) for n in GRID.shape[:2]]
        last = np.fft.rfftfreq(GRID.shape[2], 1.5)
        radius = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + last**2)
        return float(spectrum[np.abs(radius - frequency) < 0.01].mean())

    at = 1 / 4.0
    sharpened = power(of["sharpened ninefold at its resolution"].density, at) / power(DENSITY, at)
    assert np.sqrt(sharpened) == pytest.approx(np.exp(9 / 4), rel=0.15)
    cut = of["low-pass at the map's resolution"].density
    assert power(cut, 1.3 * at) < 1e-3 * power(DENSITY, 1.3 * at)
    assert power(cut, 0.6 * at) == pytest.approx(power(DENSITY, 0.6 * at), rel=0.01)


def test_masks_leave_the_molecule_alone_and_nothing_beside_it() -> None:
    hard = all_changes()["mask without an edge"].density
    solvent = DENSITY[INSIDE] - hard[INSIDE]
    np.testing.assert_allclose(solvent, np.median(DENSITY[~INSIDE]), atol=0.01 * DENSITY.std())
    assert not hard[~INSIDE].any()


def test_nothing_negative_is_the_map_where_it_is_above_its_solvent() -> None:
    stripped = all_changes()["nothing negative"].density
    above = DENSITY - np.float32(np.median(DENSITY[~INSIDE]))
    np.testing.assert_allclose(stripped, np.maximum(above, 0), atol=0.01 * DENSITY.std())


def model_that_reads(attribute: str) -> Any:
    """Answers 5 Å in the ball, or what it takes from the box or the values of the map."""

    def predict(volume: Any, reported: float | None, mask: Any) -> Answer:
        values, grid = volume.values, grid_of(volume)
        inside = np.asarray(values > np.median(values) + 0.5 * values.std())
        level = {"nothing": 5.0, "gain": 5.0 + float(values.std() > 10), "box": min(grid.extent) / 10}[attribute]
        return Answer(np.where(inside, np.float32(level), np.float32(0)))

    return predict


def test_a_model_that_sees_the_molecule_alone_passes() -> None:
    found = robustness(DENSITY, GRID, 4.0, model_that_reads("nothing"))
    table = robustness_table([found, found])
    assert {row["kept"] for row in table.values()} == {1.0}
    assert {row["maps"] for row in table.values()} == {2}


def test_a_model_that_takes_the_gain_for_resolution_is_found_out() -> None:
    table = robustness_table([robustness(DENSITY, GRID, 4.0, model_that_reads("gain"))])
    assert (table["gain 37"]["worst"], table["gain 37"]["kept"]) == (1.0, 0.0)
    assert table["turned by 90° in zy"]["kept"] == 1.0


def test_a_model_that_takes_the_box_for_resolution_is_found_out() -> None:
    table = robustness_table([robustness(DENSITY, GRID, 4.0, model_that_reads("box"))])
    assert table["box padded by 12"]["worst"] == pytest.approx(2 * 12 * 1.5 / 10)
    assert table["box padded by 12"]["kept"] == 0.0


def moved(shift: float | None, wanted: float, warned: bool, failed: str | None = None) -> list[dict[str, Any]]:
    return [{"change": "x", "wanted": wanted, "shift": shift, "difference": shift, "warned": warned, "failed": failed}]


@pytest.mark.parametrize(
    ("one", "kept"),
    [
        (moved(-0.04, STRICT, False), 1.0),
        (moved(0.06, STRICT, True), 0.0),  # there is no excuse for a gain
        (moved(0.9, LOOSE, True), 1.0),  # whoever is warned knows
        (moved(0.9, LOOSE, False), 0.0),
        (moved(None, LOOSE, True, "it failed"), 0.0),
    ],
)
def test_what_counts_as_kept(one: list[dict[str, Any]], kept: float) -> None:
    assert robustness_table([one])["x"]["kept"] == kept


def test_a_warning_of_the_map_itself_is_seen_in_the_table() -> None:
    def nervous(volume: Any, reported: float | None, mask: Any) -> Answer:
        answer = model_that_reads("nothing")(volume, reported, mask)
        return Answer(answer.resolution, None, ("unlike anything",))

    table = robustness_table([robustness(DENSITY, GRID, 4.0, nervous)])
    assert {row["warned"] for row in table.values()} == {1}
    assert next(iter(table)) == "as it is"


def test_a_change_that_the_model_cannot_stand_is_told_and_the_rest_goes_on() -> None:
    def brittle(volume: Any, reported: float | None, mask: Any) -> Answer:
        if volume.shape != GRID.shape:
            raise MapError("another box")
        return model_that_reads("nothing")(volume, reported, mask)

    found = {one["change"]: one for one in robustness(DENSITY, GRID, 4.0, brittle)}
    assert found["box padded by 12"]["failed"] == "another box"
    assert found["gain 37"]["failed"] is None
    with pytest.raises(MapError, match="answers nowhere"):
        robustness(DENSITY, GRID, 4.0, lambda *_: Answer(np.zeros(GRID.shape, np.float32)))


def test_what_is_told_is_told_of_every_changed_map() -> None:
    told: set[float | None] = set()

    def listening(volume: Any, reported: float | None, mask: Any) -> Answer:
        told.add(reported)
        return Answer(np.full(volume.shape, 5, dtype=np.float32))

    robustness(DENSITY, GRID, 4.0, listening, reported=3.7)
    assert told == {3.7}


def test_ranges_of_resolution_stand_apart() -> None:
    def changed(shift: float, warned: bool = False, wanted: float = LOOSE) -> dict[str, Any]:
        return {"change": "x", "wanted": wanted, "shift": shift, "difference": 0.0, "warned": warned, "failed": None}

    records = [
        {"resolution": 3.0, "changes": [changed(0.1), changed(9.0, wanted=STRICT)], "told": []},
        {"resolution": 7.0, "changes": [changed(0.4), changed(0.4, warned=True)], "told": [changed(0.1), changed(0.5)]},
    ]
    table = robustness_by_resolution(records)
    assert list(table) == ["< 4", "6 - 10"]
    assert table["< 4"] == {"maps": 1, "within": 1.0, "kept": 1.0, "within_told": None, "kept_told": None}
    assert table["6 - 10"] == {"maps": 1, "within": 0.0, "kept": 0.5, "within_told": 0.5, "kept_told": 0.5}
