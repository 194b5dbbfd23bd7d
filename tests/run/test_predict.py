from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc_write import write_mrc
from emres.archive.scratch import MemoryScratch
from emres.archive.store import EntryGroup, Store, open_volume
from emres.errors import MapError, ModelError, StoreError, UsageError
from emres.model.inference import RESOLUTION_AND_SPREAD
from emres.run import predict as predict_module
from emres.run.ingest import import_map
from emres.run.predict import PredictJob, predict_entry, predict_job
from emres.run.prepare import bytes_in_memory
from emres.volume.grid import Grid, make_volume
from tests.run.conftest import GRID, toy_density


def resolution(group: EntryGroup) -> np.ndarray:
    return open_volume(group.path, group.results()[0]).values


def on_disk(job: PredictJob) -> PredictJob:
    return dataclasses.replace(job, memory_bytes=0)


@pytest.fixture
def small_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy map in cores of 32^3: many blocks, as a big map has."""
    monkeypatch.setattr(predict_module, "_CORE", 32)


def test_a_prediction_lies_on_the_grid_of_its_map_and_is_zero_outside_the_mask(entry, toy_model: Path) -> None:
    facts = predict_entry(predict_job(entry.path, str(toy_model)))
    found = open_volume(entry.path, "local_resolution/toy@1")
    assert entry.grid("local_resolution/toy@1") == entry.grid("map")
    inside = found.values > 0
    assert facts["voxels"] == inside.sum()
    assert abs(facts["median"] - np.median(found.values[inside])) <= 0.011
    assert 0.02 < inside.mean() < 0.5


def test_nothing_is_finer_than_two_voxels_of_the_map(entry, toy_model: Path) -> None:
    predict_entry(predict_job(entry.path, str(toy_model)))
    values = resolution(entry)
    assert values[values > 0].min() >= np.float32(2 * GRID.voxel_size[0])


def test_blockwise_equals_whole(entry, toy_model: Path, small_cores: None) -> None:
    job = predict_job(entry.path, str(toy_model))
    assert predict_entry(job)["computed"] == 1
    whole = resolution(entry)
    shutil.rmtree(entry.path / "local_resolution")
    blocks = on_disk(job)
    assert len(blocks.plan) > 4
    assert predict_entry(blocks)["computed"] == len(blocks.plan)
    np.testing.assert_allclose(resolution(entry), whole, rtol=1e-4)


def test_what_a_map_is_counted_to_take_is_what_its_arrays_take(entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the net that ships, which also tells its uncertainty, and what its predictor gives back at once."""
    job, taken = predict_job(entry.path), []
    clear = MemoryScratch.clear

    def counted(scratch: MemoryScratch) -> None:
        taken.append(sum(array.nbytes for array in scratch._arrays.values()))
        clear(scratch)

    monkeypatch.setattr(MemoryScratch, "clear", counted)
    predict_entry(job)
    answer = RESOLUTION_AND_SPREAD.itemsize * job.grids[1].voxels
    assert taken[-1] + answer <= bytes_in_memory(*job.grids) < 1.4 * (taken[-1] + answer)


def test_a_resumed_run_computes_nothing(entry, toy_model: Path) -> None:
    job = predict_job(entry.path, str(toy_model))
    first = predict_entry(job)
    second = predict_entry(job)
    assert (first["computed"], second["computed"]) == (1, 0)
    assert second["fingerprint"] == first["fingerprint"]


