"""The pages of docs/ tell the truth: what is typed in them runs, from the first line of a page to the last.

Blocks of ``sh`` and ``python`` run in page order, in one folder a page that holds the files it names, made at toy size.
A block that begins with ``# needs a network`` (or a cluster, ...) is only parsed: its commands and options exist.
``reports.md``, ``estimators.md`` and ``models.md`` have tests of their own, which look at what comes out, too.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

import emres
from emres.archive.mrc_write import write_mrc
from emres.cli.app import app, run
from emres.run.cluster_spec import parse_cluster
from emres.volume.grid import make_volume
from tests.mirror import build_mirror
from tests.run.atomic_models import write_model, write_models
from tests.run.conftest import toy_density
from tests.run.halves import TOY, write_halves
from tests.run.toy_dataset import add_entry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: The pages that run here.
RUN = [
    "start",
    "howto/fetch",
    "howto/predict",
    "howto/cluster",
    "howto/half-maps",
    "howto/training",
    "predecessor",
    "store",
]
#: Pages that need other machines.
PARSED = ["clusters.md"]
TOY_TRAINING = (
    "--steps=2 --batch=2 --threads=0 --set parts=1 --set side=16 --set margin=1 --set epoch_steps=2 "
    "--set validation_patches=2"
)
#: What makes a command small, by its beginning; the first that fits.
SMALL = {
    "emres dataset build --to set --simulate": "--to built --recipe toy.json",
    "emres train --dataset cubes": f"{TOY_TRAINING} --set side=16 --set margin=0 --set arguments.filters=2",
    "emres train": f"{TOY_TRAINING} --set voxel_size=1.5 --set arguments.channels=4 --set arguments.deep_channels=4 "
    "--set arguments.deep_layers=1",
    "emres evaluate": "--few 0",
}


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str

    @property
    def runs_here(self) -> bool:
        return not self.text.startswith("# needs ")

    @property
    def lines(self) -> list[str]:
        lines = (line.split("  #")[0].strip() for line in self.text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in re.findall(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)]


def commands(page: str, *, here: bool) -> list[str]:
    found = (block for block in blocks(DOCS / page) if block.language == "sh" and block.runs_here is here)
    return [line for block in found for line in block.lines if line.startswith("emres ")]


def reference() -> ModuleType:
    """Return docs/reference.py, the hook that makes pages."""
    spec = spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


# The folder that a page is tried in


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small maps under the names that the pages use, and a mirror of EMDB with two of the entries they fetch."""
    folder = tmp_path_factory.mktemp("maps")
    files = write_halves(folder)
    for kind, name in (("map", "my_map"), ("half_map_1", "half1"), ("half_map_2", "half2")):
        files[kind] = files[kind].rename(folder / f"{name}.mrc")
    write_mrc(folder / "mask.mrc", make_volume((toy_density(TOY) > 0.3).astype(np.float32), TOY))
    build_mirror(folder / "mirror", {"EMD-13939": files["map"], "EMD-11638": files})
    (folder / "ids.txt").write_text("EMD-13939\nEMD-11638\n")
    return folder


