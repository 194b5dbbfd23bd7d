from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emres.archive.store import Store
from emres.errors import MapError, StoreError, UsageError
from emres.run.single import map_stem, predict_input
from emres.run.survey import describe, progress_of, survey


@pytest.mark.parametrize(
    ("name", "stem"), [("a.mrc", "a"), ("emd_1.map.gz", "emd_1"), ("x.y.ccp4.bz2", "x.y"), ("noext", "noext")]
)
def test_a_map_file_has_a_stem(name: str, stem: str) -> None:
    assert map_stem(Path(name)) == stem


def test_a_file_leaves_only_its_answer(toy_map: Path, toy_model: Path, tmp_path: Path) -> None:
    facts = predict_input(str(toy_map), output=tmp_path / "out.mrc", model=str(toy_model))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mrc"]
    assert "store" not in facts


def test_a_run_that_was_killed_goes_on_in_its_work_folder(
    toy_map: Path, toy_model: Path, tmp_path: Path, monkeypatch
) -> None:
    """Killed after the map was read: the second run does not read it again."""
    from emres.run import predict

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict_entry", die)
    with pytest.raises(KeyboardInterrupt):
        predict_input(str(toy_map), output=tmp_path / "out.mrc", model=str(toy_model))
    monkeypatch.undo()
    [work] = tmp_path.iterdir()
    assert Store(work).entry("toy").has("map")
    monkeypatch.setattr("emres.archive.writer.VolumeWriter.add", only_results(monkeypatch))
    predict_input(str(toy_map), output=tmp_path / "out.mrc", model=str(toy_model))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mrc"]


def only_results(monkeypatch: pytest.MonkeyPatch):
    from emres.archive.writer import VolumeWriter

    real = VolumeWriter.add

    def add(self, axis, slab):
        assert self._kind.startswith("local_resolution"), "the map was read again"
        real(self, axis, slab)

    return add


def test_a_bad_file_leaves_nothing(tmp_path: Path, toy_model: Path) -> None:
    bad = tmp_path / "bad.mrc"
    bad.write_bytes(b"<html>not here</html>" * 100)
    with pytest.raises(MapError):
        predict_input(str(bad), output=tmp_path / "out.mrc", model=str(toy_model))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mrc"]


def test_an_entry_is_found_by_name_and_by_path(entry, toy_model: Path) -> None:
    store = entry.path.parent
    for source, options in (("toy", {"store": store}), (str(entry.path), {})):
        facts = predict_input(source, model=str(toy_model), **options)
        assert facts["store"].endswith("toy.zarr/local_resolution/toy@1")
    shutil.rmtree(entry.path)
    with pytest.raises(UsageError, match="EMDB id"):
        predict_input("toy", store=store, model=str(toy_model))
    with pytest.raises(StoreError, match="no entry group"):
        predict_input(str(entry.path), model=str(toy_model))


def test_a_survey_tells_what_is_there(entry, toy_model: Path) -> None:
    [before] = survey(entry.path.parent)
    predict_input(str(entry.path), model=str(toy_model))
    [after] = survey(entry.path.parent)
    assert (before["median"], before["kinds"]) == (None, ["map"])
    assert after["median"] > 0
    assert describe(entry.path)["local_resolution/toy@1"]["model"] == "toy@1"


def test_progress_is_read_from_the_disk_of_a_run_that_died(entry, toy_model: Path, monkeypatch) -> None:
    import dataclasses

    from emres.run import predict
    from emres.run.predict import predict_entry, predict_job

    monkeypatch.setattr(predict, "_CORE", 32)
    job = dataclasses.replace(predict_job(entry.path, str(toy_model)), memory_bytes=0)

    def die_after_three(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_entry(job, progress=die_after_three)
    [row] = progress_of(entry.path.parent)["under_way"]
    assert (row["name"], row["done"], row["blocks"]) == ("toy", 3, len(job.plan))
    assert row["what"] == job.result
