"""Models become maps: the same bytes from the same command, each whole, and one that fails never stops the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc import read_mrc
from emres.archive.store import EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.errors import StoreError, UsageError
from emres.run.cluster import connect
from emres.run.simulate import place_of, run_simulations, simulate_maps
from emres.run.simulated import FilePlace, StorePlace
from emres.run.simulation import SimulationPlan, model_name, models_in, simulations
from emres.volume.grid import grid_of
from tests.run.atomic_models import write_model

KINDS = ["map", "half_map_1", "half_map_2", "mask"]
HALVES = SimulationPlan(half_maps=True, voxel_size=2.0, resolution=6.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "1abc.pdb")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def simulated(model: Path, store: Path, **options: object) -> EntryGroup:
    (outcome,) = simulate_maps(model, to=store, **{"half_maps": True, "voxel_size": 2.0, "resolution": 6.0, **options})
    assert outcome.status == "done", outcome.reason
    return Store(store).entry(outcome.name)


def test_an_entry_holds_half_maps_their_average_the_mask_and_how_it_was_made(model: Path, tmp_path: Path) -> None:
    group = simulated(model, tmp_path / "store")
    assert group.name == "1abc-1"
    assert set(group.kinds()) == set(KINDS)
    entry = group.attributes()["entry"]
    assert entry["resolution"] == entry["recipe"]["resolution"] == 6.0
    assert entry["recipe"]["seed"] == entry["seed"] == HALVES.seed_of("1abc", 1)
    mask = np.asarray(group.array("mask")[...])
    assert set(np.unique(mask)) == {0.0, 1.0}


def test_the_same_command_makes_the_same_bytes_and_another_seed_others(model: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulated(model, tmp_path / name)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    other = simulated(model, tmp_path / "a", seed=2)
    ours = simulated(write_model(tmp_path / "2xyz.pdb"), tmp_path / "a")
    halves = [
        np.asarray(g.array("half_map_1")[:8, :8, :8]) for g in (Store(tmp_path / "b").entry("1abc-1"), other, ours)
    ]
    assert not any(np.allclose(halves[0], half) for half in halves[1:])


def test_the_recorded_recipe_makes_the_same_half_maps(model: Path, tmp_path: Path) -> None:
    group = simulated(model, tmp_path / "store")
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(group.attributes()["entry"]["recipe"]))
    again = simulated(model, tmp_path / "again", recipe=recipe, voxel_size=None, resolution=None)
    for kind in KINDS:
        np.testing.assert_array_equal(group.array(kind)[...], again.array(kind)[...])


def test_what_is_there_is_not_made_again_unless_the_model_or_the_plan_changed(model: Path, tmp_path: Path) -> None:
    store = StorePlace(Store(tmp_path / "store"))

    def status(plan: SimulationPlan) -> str:
        (outcome,) = run_simulations(simulations([model], plan), store)
        return outcome.status

    assert [status(HALVES), status(HALVES)] == ["done", "skipped"]
    assert status(replace(HALVES, resolution=7.0)) == "done"
    write_model(model, seed=9)
    assert [status(HALVES), status(HALVES)] == ["done", "skipped"]


def test_versions_differ_and_are_numbered(model: Path) -> None:
    todo = simulations([model], replace(HALVES, count=3, seed=5))
    assert [one.name for one in todo] == ["1abc-5", "1abc-6", "1abc-7"]
    assert len({one.seed for one in todo}) == 3


def test_a_plain_map_lies_on_its_model(model: Path, tmp_path: Path) -> None:
    (outcome,) = simulate_maps(model, output=tmp_path / "out/plain", voxel_size=1.5, resolution=5.0)
    volume = read_mrc(tmp_path / "out/plain_map.mrc")
    assert outcome.facts["output"] == [str(tmp_path / "out/plain_map.mrc")]
    weights = volume.values / volume.values.sum()
    centre = [float((values * weights.sum(axis=tuple({0, 1, 2} - {k}))).sum()) for k, values in
              enumerate(grid_of(volume).coordinates().values())]  # fmt: skip
    rows = [line for line in model.read_text().splitlines() if line.startswith("ATOM")]
    atoms = np.array([[float(row[a : a + 8]) for a in (46, 38, 30)] for row in rows])
    np.testing.assert_allclose(centre, atoms.mean(axis=0), atol=0.05)


def test_files_are_told_apart_by_name_and_kept(model: Path, tmp_path: Path) -> None:
    models, prefix = [model, write_model(tmp_path / "2xyz.pdb", seed=2)], tmp_path / "out/p"
    how = {"half_maps": True, "voxel_size": 2.0, "resolution": 6.0}
    assert [o.status for o in simulate_maps(models, output=prefix, **how)] == ["done", "done"]
    before = files_of(tmp_path / "out")
    assert set(before) == {f"p_{name}_{kind}.mrc" for name in ("1abc-1", "2xyz-1") for kind in KINDS} | {
        f"p_{name}_simulation.json" for name in ("1abc-1", "2xyz-1")
    }
    assert [o.status for o in simulate_maps(models, output=prefix, **how)] == ["skipped", "skipped"]
    assert files_of(tmp_path / "out") == before
    outcomes = simulate_maps(models, output=prefix, **{**how, "resolution": 7.0})
    assert all(o.status == "failed" and "exists already" in o.reason for o in outcomes)
    assert files_of(tmp_path / "out") == before
    outcomes = simulate_maps(models, output=prefix, overwrite=True, **{**how, "resolution": 7.0})
    assert all(o.status == "done" for o in outcomes)


def test_a_write_that_fails_leaves_no_entry(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = VolumeWriter.commit

    def failing(self: VolumeWriter, attributes: dict[str, object]) -> None:
        if self._kind == "mask":
            raise StoreError("the disk is full")
        real(self, attributes)

    monkeypatch.setattr(VolumeWriter, "commit", failing)
    (outcome,) = simulate_maps(model, to=tmp_path / "store", half_maps=True, voxel_size=2.0, resolution=6.0)
    assert (outcome.status, outcome.reason) == ("failed", "the disk is full")
    assert files_of(tmp_path / "store") == {}


def test_a_run_that_ends_between_two_files_goes_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, how = os.replace, {"half_maps": True, "voxel_size": 2.0, "resolution": 6.0}

    def failing(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "out/p_half_map_2.mrc":
            raise OSError("the power is gone")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("emres.run.simulated.os.replace", failing)
        (outcome,) = simulate_maps(model, output=tmp_path / "out/p", **how)
    assert outcome.status == "failed"
    assert (tmp_path / "out/p_map.mrc").is_file()
    (outcome,) = simulate_maps(model, output=tmp_path / "out/p", **how)
    assert outcome.status == "done"
    assert set(files_of(tmp_path / "out")) == {*(f"p_{kind}.mrc" for kind in KINDS), "p_simulation.json"}


def test_an_entry_that_was_not_simulated_is_not_replaced(model: Path, tmp_path: Path) -> None:
    Store(tmp_path / "store").create("1abc-1", {"title": "mine"})
    (outcome,) = simulate_maps(model, to=tmp_path / "store", half_maps=True, voxel_size=2.0, resolution=6.0)
    assert "was not simulated" in outcome.reason
    assert Store(tmp_path / "store").entry("1abc-1").attributes()["entry"] == {"title": "mine"}


HYDROGENS = "ATOM      1  H   ALA A   1       0.000   0.000   0.000  1.00 20.00           H\nEND\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "atoms|model"),
        (b"not a model", "atoms|model"),
        (HYDROGENS.encode(), "holds no atoms but hydrogens"),
        (b"\x1f\x8b\x08garbage", "atoms|model"),
    ],
)
def test_a_bad_model_fails_alone(model: Path, tmp_path: Path, content: bytes, told: str) -> None:
    bad = tmp_path / "0bad.pdb"
    bad.write_bytes(content)
    outcomes = simulate_maps([bad, tmp_path / "gone.pdb", model], to=tmp_path / "store", voxel_size=2.0, resolution=6.0)
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "done"]
    assert any(word in outcomes[0].reason for word in told.split("|"))
    assert "\n" not in outcomes[0].reason
    assert [group.name for group in Store(tmp_path / "store")] == ["1abc"]


def test_alternative_locations_count_by_their_share(tmp_path: Path) -> None:
    one, two = (write_model(tmp_path / f"{n}.pdb", alternatives=n == 2) for n in (1, 2))
    sums = []
    for path in (one, two):
        simulate_maps(path, output=tmp_path / path.stem, voxel_size=1.5, resolution=5.0)
        sums.append(float(read_mrc(tmp_path / f"{path.stem}_map.mrc").values.sum()))
    assert sums[1] == pytest.approx(sums[0], rel=0.02)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"voxel_size": 2.0, "resolution": 3.0}, "too coarse for"),
        ({"voxel_size": 2.0, "resolution": 6.0, "box_size": 8}, "box is too small"),
        ({"voxel_size": 0.001, "resolution": 6.0}, "does not fit in memory"),
    ],
)
@pytest.mark.parametrize("half_maps", [False, True])
def test_what_does_not_go_together_is_told(model: Path, tmp_path: Path, options, told: str, half_maps: bool) -> None:
    if half_maps and "memory" in told:
        options = {**options, "voxel_size": 0.1, "box_size": 40_000}
    (outcome,) = simulate_maps(model, to=tmp_path / "store", half_maps=half_maps, **options)
    assert outcome.status == "failed"
    assert told in outcome.reason
    assert files_of(tmp_path / "store") == {}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"to": "s", "output": "o"}, "got both"),
        ({}, "got neither"),
        ({"to": "s", "half_maps": False, "voxel_size": None}, "one voxel size and one resolution"),
        ({"to": "s", "half_maps": False, "count": 2}, "no recipe and no versions"),
        ({"to": "s", "recipe": "beautiful"}, "no such recipe"),
        ({"to": "s", "recipe": {"colour": 1}}, "no colour"),
        ({"to": "s", "recipe": {"seed": 4}, "count": 2}, "one version"),
        ({"to": "s", "count": 0}, "out of range"),
        ({"to": "s", "voxel_size": float("nan")}, "voxel size"),
    ],
)
def test_a_call_that_is_wrong_is_refused_before_anything_is_made(tmp_path, monkeypatch, options, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told):
        simulate_maps("1abc.pdb", **{"half_maps": True, "voxel_size": 2.0, "resolution": 6.0, **options})
    assert not list(tmp_path.iterdir())


def test_names_of_models(tmp_path: Path) -> None:
    assert model_name(Path("1aq5.ent.gz.cif.gz")) == "1aq5"
    with pytest.raises(UsageError, match="two models would be called 1abc"):
        simulations([Path("a/1abc.pdb"), Path("b/1abc.cif.gz")], HALVES)
    with pytest.raises(UsageError, match="has no name"):
        model_name(Path(".pdb"))
    with pytest.raises(UsageError, match="holds no atomic models"):
        models_in(tmp_path)


def test_a_cluster_makes_the_same_bytes_and_tells_of_what_failed(model: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pdb"
    bad.write_text("nothing")
    todo = simulations([model, bad, write_model(tmp_path / "2xyz.pdb", seed=2)], HALVES)
    with connect("local:1") as client:
        found = {o.name: o.status for o in run_simulations(todo, place_of(tmp_path / "far", None, 3), client)}
    assert found == {"1abc-1": "done", "bad-1": "failed", "2xyz-1": "done"}
    list(run_simulations(todo, place_of(tmp_path / "near", None, 3)))
    assert files_of(tmp_path / "far") == files_of(tmp_path / "near")


SCRIPT = """
import sys
from emres.run.simulate import simulate_maps
to = {"to": sys.argv[1]} if sys.argv[2] == "store" else {"output": sys.argv[1] + "/p"}
for outcome in simulate_maps(sys.argv[3:], half_maps=True, voxel_size=1.2, resolution=4.0, count=2, **to):
    assert outcome.status != "failed", outcome.reason
"""


@pytest.mark.parametrize("place", ["store", "files"])
def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_bytes(model: Path, tmp_path: Path, place: str) -> None:
    def command(folder: str) -> list[str]:
        return [sys.executable, "-c", SCRIPT, str(tmp_path / folder), place, str(model)]

    start = time.monotonic()
    subprocess.run(command("calm"), check=True)
    length = time.monotonic() - start
    for share in (0.6, 0.8):
        process = subprocess.Popen(command("rough"))
        time.sleep(share * length)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for group in Store(tmp_path / "rough"):  # what can be seen is whole
            assert set(group.kinds()) == set(KINDS)
    subprocess.run(command("rough"), check=True)
    assert files_of(tmp_path / "rough") == files_of(tmp_path / "calm")


def test_a_place_is_the_same_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert FilePlace(Path("out/p")).absolute().prefix == tmp_path / "out/p"
    assert StorePlace(Store(Path("s"))).absolute().store.path == tmp_path / "s"