@pytest.fixture
def folder(tmp_path: Path, maps: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(maps, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMRES_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("EMRES_MODELS", str(tmp_path / "own"))
    monkeypatch.delenv("DISPLAY", raising=False)
    # Pictures of a training take longer than everything else together, and have tests of their own.
    monkeypatch.setattr("emres.run.train_files.TrainFiles.draw", lambda *_: None)
    monkeypatch.setattr("emres.run.evaluate_report._pictures", lambda *_: {})
    return tmp_path


def for_training(folder: Path) -> None:
    from emres.archive.manifest import DataSet, write_dataset
    from emres.archive.store import Store

    store = Store(folder / "set/store")
    sides = {"a": "test", "t": "train", "u": "train", "v": "validation"}
    rows = [add_entry(store, name, grid=TOY, resolution=5.0, split=split) for name, split in sides.items()]
    write_dataset(DataSet(folder / "set", tuple(rows), {"seed": 0}))
    write_models(folder / "models", "1abc.pdb")
    (folder / "toy.json").write_text('{"like": "low-resolution", "framing": {"padding": 14.0}}')


def for_the_predecessor(folder: Path) -> None:
    import h5py

    write_model(folder / "3l08.pdb", atoms=900, radius=18)
    rng = np.random.default_rng(1)
    for name in ("train", "validation"):
        with h5py.File(folder / f"{name}.hdf5", "w") as file:
            file["map"] = rng.random((24, 16, 16, 16), dtype=np.float32)
            file["target"] = rng.choice([3.0, 4.0, 100.0], size=(24, 16, 16, 16)).astype(np.float32)


def a_store(folder: Path) -> None:
    emres.batch_predict("EMD-6824", folder / "store", mirror=emres.embedded_mirror())


PREPARED: dict[str, Callable[[Path], None]] = {
    "howto/training": for_training,
    "predecessor": for_the_predecessor,
    "store": a_store,
}


@pytest.mark.parametrize("page", RUN)
def test_what_is_typed_runs_from_the_first_line_to_the_last(page: str, folder: Path) -> None:
    PREPARED.get(page, lambda _: None)(folder)
    scope: dict[str, object] = {}
    for block in blocks(DOCS / f"{page}.md"):
        if block.language == "python":
            exec(compile(block.text, f"{page}.md", "exec"), scope)
        elif block.language == "sh" and block.runs_here:
            for line in block.lines:
                assert line.startswith("emres "), line
                toy = next((words for beginning, words in SMALL.items() if line.startswith(beginning)), "")
                assert run(shlex.split(f"{line} {toy}")[1:]) == 0, line


def pages() -> Iterator[str]:
    return (str(path.relative_to(DOCS)) for path in sorted(DOCS.rglob("*.md")))


@pytest.mark.parametrize("page", [page for page in pages() if commands(page, here=False) or page in PARSED])
def test_what_needs_a_network_or_a_cluster_is_typed_rightly(page: str) -> None:
    for line in commands(page, here=False) + (commands(page, here=True) if page in PARSED else []):
        command, words = app, shlex.split(line)[1:]
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        command.make_context(command.name, words)


def test_the_files_of_options_for_clusters_can_be_read(tmp_path: Path) -> None:
    found = [block.text for block in blocks(DOCS / "clusters.md") if block.language == "toml"]
    for text in found:
        (tmp_path / "cluster.toml").write_text(text, encoding="utf-8")
        assert parse_cluster(str(tmp_path / "cluster.toml")).kind in ("slurm", "ssh", "gpu", "local")
    assert found


def test_every_page_with_something_to_type_is_run_by_some_test() -> None:
    others = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*_page.py")]
    for page in pages():
        if any(block.language in ("sh", "python") for block in blocks(DOCS / page)):
            assert page.removesuffix(".md") in RUN or page in PARSED or any(page in text for text in others), page


def test_a_reader_of_the_predecessors_readme_finds_each_of_its_steps() -> None:
    page = (DOCS / "predecessor.md").read_text(encoding="utf-8")
    steps = ["requirements.txt", "Colab", "3l08.pdb", "13939_map.mrc", "example_train_data.hdf5", "0.7 : 0.15 : 0.15"]
    scripts = ["generate_maps.py", "run_resmap.py", "process_data.py", "train_model.py", "training_config.py"]
    options = ["train_data", "valid_data", "n_epoches", "out_weights_dir", "out_weights_filename", "models_path"]
    options += ["model_name", "electron_density_map", "output_file_name", "device"]
    for word in [*steps, *scripts, "run_model.py", "-v {0,1,2}", *(f"--{option}" for option in options)]:
        assert word in page, word


def test_every_command_and_option_that_a_table_or_sentence_names_exists() -> None:
    there = " ".join(text for _, text in reference().commands())
    for page in pages():
        text = (DOCS / page).read_text(encoding="utf-8")
        for quoted in re.findall(r"`(emres [^`\n]*)`", text):
            names = [word for word in quoted.split()[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
            assert not names or names[0] in app.commands, f"{page}: {quoted}"
            for option in re.findall(r"--[a-z0-9-]+", quoted):
                assert option in there or option == "--help", f"{page}: {quoted}"


# The store's format


def test_the_formats_page_tells_every_attribute_of_a_store(folder: Path) -> None:
    import zarr

    page = (DOCS / "store.md").read_text(encoding="utf-8")
    a_store(folder)
    assert run(["import", "my_map.mrc", "--name", "mine", "--to", "store"]) == 0
    for kind in ("half_map_1", "half_map_2"):
        assert run(["import", f"half{kind[-1]}.mrc", "--name", "mine", "--kind", kind, "--to", "store"]) == 0
    assert run(["estimate", "store/mine.zarr", "--method", "fsc"]) == 0
    seen = set()
    for name in ("EMD-6824", "mine"):
        entry = zarr.open_group(f"store/{name}.zarr", mode="r", zarr_format=3)
        assert set(entry.attrs["emres"]) == {"format_version", "entry"}
        for path, group in entry.groups():
            kinds = {path: group} if "ome" in group.attrs else {f"{path}/{name}": g for name, g in group.groups()}
            for kind, found in kinds.items():
                seen.add(kind.partition("/")[0])
                told = found.attrs["emres"]
                assert told["kind"] == kind
                missing = {key for key in told if f"`{key}`" not in page}
                assert not missing, f"{kind}: {missing}"
                check_levels(found, told["levels"])
    assert {"map", "half_map_1", "half_map_2", "local_resolution"} <= seen


def check_levels(kind, levels: list[dict]) -> None:
    """Look at the arrays of a kind as a program would that knows only the page."""
    for number, level in enumerate(levels):
        group = kind[f"scale{number}"]
        (name,) = set(group.array_keys()) - {"z", "y", "x"}
        array = group[name]
        assert array.dtype == np.float32
        assert array.chunks == (64, 64, 64)
        assert array.shape == tuple(level["shape"])
        assert array.metadata.dimension_names == ("z", "y", "x")
        for dim, first, step in zip("zyx", level["origin"], level["voxel_size"], strict=True):
            centres = group[dim][:]
            assert group[dim].attrs["units"] == "angstrom"
            np.testing.assert_allclose(centres, first + step * np.arange(centres.size), atol=1e-6)
    assert not set(kind.group_keys()) - {f"scale{number}" for number in range(len(levels))}


# The site


def test_the_site_is_built_without_a_warning_and_every_link_inside_it_leads_somewhere(tmp_path: Path) -> None:
    for needed in ("mkdocs", "material", "mkdocstrings"):
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install 'emres[docs]'")
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    api = (tmp_path / "site/api.html").read_text(encoding="utf-8")
    assert all(f"emres.{name}" in api for name in emres.__all__ if name != "__version__")
    assert "--half-maps" in (tmp_path / "site/cli.html").read_text(encoding="utf-8")


def test_every_link_between_pages_and_to_pictures_leads_somewhere() -> None:
    made = set(reference().pages())
    for page in pages():
        text = re.sub(r"```.*?```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            path = (DOCS / page).parent / target
            assert "://" in target or path.exists() or os.path.relpath(path, DOCS) in made, f"{page}: {target}"


# What is made from the code


def test_the_page_of_commands_has_every_command_and_option() -> None:
    text = reference().commands_page()
    for name, command in app.commands.items():
        assert f"## emres {name}\n" in text
        for option in (option for parameter in command.params for option in parameter.opts):
            assert not option.startswith("--") or option in text


def test_the_page_of_python_has_every_public_name_once() -> None:
    text = reference().python_page()
    headings = re.findall(r"heading: emres\.(\w+)", text)
    assert sorted(headings) == sorted(set(emres.__all__) - {"__version__"})


# Citation, licence, environments


def test_the_citation_is_of_this_version_and_licence() -> None:
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == emres.__version__
    assert (ROOT / "LICENSE").read_text().startswith(f"{citation['license']} License")


@pytest.mark.parametrize("name", ["environment.yml", "environment-gpu.yml"])
def test_an_environment_has_every_dependency_with_the_same_bound(name: str) -> None:
    import tomllib

    other = {"torch": "pytorch-gpu" if "gpu" in name else "pytorch-cpu", "matplotlib": "matplotlib-base",
             "isal": "python-isal", "dask": "dask-core"}  # fmt: skip
    text = (ROOT / name).read_text(encoding="utf-8")
    there = dict(re.findall(r"^  - ([\w-]+) *(>=\S+)$", text, flags=re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for needed in project["dependencies"]:
        package, bound = re.fullmatch(r"([\w-]+)(?:\[\w+\])?(\S+)", needed).groups()
        assert there.pop(other.get(package, package)) == bound, package
    assert there == {"python": project["requires-python"]}
