"""Entries become a data set: deterministic, resumable, split by family, what cannot be used left out with a reason."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import emres.run.estimate as estimate_module
from emres.archive.manifest import DataSet, read_dataset
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.errors import StoreError, UsageError
from emres.model.epoch import plan_epoch
from emres.model.patch_spec import EpochPlan
from emres.run.build import BuildPlan, build, open_or_new
from emres.run.cluster import connect
from emres.run.dataset_info import describe_dataset
from emres.run.patch_sources import DataSetOpener
from emres.run.sources import build_dataset, families_beside, read_families
from emres.volume.grid import Grid, make_volume
from tests.mirror import build_mirror
from tests.run.atomic_models import write_models
from tests.run.halves import HALVES, entry_of, toy_halves, write_halves

SMALL = Grid((28, 28, 28), (2.1,) * 3)
KINDS = ("map", *HALVES)
LIMITED = {"processing": {"low_pass": 12.0}}
RECIPE = {"like": "low-resolution", "framing": {"padding": 14.0}}  # small boxes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_halves(tmp_path_factory.mktemp("halves"), SMALL)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ["1abc.pdb", "2abc.pdb.gz", "3xyz.pdb"]
    families = {"1abc.pdb": "7", "2abc.pdb.gz": "7", "3xyz.pdb": "8"}
    return write_models(tmp_path_factory.mktemp("models"), *names, families=families)


def store_with(folder: Path, files: dict[str, Path], *names: str) -> Store:
    for name in names:
        entry_of(files, Store(folder), name, kinds=KINDS)
    return Store(folder)


def plan_for(folder: Path, store: Store, *names: str, **options: object) -> BuildPlan:
    return BuildPlan(folder, names, **{"store": store, "fewest": 50, **options})  # type: ignore[arg-type]


def test_a_row_tells_of_its_entry_and_nothing_is_copied(files, tmp_path: Path) -> None:
    store = store_with(tmp_path / "store", files, "a")
    built = build(plan_for(tmp_path / "set", store, "a"))
    (row,) = built.dataset.rows
    found = store.entry("a").attributes("local_resolution/fsc-dense")
    assert (row.entry, row.target, row.family, row.weight) == ("a", "local_resolution/fsc-dense", "a", 1.0)
    assert (row.resolution, row.p05, row.p95, row.voxels) == tuple(found[k] for k in ("median", "p05", "p95", "voxels"))
    assert row.densities == ("map", "average")
    assert built.dataset.store_of(row) == tmp_path / "store"
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["dataset.json"]
    assert read_dataset(tmp_path / "set") == built.dataset


def test_the_same_command_writes_the_same_bytes_and_computes_nothing(files, tmp_path: Path, monkeypatch) -> None:
    store = store_with(tmp_path / "store", files, "a", "b")
    build(plan_for(tmp_path / "set", store, "a", "b"))
    before = (tmp_path / "set/dataset.json").read_bytes()
    monkeypatch.setattr(estimate_module, "maps_and_mask", None)
    again = build(plan_for(tmp_path / "set", store, "a", "b"))
    assert [outcome.status for outcome in again.outcomes] == ["skipped", "skipped"]
    build(plan_for(tmp_path / "other", store, "b", "a"))
    assert before == (tmp_path / "set/dataset.json").read_bytes() == (tmp_path / "other/dataset.json").read_bytes()


def test_each_target_is_a_row_and_they_share_a_side(files, tmp_path: Path) -> None:
    store = store_with(tmp_path / "store", files, "a")
    found = build(plan_for(tmp_path / "set", store, "a", targets=("fsc", "monores"))).dataset
    assert [row.target for row in found.rows] == ["local_resolution/fsc-dense", "local_resolution/monores"]
    assert len({row.split for row in found.rows}) == 1


def test_a_data_set_grows_without_moving_anything(files, tmp_path: Path) -> None:
    names = [f"e{k}" for k in range(6)]
    store = store_with(tmp_path / "store", files, *names)
    first = build(plan_for(tmp_path / "set", store, *names[:3])).dataset
    grown = build(plan_for(tmp_path / "set", store, *names[3:], seed=9)).dataset
    assert [row for row in grown.rows if row.entry in names[:3]] == list(first.rows)
    assert [row.entry for row in grown.rows] == names
    moved = build(plan_for(tmp_path / "set", store, "e0", families={"e0": "elsewhere"})).dataset
    assert moved.rows == grown.rows


def broken_entries(folder: Path, files: dict[str, Path], tmp_path: Path) -> Store:
    """One that is well, and three that cannot be used."""
    store = store_with(folder, files, "well")
    entry_of(files, store, "halfless", kinds=("map",))
    other = write_mrc(
        tmp_path / "other.mrc",
        make_volume(toy_halves(Grid((24, 28, 28), (2.1,) * 3))[1], Grid((24, 28, 28), (2.1,) * 3)),
    )
    entry_of({**files, "half_map_2": other}, store, "unlike", kinds=HALVES)
    entry_of(files, store, "flat", kinds=("half_map_1",))
    flat = write_mrc(tmp_path / "flat.mrc", make_volume(np.ones(SMALL.shape, dtype=np.float32), SMALL))
    entry_of({"half_map_2": flat}, store, "flat", kinds=("half_map_2",))
    return store


def test_entries_that_cannot_be_used_are_left_out_with_the_reason(files, tmp_path: Path) -> None:
    store = broken_entries(tmp_path / "store", files, tmp_path)
    built = build(plan_for(tmp_path / "set", store, "halfless", "unlike", "flat", "well", "missing"))
    assert [row.entry for row in built.dataset.rows] == ["well"]
    left_out = read_dataset(tmp_path / "set").made["left_out"]
    assert set(left_out) == {"halfless", "unlike", "flat", "missing"}
    assert "has no half_map_1" in left_out["halfless"]["fsc-dense"]
    assert "different grids" in left_out["unlike"]["fsc-dense"]
    assert "constant" in left_out["flat"]["fsc-dense"]
    assert {o.name for o in built.outcomes if o.status == "failed"} == set(left_out)


def test_an_entry_with_few_targets_is_left_out_until_that_is_enough(files, tmp_path: Path) -> None:
    store = store_with(tmp_path / "store", files, "a")
    few = build(plan_for(tmp_path / "set", store, "a", fewest=10**6)).dataset
    assert few.rows == ()
    assert "too few voxels" in few.made["left_out"]["a"]["fsc-dense"]
    enough = build(plan_for(tmp_path / "set", store, "a")).dataset
    assert len(enough.rows) == 1
    assert enough.made["left_out"] == {}


def test_an_entry_that_is_mostly_unresolved_is_left_out_unless_that_is_allowed(files, tmp_path: Path) -> None:
    store = store_with(tmp_path / "store", files, "a")
    noise = np.random.default_rng(5).standard_normal((2, *SMALL.shape)).astype(np.float32)
    pure = [write_mrc(tmp_path / f"noise-{k}.mrc", make_volume(noise[k], SMALL)) for k in (0, 1)]
    entry_of(dict(zip(HALVES, pure, strict=True)), store, "noise", kinds=HALVES)
    plan = plan_for(tmp_path / "set", store, "a", "noise", mask="none")
    strict = build(plan).dataset
    assert "no local resolution in most of its mask" in strict.made["left_out"]["noise"]["fsc-dense"]
    assert [row.entry for row in strict.rows] == ["a"]
    assert [row.entry for row in build(replace(plan, most_unresolved=1.0)).dataset.rows] == ["a", "noise"]


def test_a_map_on_another_grid_than_its_target_is_not_shown(files, tmp_path: Path) -> None:
    store = store_with(tmp_path / "store", files, "a")
    finer = Grid((40, 40, 40), (1.5,) * 3)
    other = write_mrc(tmp_path / "other.mrc", make_volume(toy_halves(finer)[0], finer))
    entry_of({**files, "map": other}, store, "b", kinds=(*HALVES, "map"))
    found = build(plan_for(tmp_path / "set", store, "a", "b")).dataset
    assert [row.densities for row in found.rows] == [("map", "average"), ("average",)]


def test_models_are_simulated_and_families_stay_together(models: Path, tmp_path: Path) -> None:
    found = build_dataset(tmp_path / "set", simulate=models, count=2, recipe=RECIPE)
    assert {row.entry for row in found.rows} | set(found.made["left_out"]) == {
        f"{name}-{k}" for name in ("1abc", "2abc", "3xyz") for k in (1, 2)
    }
    assert {row.family for row in found.rows} == {"7", "8"}
    assert all(row.densities == ("map", "average") and row.store == "store" for row in found.rows)
    assert all(len({row.split for row in found.rows if row.family == family}) == 1 for family in "78")
    before = (tmp_path / "set/dataset.json").read_bytes()
    build_dataset(tmp_path / "set", simulate=models, count=2, recipe=RECIPE)
    assert (tmp_path / "set/dataset.json").read_bytes() == before


def test_deposits_of_one_version_share_a_target_and_patches_show_each(tmp_path: Path) -> None:
    models = write_models(tmp_path / "models", "1abc.pdb")
    found = build_dataset(tmp_path / "set", simulate=models, deposits=3, recipe={**RECIPE, **LIMITED})
    (row,) = found.rows
    assert row.densities == ("map", "map_2", "map_3", "average")
    group = Store(found.store_of(row)).entry(row.entry)
    ways = group.attributes()["entry"]["deposits"]
    assert list(ways) == ["map", "map_2", "map_3"]
    assert all((way["region"], way["voxel_size"]) == (1.0, 0.0) for way in ways.values())
    assert [kind for kind in group.kinds() if kind.startswith("local_resolution")] == [row.target]
    opened, epoch = DataSetOpener(found, found.rows).open(), EpochPlan(64, visit=8)
    maps = [np.asarray(opened.source(0).densities[name][8:20, 8:20, 8:20]) for name in row.densities]
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(maps, 2))
    assert {spec.density for spec in plan_epoch(found.rows, opened.cells, epoch)} == set(row.densities)


def test_a_cluster_builds_the_same_data_set(models: Path, tmp_path: Path) -> None:
    with connect("local:1") as client:
        build_dataset(tmp_path / "far", simulate=models, recipe=RECIPE, client=client)
    near = build_dataset(tmp_path / "near", simulate=models, recipe=RECIPE)
    assert (len(near.rows), len(near.made["left_out"])) == (2, 1)
    assert read_dataset(tmp_path / "far") == replace(near, folder=tmp_path / "far")


def test_a_bad_model_is_left_out_and_the_others_go_on(models: Path, tmp_path: Path) -> None:
    folder = write_models(tmp_path / "models", "1abc.pdb")
    (folder / "bad.pdb").write_text("nothing")
    found = build_dataset(tmp_path / "set", simulate=folder, recipe=RECIPE)
    assert list(found.made["left_out"]) == ["bad-1"]
    assert "holds no atoms" in found.made["left_out"]["bad-1"]["simulation"]
    assert [row.family for row in found.rows] == ["1abc"]


def test_entries_of_the_archive_are_fetched_with_their_half_maps(files, tmp_path: Path) -> None:
    mirror = build_mirror(tmp_path / "mirror", {"EMD-0001": files, "EMD-0002": {"map": files["map"]}})
    found = build_dataset(tmp_path / "set", ["emd_0001", "EMD-0002"], mirror=mirror)
    (row,) = found.rows
    assert (row.entry, row.store, row.family) == ("EMD-0001", "store", "EMD-0001")
    assert "no half maps in the archive" in found.made["left_out"]["EMD-0002"]["fsc-dense"]


@pytest.mark.parametrize(
    ("text", "families"),
    [
        ("entry\tfamily\na\t1\nb\t2\n", {"a": "1", "b": "2"}),
        ("a\t1\n# a word\nb\t2\n", {"a": "1", "b": "2"}),
        ("family\tx\tfile\n1\t-\ta\n", {"a": "1"}),
    ],
)
def test_families_are_read_from_a_table(tmp_path: Path, text: str, families: dict[str, str]) -> None:
    (tmp_path / "models.tsv").write_text(text)
    assert read_families(tmp_path / "models.tsv") == families
    assert families_beside(tmp_path) == (families if "family" in text else {})


@pytest.mark.parametrize("content", [b"", b"a\nb\n", b"entry\tfamily\n", b"\xff\xfe", None])
def test_what_is_no_table_of_families_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "f.tsv").write_bytes(content)
    with pytest.raises(UsageError, match=r"f\.tsv"):
        read_families(tmp_path / "f.tsv")


def test_a_call_that_is_wrong_makes_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown method"):
        build_dataset(tmp_path / "set", ["a"], targets="magic")
    with pytest.raises(UsageError, match="no entry was named"):
        build_dataset(tmp_path / "set")
    with pytest.raises(UsageError, match="there is no folder"):
        build_dataset(tmp_path / "set", simulate=tmp_path / "none")
    assert not (tmp_path / "set").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"), open_or_new(tmp_path / "set"):
        pass


def test_a_data_set_that_another_run_is_building_is_left_alone(tmp_path: Path) -> None:
    with (
        open_or_new(tmp_path / "set"),
        pytest.raises(StoreError, match="another run"),
        open_or_new(tmp_path / "set"),
    ):
        pass
    assert not (tmp_path / "set").exists()


def test_a_damaged_manifest_is_not_overwritten(files, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/dataset.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        build(plan_for(tmp_path / "set", Store(tmp_path / "store"), "a"))
    assert (tmp_path / "set/dataset.json").read_text() == "{"


def test_what_a_data_set_holds_is_counted(files, tmp_path: Path) -> None:
    store = store_with(tmp_path / "store", files, "a", "b")
    dataset = build(plan_for(tmp_path / "set", store, "a", "b")).dataset
    facts = describe_dataset(dataset)
    assert facts["entries"] == 2
    edges, sides = facts["resolution"]["edges"], [facts["resolution"][s] for s in ("train", "validation", "test")]
    assert all(len(side) == len(edges) - 1 for side in sides)
    assert sum(map(sum, sides)) == pytest.approx(sum(row.voxels for row in dataset.rows), abs=len(edges))
    assert edges[0] <= dataset.rows[0].p05 <= dataset.rows[0].p95 <= edges[-1]
    assert any("side is empty" in warning for warning in facts["warnings"])
    assert describe_dataset(DataSet(tmp_path, ()))["resolution"]["edges"] in ([], [0.0])


SCRIPT = """
import sys
from emres.run.sources import build_dataset
assert build_dataset(sys.argv[1], simulate=sys.argv[2], count=2, recipe=eval(sys.argv[3])).rows
"""


def test_a_build_that_is_killed_goes_on_and_ends_with_the_same_manifest(models: Path, tmp_path: Path) -> None:
    def command(name: str) -> list[str]:
        return [sys.executable, "-c", SCRIPT, str(tmp_path / name), str(models), repr(RECIPE)]

    start = time.monotonic()
    subprocess.run(command("calm"), check=True)
    length = time.monotonic() - start
    for share in (0.65,):
        process = subprocess.Popen(command("rough"))
        time.sleep(share * length)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command("rough"), check=True)
    calm, rough = (tmp_path / name / "dataset.json" for name in ("calm", "rough"))
    assert rough.read_bytes() == calm.read_bytes()
    assert not list((tmp_path / "rough/store/.work").glob("*/*")), "nothing half-done is left"
