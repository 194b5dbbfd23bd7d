from __future__ import annotations

import json
import os
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import trimesh
import xarray as xr
from matplotlib.image import imread

from emres.archive.mrc import read_mrc
from emres.archive.mrc_write import write_mrc
from emres.archive.store import EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.errors import EmresError, MapError, StoreError, UsageError
from emres.run.export_shown import export_shown
from emres.run.ingest import import_map
from emres.run.shown import Shown, shown_entry, shown_files
from emres.view.sampling import in_memory
from emres.volume.grid import make_volume
from emres.volume.masking import fill_outside
from tests.run.conftest import GRID, toy_density
from tests.view.chimerax_grammar import CHIMERA, CHIMERAX, check, commands

KIND = "local_resolution/ball@1"
FACTS = {"program": "emres", "date": "2026-01-01", "model": "ball@1", "weights_sha256": "0" * 64, "mask": "none"}
FOLDER = {"toy_map.mrc", "toy_local_resolution.mrc", "toy_local_resolution_filled.mrc", "toy.cxc", "toy.cmd"}


def resolution_values() -> np.ndarray:
    """3 to 7 Å along z where the toy's density is, 0 elsewhere."""
    return np.where(toy_density() > 0.5, np.linspace(3, 7, GRID.shape[0])[:, None, None], 0).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> EntryGroup:
    """An entry with a local resolution."""
    folder = tmp_path_factory.mktemp("shown")
    source = write_mrc(folder / "toy.mrc", make_volume(toy_density(), GRID))
    group = import_map(source, Store(folder / "store"), "toy")
    with VolumeWriter(group, KIND, GRID) as writer:
        writer.add(0, resolution_values())
        writer.commit(FACTS)
    return group


@pytest.fixture(scope="module")
def shown(made: EntryGroup) -> Shown:
    return shown_entry(made)