def test_a_run_that_dies_between_blocks_goes_on_and_gives_the_same_bytes(
    entry, toy_model: Path, small_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = on_disk(predict_job(entry.path, str(toy_model)))
    undisturbed = predict_entry(job)
    expected = files_of(entry.path / job.result)
    shutil.rmtree(entry.path / "local_resolution")

    def die_after_two(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_entry(job, progress=die_after_two)
    assert not entry.results()
    assert predict_entry(job)["computed"] == undisturbed["computed"] - 2
    assert files_of(entry.path / job.result) == expected
    assert not entry.work.exists()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_results_of_two_models_never_mix(entry, toy_model: Path, other_model: Path, small_cores: None) -> None:
    """Same name and version, other weights, and the first run died half-way."""
    first = on_disk(predict_job(entry.path, str(toy_model)))
    second = on_disk(predict_job(entry.path, str(other_model)))
    with pytest.raises(KeyboardInterrupt):
        predict_entry(first, progress=interrupt)
    assert predict_entry(second)["computed"] == len(second.plan)
    mixed = resolution(entry)
    shutil.rmtree(entry.path / "local_resolution")
    predict_entry(second)
    assert np.array_equal(resolution(entry), mixed)
    assert not entry.work.exists()


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("change", ["mask", "map", "model"])
def test_another_input_is_another_result(
    entry, toy_model: Path, other_model: Path, toy_map: Path, tmp_path: Path, change: str
) -> None:
    before = predict_job(entry.path, str(toy_model))
    predict_entry(before)
    model, mask = toy_model, "auto"
    if change == "map":
        path = write_mrc(tmp_path / "other.mrc", make_volume(toy_density(seed=6), GRID))
        import_map(path, Store(entry.path.parent), "toy")
    elif change == "mask":
        mask = "none"
    else:
        model = other_model
    after = predict_job(entry.path, str(model), mask=mask)
    assert not after.finished()
    assert predict_entry(after)["computed"] == 1


def test_gain_offset_of_the_density_do_not_change_the_answer(tmp_path: Path, entry, toy_model: Path) -> None:
    predict_entry(predict_job(entry.path, str(toy_model)))
    path = write_mrc(tmp_path / "gain.mrc", make_volume(toy_density() * 37, GRID))
    scaled = import_map(path, Store(tmp_path / "store"), "scaled")
    predict_entry(predict_job(scaled.path, str(toy_model)))
    np.testing.assert_allclose(resolution(scaled), resolution(entry), rtol=1e-3)


def test_a_mask_file_decides_where_the_answer_is(entry, toy_model: Path, tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape, dtype=np.float32)
    mask[20:40, 20:40, 20:40] = 1
    path = write_mrc(tmp_path / "mask.mrc", make_volume(mask, GRID))
    predict_entry(predict_job(entry.path, str(toy_model), mask=str(path)))
    assert np.array_equal(resolution(entry) > 0, mask > 0.5)


def test_the_answer_inside_a_smaller_mask_is_that_of_the_net_on_the_same_density(entry, toy_model: Path) -> None:
    """Boxes follow the mask; what the net sees round a voxel does not (only the normalisation moves a little)."""
    predict_entry(predict_job(entry.path, str(toy_model), mask="none"))
    everywhere = resolution(entry)
    assert (everywhere > 0).all()


def test_a_mask_on_another_grid_is_refused_with_both_grids(entry, toy_model: Path, tmp_path: Path) -> None:
    other = Grid((30, 30, 30), (2.0, 2.0, 2.0))
    path = write_mrc(tmp_path / "mask.mrc", make_volume(np.ones(other.shape, dtype=np.float32), other))
    with pytest.raises(MapError, match=r"another grid.*30x30x30.*72x60x66"):
        predict_entry(predict_job(entry.path, str(toy_model), mask=str(path)))
    assert not entry.results()
    assert not entry.work.exists()


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_a_constant_map_is_refused(tmp_path: Path, toy_model: Path, value: float) -> None:
    path = write_mrc(tmp_path / "flat.mrc", make_volume(np.full(GRID.shape, value, dtype=np.float32), GRID))
    group = import_map(path, Store(tmp_path / "store"), "flat")
    with pytest.raises(MapError, match="constant"):
        predict_job(group.path, str(toy_model))


def test_contour_needs_a_level_and_uses_it(tmp_path: Path, entry, toy_model: Path) -> None:
    with pytest.raises(UsageError, match="contour level"):
        predict_entry(predict_job(entry.path, str(toy_model), mask="contour"))
    Store(entry.path.parent).create("toy", {"title": "toy", "contour_level": 1.0})
    predict_entry(predict_job(entry.path, str(toy_model), mask="contour"))
    found, density = resolution(entry) > 0, toy_density()
    assert found[density >= 1.5].mean() > 0.99
    assert found.mean() < 0.5


def test_words_that_mean_nothing_are_refused_before_any_work(entry, toy_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="device"):
        predict_job(entry.path, str(toy_model), device="tpu")
    with pytest.raises(UsageError, match="mask"):
        predict_job(entry.path, str(toy_model), mask="atuo")
    with pytest.raises(UsageError, match="model"):
        predict_job(entry.path, "emres-huge")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError):
        predict_job(entry.path, str(tmp_path / "empty"))


def test_a_second_run_of_the_same_big_map_is_told_who_is_at_it(entry, toy_model: Path, small_cores: None) -> None:
    job = on_disk(predict_job(entry.path, str(toy_model)))

    def second(done: int, total: int) -> None:
        if done == 1:
            with pytest.raises(StoreError, match="another run"):
                predict_entry(job)

    assert predict_entry(job, progress=second)["computed"] == len(job.plan)
    assert not entry.work.exists()


def test_a_mask_file_is_read_once_for_its_fingerprint_and_again_when_it_changes(
    entry, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    reads = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: reads.append(given) or real(*given))
    path = tmp_path / "mask.mrc"
    prints = []
    for side in (20, 30):
        mask = np.zeros(GRID.shape, dtype=np.float32)
        mask[:side, :side, :side] = 1
        write_mrc(path, make_volume(mask, GRID), overwrite=True)
        job = predict_job(entry.path, str(toy_model), mask=str(path))
        prints += [job.fingerprint() for _ in range(3)]
    assert len(reads) == 2
    assert prints[0] == prints[2] != prints[3] == prints[5]
