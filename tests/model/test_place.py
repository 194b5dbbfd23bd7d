"""A reader of places finds where the signal of each ends, from what differs between it and its map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.model.condition import LENGTH, condition_of
from emres.model.place import PlaceReader, read_places
from emres.model.place_fit import PlaceExamples, fit_places
from emres.volume.place_curves import FREQUENCIES, LOGS, PlaceCurves
from emres.volume.spectrum import SHELLS, SIDE, Spectra

NOISE = (1.0,) * SHELLS


def signal_to(level: float, frequency: np.ndarray) -> np.ndarray:
    """Power, over noise of 1, of a map whose signal ends at a level: log(resolution in voxels)."""
    return 1 + np.exp(-np.clip(8 * (frequency * np.exp(level) - 1), -6, 20)) / 3


def condition_at(level: float) -> np.ndarray:
    return condition_of(Spectra(1.0, tuple(signal_to(level, np.arange(SHELLS) / SIDE)), NOISE))


def curves_at(levels: np.ndarray, of_map: float) -> np.ndarray:
    whole = np.log(signal_to(of_map, np.exp(LOGS)))
    here = np.stack([np.log(signal_to(level, np.exp(LOGS))) - whole for level in levels])
    return np.stack([here, here / 2], axis=1).astype(np.float16)


@pytest.fixture(scope="module")
def reader() -> PlaceReader:
    """One that learnt from maps of 3.5 to 7 voxels, whose places differ."""
    rng, maps, told = np.random.default_rng(4), [], []
    for of_map in rng.uniform(np.log(3.5), np.log(7), 60):
        levels = of_map + rng.uniform(-0.25, 0.25, 20)
        maps.append(PlaceExamples(curves_at(levels, of_map), levels.astype(np.float32)))
        told.append(condition_at(of_map))
    torch.manual_seed(1)
    reader = PlaceReader(2, 16)
    fit_places(reader, maps, np.stack(told), np.arange(60), 150, seed=1)
    return reader.eval()


def found(reader: PlaceReader, levels: np.ndarray, of_map: float, inside: np.ndarray | None = None) -> np.ndarray:
    curves = curves_of(levels, of_map, inside)
    return read_places(reader, condition_at(of_map), curves).values[0, 0].astype(np.float64)


def curves_of(levels: np.ndarray, of_map: float, inside: np.ndarray | None = None) -> PlaceCurves:
    """Places in a line."""
    count = len(levels)
    inside = np.ones(count, dtype=bool) if inside is None else inside
    places = np.stack([np.zeros(count), np.zeros(count), np.arange(count)], axis=1).astype(np.int16)
    return PlaceCurves(curves_at(levels, of_map), places, inside, (1, 1, count), (0, 0, 0), 6)


@pytest.mark.parametrize("voxels", [4.0, 6.0])
def test_it_finds_the_level_of_each_place(reader: PlaceReader, voxels: float) -> None:
    levels = np.log(voxels) + np.array([-0.2, 0.0, 0.2])
    np.testing.assert_allclose(found(reader, levels, np.log(voxels)), levels, atol=0.12)


def test_the_same_place_in_a_finer_map_stays_what_it_is(reader: PlaceReader) -> None:
    """Curves are relative to the map's: both are needed, and both are read."""
    beside = np.linspace(-0.2, 0.2, 9)
    finer, coarser = (
        found(reader, np.append(np.log(5.0), of_map + beside), of_map)[0] for of_map in (np.log(4.3), np.log(5.8))
    )
    assert abs(finer - coarser) < 0.12