def test_a_picture_shows_surface_and_slices(shown: Shown, tmp_path: Path) -> None:
    written = export_shown(shown, tmp_path, "png")
    assert written.path == tmp_path / "toy_local_resolution.png"
    assert written.whose == "automatic"
    colours = np.ptp(imread(written.path)[..., :3], axis=-1) > 0.3
    assert colours[: len(colours) // 2].mean() > 0.03


def test_a_glb_holds_the_surface_at_the_maps_coordinates(shown: Shown, tmp_path: Path) -> None:
    written = export_shown(shown, tmp_path / "a.glb", "glb", level=1.0)
    [mesh] = trimesh.load(written.path).geometry.values()
    z, y, x = np.nonzero(toy_density() > 1.0)
    spacing, origin = np.array(GRID.voxel_size), np.array(GRID.origin)
    inside = np.stack([z, y, x], -1) * spacing + origin
    np.testing.assert_allclose(mesh.bounds[:, ::-1], [inside.min(0), inside.max(0)], atol=1.05 * spacing.max())
    assert (written.level, written.whose) == (1.0, "yours")


def test_the_json_is_the_archives_histogram(shown: Shown, tmp_path: Path) -> None:
    found = json.loads(export_shown(shown, tmp_path, "json").path.read_text())
    values = resolution_values()
    counts, edges = np.histogram(values[values > 0], 50)
    assert set(found) == {"values", "counts", "minmax"}
    assert found["counts"] == counts.tolist()
    np.testing.assert_allclose(found["values"], edges, rtol=1e-6)


def test_the_chimerax_folder_opens_by_relative_names(shown: Shown, tmp_path: Path) -> None:
    written = export_shown(shown, tmp_path, "chimerax")
    assert written.path == tmp_path / "toy_chimerax"
    assert {file.name for file in written.path.iterdir()} == FOLDER
    for name, grammar in (("toy.cxc", CHIMERAX), ("toy.cmd", CHIMERA)):
        lines = commands((written.path / name).read_text(encoding="utf-8"))
        for line in lines:
            check(line, grammar)
        opened = {word for line in lines if line.startswith("open") for word in line.split() if word.endswith(".mrc")}
        assert opened == {"toy_map.mrc", "toy_local_resolution_filled.mrc"}
        assert f"level {written.level:.6g}" in "\n".join(lines)
    maps = {name: read_mrc(written.path / name).values for name in FOLDER if name.endswith(".mrc")}
    assert np.array_equal(maps["toy_map.mrc"], toy_density())
    assert np.array_equal(maps["toy_local_resolution.mrc"], resolution_values())
    assert np.array_equal(maps["toy_local_resolution_filled.mrc"], fill_outside(resolution_values(), 5))
    with mrcfile.open(written.path / "toy_local_resolution_filled.mrc") as file:
        assert any(b"filled 5 voxels" in label for label in file.header.label)


def test_the_palette_is_the_readers_choice(shown: Shown, tmp_path: Path) -> None:
    first, second = (
        (export_shown(shown, tmp_path / name, "chimerax", palette=name).path / "toy.cxc").read_text()
        for name in ("rainbow", "cividis")
    )
    assert first != second
    with pytest.raises(UsageError, match="palette"):
        export_shown(shown, tmp_path / "x.glb", "glb", palette="nope")
    assert not (tmp_path / "x.glb").exists()


def test_the_authors_level_is_taken_where_the_map_crosses_it(shown: Shown) -> None:
    def with_level(level: float) -> Shown:
        return Shown(shown.name, shown.volume, shown.resolution, shown.small, "", authors_level=level)

    assert with_level(1.5).level() == (1.5, "author's")
    assert with_level(1e6).level()[1] == "automatic"
    assert with_level(1.5).level(0.7) == (0.7, "yours")
    assert 0.2 < shown.level()[0] < 2.5


def test_a_level_found_on_averaged_voxels_encloses_as_much_of_the_finer_ones(shown: Shown) -> None:
    small = (in_memory(shown.volume, GRID.voxels // 8), in_memory(shown.resolution, GRID.voxels // 8))
    averaged = Shown("toy", shown.volume, shown.resolution, small, "")
    level = averaged.level()[0]
    full = averaged.full_level(level)
    share = float((small[0].values > level).mean())
    assert float((toy_density() > full).mean()) == pytest.approx(share, rel=0.03)
    assert shown.full_level(0.123) == 0.123


def test_two_files_are_shown_voxel_by_voxel(tmp_path: Path, shown: Shown) -> None:
    """The local resolution says another voxel size and no origin, as MonoRes' do, and its map's name is odd."""
    map_file = write_mrc(tmp_path / 'my "map" 1.mrc', make_volume(toy_density(), GRID))
    with mrcfile.new(tmp_path / "monores.mrc") as file:
        file.set_data(resolution_values())
    pair = shown_files(map_file, tmp_path / "monores.mrc")
    assert pair.name == "my_map_1"
    path = export_shown(pair, tmp_path / "folder", "chimerax").path
    xr.testing.assert_allclose(
        read_mrc(path / "my_map_1_map.mrc").coords.to_dataset(),
        read_mrc(path / "my_map_1_local_resolution_filled.mrc").coords.to_dataset(),
    )
    assert np.array_equal(read_mrc(path / "my_map_1_local_resolution.mrc").values, resolution_values())
    found = trimesh.load(export_shown(pair, tmp_path / "a.glb", "glb").path).bounds
    np.testing.assert_allclose(found, trimesh.load(export_shown(shown, tmp_path / "b.glb", "glb").path).bounds)
    small = write_mrc(tmp_path / "small.mrc", make_volume(toy_density(), GRID).isel(z=slice(0, 9)))
    with pytest.raises(MapError, match="another grid"):
        shown_files(map_file, small)


@pytest.mark.parametrize("form", ["png", "glb", "json"])
def test_nothing_is_replaced_unless_told_and_nothing_half_written_stays(
    shown: Shown, tmp_path: Path, form: str
) -> None:
    target = tmp_path / f"a.{form}"
    target.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        export_shown(shown, target, form)
    with pytest.raises(EmresError):
        export_shown(shown, target, form, level=1e9, overwrite=True) if form != "json" else export_shown(
            Shown("toy", shown.volume, shown.resolution * 0, shown.small, ""), target, form, overwrite=True
        )
    assert target.read_bytes() == b"precious"
    export_shown(shown, target, form, overwrite=True)
    assert target.stat().st_size > 100
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


def test_a_folder_is_replaced_only_if_it_holds_nothing_but_an_export(shown: Shown, tmp_path: Path) -> None:
    folder = tmp_path / "toy_chimerax"
    export_shown(shown, tmp_path, "chimerax")
    with pytest.raises(UsageError, match="exists"):
        export_shown(shown, tmp_path, "chimerax")
    export_shown(shown, tmp_path, "chimerax", overwrite=True, level=1.25)
    assert "level 1.25" in (folder / "toy.cxc").read_text()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="other things"):
        export_shown(shown, tmp_path, "chimerax", overwrite=True)
    assert (folder / "notes.txt").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy_chimerax"]


def test_a_folder_that_cannot_be_finished_is_not_there(shown: Shown, tmp_path: Path) -> None:
    broken = Shown("toy", shown.volume, shown.resolution + np.inf, shown.small, "")
    with pytest.raises(MapError, match="not finite"):
        export_shown(broken, tmp_path, "chimerax")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("form", ["png", "glb", "json", "chimerax"])
def test_a_folder_without_permission_is_told_in_a_sentence(shown: Shown, tmp_path: Path, form: str) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="permission"):
        export_shown(shown, tmp_path, form)


def test_only_a_local_resolution_is_shown(made: EntryGroup, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only a local resolution"):
        shown_entry(made, "map")
    with pytest.raises(StoreError, match="no local_resolution"):
        shown_entry(made, "local_resolution/other@1")
    with pytest.raises(UsageError, match="no such format"):
        export_shown(shown_entry(made), tmp_path, "obj")
