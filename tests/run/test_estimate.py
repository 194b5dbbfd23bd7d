"""Estimates of reference methods: the same numbers by every road, computed once, and errors that teach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.stats import spearmanr

import emres
from emres.archive.mrc_write import write_mrc
from emres.archive.store import EntryGroup, Store, open_volume
from emres.errors import EmresError, MapError, UsageError
from emres.run import estimate as estimate_module
from emres.run.batch import BatchPlan, planned, run_batch
from emres.run.cluster import connect
from emres.run.estimate import estimate_entry, estimate_job
from emres.run.export import export_mrc
from emres.run.export_shown import export_shown
from emres.run.ingest import ingest
from emres.run.methods import make_recipe
from emres.run.shown import shown_entry
from emres.run.single import estimate_input
from emres.volume.grid import Grid, make_volume
from tests.run.halves import HALVES, TOY, entry_of, reference, toy_halves, write_halves

METHODS = ("fsc", "fsc@0.5", "fsc-relion", "fsc-blocres", "monores", "monores-half")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_halves(tmp_path_factory.mktemp("halves"))


@pytest.fixture
def entry(files: dict[str, Path], tmp_path: Path) -> EntryGroup:
    return entry_of(files, Store(tmp_path / "store"), kinds=(*HALVES, "map"))


def values_of(group: EntryGroup, kind: str) -> np.ndarray:
    return open_volume(group.path, kind).values


@pytest.mark.parametrize("method", METHODS)
def test_a_method_leaves_a_result_of_its_own_name(entry: EntryGroup, method: str) -> None:
    recipe = make_recipe(method, step=4) if "blocres" in method else make_recipe(method)
    facts = estimate_entry(estimate_job(entry.path, recipe))
    assert entry.results() == [f"local_resolution/{recipe.name}"]
    kept = entry.attributes(recipe.result)
    resolution = values_of(entry, recipe.result)
    assert resolution.dtype == np.float32
    assert 0 < (resolution > 0).mean() < 0.6, "0 outside the mask"
    assert resolution[resolution > 0].min() >= 2 * 2.1 * 0.999
    assert kept["median"] == pytest.approx(np.median(resolution[resolution > 0]), abs=0.011)
    assert facts["voxels"] == (resolution > 0).sum()
    for key in ("definition", "threshold", "window", "parameters", "capped_share", "unresolved_share", "program"):
        assert key in kept
    assert (kept["method"], kept["mask"]) == (method.partition("-")[0].partition("@")[0], "auto")


def test_one_result_by_every_road(files: dict[str, Path], entry: EntryGroup, tmp_path: Path) -> None:
    """Python, one file after another, the store, a batch: the same bytes."""
    halves = [emres.read_mrc(files[kind]) for kind in HALVES]
    eager = emres.estimate(halves, "fsc", definition="relion")
    out = tmp_path / "out.mrc"
    facts = estimate_input(None, make_recipe("fsc-relion"), half_maps=(files[HALVES[0]], files[HALVES[1]]), output=out)
    only_halves = entry_of(files, Store(tmp_path / "other"), "halves")
    [outcome] = run_batch(["halves"], BatchPlan(Store(tmp_path / "other"), "fsc-relion"))
    assert outcome.status == "done", outcome.reason
    stored = values_of(only_halves, "local_resolution/fsc-relion")
    assert np.array_equal(eager.values, emres.read_mrc(out).values)
    assert np.array_equal(eager.values, stored)
    assert facts["median"] == outcome.facts["median"]
    assert eager.attrs["window"] == outcome.facts["window"]
    # With the average as the entry's map the mask is the same, and so is the answer.
    estimate_entry(estimate_job(entry.path, "fsc-relion"))
    assert np.array_equal(values_of(entry, "local_resolution/fsc-relion"), stored)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out.mrc", "store"]


def test_what_is_there_is_not_computed_again(entry: EntryGroup, files: dict[str, Path]) -> None:
    job = estimate_job(entry.path, "fsc")
    assert not job.finished()
    first = estimate_entry(job)
    assert (first["computed"], estimate_entry(job)["computed"]) == (1, 0)
    for other in (
        replace(job, mask="none"),
        replace(job, recipe=make_recipe("fsc", window=40.0)),
        replace(job, recipe=make_recipe("fsc", threshold=0.5)),
        replace(job, mask=str(files["map"])),
    ):
        assert not other.finished()
    assert replace(job, device="cpu").finished(), "where it runs does not change what it is"


def test_a_new_half_map_makes_a_new_result(entry: EntryGroup, files: dict[str, Path], tmp_path: Path) -> None:
    job = estimate_job(entry.path, "fsc")
    estimate_entry(job)
    changed = write_halves(tmp_path / "again", seed=2)
    entry_of(changed, Store(entry.path.parent), kinds=("half_map_2",))
    assert not job.finished()


def test_the_map_decides_the_mask_of_half_maps_where_it_lies_on_them(
    entry: EntryGroup, files: dict[str, Path], tmp_path: Path
) -> None:
    job = estimate_job(entry.path, "fsc")
    estimate_entry(job)
    assert job.mask_kind == "map"
    entry_of(write_halves(tmp_path / "again", seed=2), Store(entry.path.parent), kinds=("map",))
    assert not job.finished(), "another map, another mask"
    cropped = Grid((32, 32, 32), (2.1,) * 3)
    elsewhere = write_halves(tmp_path / "cropped", cropped)
    group = entry_of({**files, "map": elsewhere["map"]}, Store(tmp_path / "other"), kinds=("half_map_1", "half_map_2"))
    ingest(elsewhere["map"], group, "map")
    other = estimate_job(group.path, "fsc")
    assert other.mask_kind is None
    estimate_entry(other)
    assert open_volume(group.path, other.result).shape == TOY.shape


def test_a_batch_takes_methods_as_it_takes_nets(files: dict[str, Path], tmp_path: Path) -> None:
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    for name in ("one", "two"):
        entry_of(files, store, name)
    entry_of(files, store, "lonely", kinds=("map",))
    fetched: list[str] = []
    plan = BatchPlan(store, "fsc", export=out, fetch=lambda name, report: bool(fetched.append(name)))
    assert planned("one", plan) == ["estimate", "export"]
    found = {outcome.name: outcome for outcome in run_batch(["one", "two", "lonely"], plan)}
    assert {name: outcome.status for name, outcome in found.items()} == {
        "one": "done", "two": "done", "lonely": "failed",
    }  # fmt: skip
    assert "emres import HALF --kind half_map_1" in found["lonely"].reason
    assert fetched == [], "maps of one's own are not in the archive"
    assert sorted(path.name for path in out.iterdir()) == ["one_local_resolution.mrc", "two_local_resolution.mrc"]
    again = list(run_batch(["one", "two"], plan))
    assert [outcome.status for outcome in again] == ["skipped"] * 2
    assert [outcome.facts["computed"] for outcome in again] == [0, 0]
    assert planned("EMD-0001", plan) == ["fetch", "estimate", "export"]


def test_a_cluster_gives_the_same_numbers(files: dict[str, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for name in ("one", "two"):
        entry_of(files, store, name)
    with connect("local:1") as client:
        [outcome] = run_batch(["one"], BatchPlan(store, "fsc", device="cpu"), client)
    assert outcome.status == "done", outcome.reason
    [here] = run_batch(["two"], BatchPlan(store, "fsc", device="cpu"))
    one, two = (values_of(store.entry(name), "local_resolution/fsc-dense") for name in ("one", "two"))
    assert np.allclose(one, two, rtol=1e-4)
    assert outcome.facts["median"] == pytest.approx(here.facts["median"], abs=0.011)


def test_the_header_tells_how_it_was_made(entry: EntryGroup, tmp_path: Path) -> None:
    job = estimate_job(entry.path, "fsc@0.5", mask="none")
    estimate_entry(job)
    with mrcfile.open(export_mrc(entry, tmp_path / "out.mrc", job.result)) as file:
        labels = [label.decode().strip() for label in file.header.label[: int(file.header.nlabl)]]
        assert (float(file.header.origin.x), float(file.voxel_size.x)) == (5.0, pytest.approx(2.1))
    told = " | ".join(labels)
    for word in ("emres", "local resolution", "method fsc", "definition dense", "threshold 0.5", "window", "mask none"):
        assert word in told
    assert "capped" in told
    assert export_shown(shown_entry(entry, job.result), tmp_path, "png").path.stat().st_size > 10_000


def test_a_filled_map_carries_the_answer_beyond_its_mask(entry: EntryGroup, tmp_path: Path) -> None:
    estimate_entry(estimate_job(entry.path, "fsc"))
    path = export_mrc(entry, tmp_path, filled=True)
    assert path.name == "toy_local_resolution_filled.mrc"
    filled, plain = emres.read_mrc(path).values, values_of(entry, "local_resolution/fsc-dense")
    assert np.array_equal(filled[plain > 0], plain[plain > 0])
    assert (filled > 0).sum() > 1.2 * (plain > 0).sum()
    assert set(np.unique(filled)) <= set(np.unique(plain))
    with pytest.raises(UsageError, match="only a local resolution is filled"):
        export_mrc(entry, tmp_path, "map", filled=True)


def test_maps_that_were_processed_are_warned_of(files: dict[str, Path], tmp_path: Path) -> None:
    masked = emres.read_mrc(files["map"]).copy()
    masked.values[masked.values < 0.9] = 0
    assert any("masked" in said for said in emres.estimate(masked, "monores").attrs["warnings"])
    assert emres.estimate([masked, 2 * masked], "fsc").attrs["warnings"] == [], "half maps have their own noise"
    assert "the same map" in emres.estimate([masked, masked], "fsc").attrs["warnings"][0]
    group = entry_of({"map": write_mrc(tmp_path / "m.mrc", masked)}, Store(tmp_path / "store"), "m", ("map",))
    [outcome] = run_batch(["m"], BatchPlan(Store(group.path.parent), "monores"))
    assert "masked" in outcome.facts["warnings"][0]


def test_voxels_that_resmap_leaves_open_do_not_count(entry: EntryGroup) -> None:
    job = estimate_job(entry.path, "resmap")
    facts = estimate_entry(job)
    resolution = values_of(entry, job.result)
    resolved = resolution[(resolution > 0) & (resolution < 100)]
    assert facts["voxels"] == resolved.size
    assert facts["unresolved_share"] == pytest.approx((resolution == 100).sum() / (resolution > 0).sum(), abs=1e-3)
    assert facts["p95"] < 100


def test_nothing_resolved_is_an_error_with_a_cure(entry: EntryGroup) -> None:
    job = estimate_job(entry.path, make_recipe("resmap", min_resolution=4.5, max_resolution=4.6))
    noise = make_volume(np.random.default_rng(1).normal(size=TOY.shape).astype(np.float32), TOY)
    sphere = make_volume(_ball(TOY), TOY)
    mask = write_mrc(entry.path.parent.parent / "ball.mrc", sphere)
    group = entry_of(
        {"map": write_mrc(entry.path.parent.parent / "noise.mrc", noise)}, Store(entry.path.parent), "n", ("map",)
    )
    with pytest.raises(MapError, match=r"resmap found no resolution.*--max-resolution"):
        estimate_entry(replace(job, entry=group.path, mask=str(mask)))
    assert group.results() == []


def _ball(grid: Grid) -> np.ndarray:
    z, y, x = (np.arange(n) - n / 2 for n in grid.shape)
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    return (radius < min(grid.shape) / 4).astype(np.float32)


def test_half_maps_that_are_not_there_are_asked_for(entry: EntryGroup, files: dict[str, Path], tmp_path: Path) -> None:
    lonely = entry_of(files, Store(tmp_path / "store"), "lonely", kinds=("map", "half_map_1"))
    with pytest.raises(UsageError, match=r"lonely has no half_map_2.*emres fetch lonely --half-maps.*monores"):
        estimate_job(lonely.path, "fsc")
    volume = emres.read_mrc(files["map"])
    with pytest.raises(UsageError, match=r"got one map.*estimate\(\(half_1, half_2\)\)"):
        emres.estimate(volume)
    with pytest.raises(UsageError, match="resmap reads one map"):
        emres.estimate([volume, volume], "resmap")
    with pytest.raises(UsageError, match="--half-map-1"):
        estimate_input(str(files["map"]), make_recipe("fsc"))
    with pytest.raises(UsageError, match="is an entry, and half map files"):
        estimate_input(str(entry.path), make_recipe("fsc"), half_maps=(files[HALVES[0]], files[HALVES[1]]))


def test_half_maps_on_different_grids_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    other = Grid((40, 40, 40), (2.1,) * 3)
    small = write_mrc(tmp_path / "small.mrc", make_volume(toy_halves(other)[0], other))
    first = emres.read_mrc(files["half_map_1"])
    with pytest.raises(UsageError, match="different grids"):
        emres.estimate([first, emres.read_mrc(small)])
    with pytest.raises(MapError, match=r"different grids.* of 2.1 2.1 2.1 Å at"):
        estimate_input(None, make_recipe("fsc"), half_maps=(files["half_map_1"], small), output=tmp_path / "out.mrc")
    assert [path.name for path in tmp_path.iterdir()] == ["small.mrc"]


def test_a_map_that_does_not_fit_is_refused_with_both_numbers(
    entry: EntryGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate_module, "free_memory", lambda: 1 << 20)
    with pytest.raises(EmresError, match=r"does not fit in memory: got 0\.0 GiB free, expected 0\.0 GiB, 12 volumes"):
        estimate_entry(estimate_job(entry.path, "fsc"))
    assert entry.results() == []


def test_an_empty_mask_is_refused(entry: EntryGroup, tmp_path: Path) -> None:
    nothing = write_mrc(tmp_path / "nothing.mrc", make_volume(np.zeros(TOY.shape, np.float32), TOY))
    with pytest.raises(MapError, match="holds no voxel"):
        estimate_entry(estimate_job(entry.path, "fsc", mask=str(nothing)))
    assert entry.results() == []


def test_a_reference_object_comes_out_as_relion_has_it() -> None:
    """Of object c, in its mask: the whole road from half maps to a volume keeps the estimator's agreement."""
    maps = reference("c")
    found = emres.estimate([maps[kind] for kind in HALVES], "fsc-relion", mask=maps["mask"])
    inside = (maps["mask"].values > 0.5) & (found.values > 0) & (maps["relion"].values > 0)
    ours, theirs = found.values[inside], maps["relion"].values[inside]
    assert spearmanr(ours, theirs).statistic > 0.99
    assert np.abs(ours - theirs).mean() < 0.1
    assert (found.values[maps["mask"].values <= 0.5] == 0).all()