def test_places_are_read_in_parts(reader: PlaceReader, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.log(5.0) + np.linspace(-0.2, 0.2, 7)
    together = found(reader, levels, np.log(5.0))
    monkeypatch.setattr("emres.model.place._AT_ONCE", 2)
    np.testing.assert_allclose(found(reader, levels, np.log(5.0)), together, atol=2e-3)


def test_a_place_is_told_what_the_others_are_like(reader: PlaceReader) -> None:
    level = np.log(5.0)
    alike, unlike = (found(reader, np.array([level, *others]), level)[0] for others in ([level] * 6, [level + 0.4] * 6))
    assert alike != unlike


def test_what_lies_beside_the_molecule_is_read_and_tells_the_others_nothing(reader: PlaceReader) -> None:
    levels, of_map = np.log(5.0) + np.array([-0.2, 0.0, 0.2, 1.0]), np.log(5.0)
    both, alone = levels, levels[:3]
    inside = np.array([True, True, True, False])
    np.testing.assert_allclose(found(reader, both, of_map, inside)[:3], found(reader, alone, of_map), atol=2e-3)


def test_some_places_speak_for_a_large_molecule(reader: PlaceReader, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.log(5.0) + np.linspace(-0.2, 0.2, 64)
    every = found(reader, levels, np.log(5.0))
    monkeypatch.setattr("emres.model.place._TOGETHER", 16)
    some = found(reader, levels, np.log(5.0))
    assert 0 < np.abs(some - every).max() < 0.05


def test_members_differ_and_their_mean_is_the_answer(reader: PlaceReader) -> None:
    condition, places = torch.from_numpy(condition_at(1.5))[None], torch.zeros(1, 3, 2, FREQUENCIES)
    each = reader.each(condition, places)
    assert each.std(0).min() > 0
    torch.testing.assert_close(reader(condition, places), each.mean(0))


def test_places_without_a_target_are_seen_and_not_learnt_from() -> None:
    """Two trainings, in which what is not known of one place differs: the same weights."""
    rng = np.random.default_rng(0)
    curves, told = rng.normal(size=(9, 2, FREQUENCIES)).astype(np.float16), rng.normal(size=(3, LENGTH))
    weights = []
    for known in (9, 8, 8):
        levels = np.where(np.arange(9) < known, 1.0, np.nan).astype(np.float32)
        torch.manual_seed(0)
        one = PlaceReader(1, 8)
        fit_places(one, [PlaceExamples(curves, levels)] * 3, told.astype(np.float32), np.arange(3), 2, 1)
        weights.append(one.members[0].last.weight)
        assert torch.isfinite(weights[-1]).all()
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_the_same_seed_learns_the_same_and_nothing_learns_later() -> None:
    rng = np.random.default_rng(0)
    maps = [PlaceExamples(rng.normal(size=(9, 2, FREQUENCIES)).astype(np.float16), np.ones(9, np.float32))] * 3
    told, weights = rng.normal(size=(6, LENGTH)).astype(np.float32), []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        one = PlaceReader(1, 8)
        fit_places(one, maps, told, np.arange(6) % 3, 2, seed)
        assert not any(weight.requires_grad for weight in one.parameters())
        weights.append(one.members[0].first.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_member_knows_nothing_of_its_own_part_of_the_maps_and_the_other_does() -> None:
    """Levels of one part are swapped for nonsense: the member that leaves it out learns the same."""
    rng = np.random.default_rng(0)
    curves = [rng.normal(size=(9, 2, FREQUENCIES)).astype(np.float16) for _ in range(4)]
    told, weights = rng.normal(size=(4, LENGTH)).astype(np.float32), []
    for level in (1.0, 3.0):
        levels = [np.full(9, level if k % 2 else 1.0, np.float32) for k in range(4)]
        torch.manual_seed(0)
        one = PlaceReader(2, 8)
        fit_places(one, [PlaceExamples(curves[k], levels[k], part=k) for k in range(4)], told, np.arange(4), 2, 1)
        weights.append([member.first.weight for member in one.members])
    assert torch.equal(weights[0][1], weights[1][1])
    assert not torch.equal(weights[0][0], weights[1][0])


def test_maps_of_one_part_alone_are_learnt_by_all_members() -> None:
    maps = [PlaceExamples(np.zeros((9, 2, FREQUENCIES), np.float16), np.ones(9, np.float32), part=0)] * 2
    one = PlaceReader(2, 8)
    before = [member.last.bias.clone() for member in one.members]
    fit_places(one, maps, np.zeros((2, LENGTH), np.float32), np.arange(2), 2, 1)
    for member, bias in zip(one.members, before, strict=True):
        assert not torch.equal(member.last.bias, bias)


def test_some_members_are_asked_alone(reader: PlaceReader) -> None:
    curves = curves_of(np.log(5.0) + np.linspace(-0.2, 0.2, 5), np.log(5.0))
    alone = [read_places(reader, condition_at(np.log(5.0)), curves, [k]).values[0, 0] for k in (0, 1)]
    both = read_places(reader, condition_at(np.log(5.0)), curves).values[0, 0]
    assert not np.array_equal(*alone)
    np.testing.assert_allclose(np.mean(alone, axis=0), both, atol=2e-3)
