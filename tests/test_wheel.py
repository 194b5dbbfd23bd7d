"""The wheel holds the whole package with its data, and works where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import emres
from tests.notebooks import execute

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE")
DATA = (
    "emres/model/weights/emres-small/weights.safetensors",
    "emres/model/weights/emres-small/contract.json",
    "emres/model/weights/emres-small/card.md",
    "emres/py.typed",
)
MAP = "archive/embedded/structures/EMD-3197/map/emd_3197.map.gz"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing left over in the checkout comes in."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "emres", folder / "source/emres", ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCES:
        shutil.copy(ROOT / name, folder / "source")
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), folder / "source")
    [built] = folder.glob("emres-*.whl")
    return built


def pip(python: Path | str, *words: str | Path) -> None:
    call(python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def call(*words: str | Path, folder: Path | None = None) -> str:
    """Run a program away from the checkout; return what it prints."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("EMRES_", "PYTHON"))}
    ended = subprocess.run(
        [str(word) for word in words], cwd=folder or "/", env={**own, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def assert_it_predicts(bin_folder: Path, folder: Path) -> None:
    """Do what a user does first."""
    place = call(bin_folder / "python", "-c", "import emres; print(emres.__file__)", folder=folder).strip()
    package = Path(place).parent
    assert ROOT not in package.parents
    assert "batch-predict" in call(bin_folder / "emres", "--help", folder=folder)
    assert emres.__version__ in call(bin_folder / "emres", "--version", folder=folder)
    assert "emres-small" in call(bin_folder / "emres", "models", "list", folder=folder)
    call(bin_folder / "emres", "predict", package / MAP, "-o", "answer.mrc", folder=folder)
    assert float(emres.read_mrc(folder / "answer.mrc").max()) > 2.0


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    here = {path for path in (ROOT / "emres").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as file:
        inside = {name for name in file.namelist() if ".dist-info/" not in name}
        assert any(name.endswith("licenses/LICENSE") for name in file.namelist())
    assert inside == {str(path.relative_to(ROOT)) for path in here}
    assert {*DATA, f"emres/{MAP}"} <= inside
    assert wheel.stat().st_size < 10e6


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    # What emres depends on is borrowed from this environment by its path, which brings no editable emres along.
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    [packages] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    bin_folder = tmp_path / "venv/bin"
    pip(sys.executable, "--python", bin_folder / "python", "install", "--no-deps", "--no-index", wheel)
    assert_it_predicts(bin_folder, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_fresh_environment_gets_it_from_the_quickstarts_first_cell(wheel: Path, tmp_path: Path) -> None:
    """As in Google Colab: a Python with Jupyter and without emres, its wheel beside the notebook."""
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    bin_folder, work = tmp_path / "venv/bin", tmp_path / "work"
    constraints = ROOT / "constraints.txt"
    try:
        pip(bin_folder / "python", "install", "--constraint", constraints, "ipykernel")
    except AssertionError as error:
        pytest.skip(f"nothing can be installed here: {str(error)[-200:]}")
    work.mkdir()
    shutil.copy(wheel, work)
    execute(ROOT / "notebooks/quickstart.ipynb", work, bin_folder / "python", PIP_CONSTRAINT=str(constraints))
    assert (work / "EMD-6824.html").is_file()
    assert_it_predicts(bin_folder, tmp_path)
