"""Model names and folders."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import pytest

from emres.archive.registry import DEFAULT_MODEL, embedded_models, find_model, known_models
from emres.errors import ModelError, UsageError
from emres.model.bundle import open_bundle
from tests.other_packages import install

PATH = "from pathlib import Path\nNET = Path(__file__).parent / 'bundle'\ndef net():\n    return str(NET)\n"

BROKEN = """
number, relative, empty = 3, "../bundle", "/"
def explode():
    1 / 0
def leave():
    raise SystemExit(3)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMRES_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where packages are installed; there is a bundle for them to bring."""
    shutil.copytree(find_model(), tmp_path / "site/bundle")
    return tmp_path / "site"


def test_every_embedded_model_opens() -> None:
    assert DEFAULT_MODEL in embedded_models()
    for name in embedded_models():
        assert open_bundle(find_model(name)).contract.name == name


def test_shipped_weights_are_small_and_have_a_card() -> None:
    for name in embedded_models():
        folder = find_model(name)
        assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000
        assert len((folder / "card.md").read_text(encoding="utf-8")) > 50


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_model(tmp_path) == tmp_path
    assert find_model(str(tmp_path)) == tmp_path


def test_an_unknown_name_lists_the_known(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"unknown model: got emres-huge, expected emres-small"):
        find_model("emres-huge")
    install(site, monkeypatch, "their-nets", "[emres.models]\nfine = their_nets:NET", PATH)
    with pytest.raises(UsageError, match=r"emres-small or .*fine"):
        find_model("emres-huge")


@pytest.mark.parametrize("name", ["legacy:dropout", "legacy-dropout"])
def test_weights_that_have_to_be_fetched_say_how(name: str) -> None:
    with pytest.raises(UsageError, match=r"not on this machine; run: emres models fetch legacy:dropout$"):
        find_model(name)


# --- models of other packages


@pytest.mark.parametrize("thing", ["NET", "net"])
def test_a_package_brings_a_model_by_a_path_or_a_function(site: Path, monkeypatch, thing: str) -> None:
    install(site, monkeypatch, "their-nets", f"[emres.models]\nfine = their_nets:{thing}", PATH)
    assert find_model("fine") == site / "bundle"
    [known] = [known for known in known_models() if known.name == "fine"]
    assert (known.source, known.folder, known.problem) == ("package their-nets 1.2", site / "bundle", None)


def test_what_is_found_otherwise_asks_no_package(
    tmp_path: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(find_model(), own_folder / "mine")
    monkeypatch.setattr(metadata, "distributions", lambda: pytest.fail("installed packages were looked through"))
    assert find_model("mine") == own_folder / "mine"
    assert find_model(DEFAULT_MODEL).name == DEFAULT_MODEL
    assert find_model(tmp_path) == tmp_path


def test_of_one_name_ones_own_wins_then_emres_and_it_is_told(
    site: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = f"[emres.models]\nmine = their_nets:NET\n{DEFAULT_MODEL} = their_nets:NET"
    install(site, monkeypatch, "their-nets", points, PATH)
    shipped = find_model()
    shutil.copytree(shipped, own_folder / "mine")
    assert find_model("mine") == own_folder / "mine"
    assert find_model(DEFAULT_MODEL) == shipped
    told = [known for known in known_models() if known.problem]
    assert [known.name for known in told] == [DEFAULT_MODEL, "mine"]
    assert all("the other model wins" in str(known.problem) for known in told)
    shutil.copytree(shipped, own_folder / DEFAULT_MODEL)  # brought in before emres shipped one of this name
    assert find_model(DEFAULT_MODEL) == own_folder / DEFAULT_MODEL
    assert "wins" in str(known_models()[embedded_models().index(DEFAULT_MODEL)].problem)


def test_two_packages_with_one_name_are_told(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("one", "two"):
        install(site, monkeypatch, package, f"[emres.models]\nnet = {package}:NET", PATH)
    with pytest.raises(ModelError, match=r"several packages bring net: got one 1\.2 and two 1\.2"):
        find_model("net")
    assert sum("several packages" in str(known.problem) for known in known_models()) == 2


def test_the_first_of_two_installations_of_one_package_counts(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "older", monkeypatch, "their_nets", "[emres.models]\nfine = their_nets:gone", "", "1.1")
    install(site, monkeypatch, "their-nets", "[emres.models]\nfine = their_nets:NET", PATH)
    assert find_model("fine") == site / "bundle"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("their_nets:gone", "AttributeError"),
        ("no_such_module:NET", "ModuleNotFoundError"),
        ("their_nets:explode", "ZeroDivisionError"),
        ("their_nets:leave", "SystemExit"),
        ("their_nets:number", "a int"),
        ("their_nets", "a module"),
        ("their_nets:relative", r"\.\./bundle.*absolute path"),
        ("their_nets:empty", r"no contract\.json in /"),
        ("their nets!", "their nets!"),
    ],
)
def test_a_broken_package_is_one_sentence_and_no_trouble_to_the_others(
    site: Path, monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    install(site, monkeypatch, "their-nets", f"[emres.models]\nbad = {value}", BROKEN)
    install(site, monkeypatch, "good-nets", "[emres.models]\nfine = good_nets:NET", PATH)
    with pytest.raises(ModelError, match=rf"^bad of the package their-nets 1\.2 is broken .*{told}") as caught:
        find_model("bad")
    assert "\n" not in str(caught.value)
    problems = {known.name: known.problem for known in known_models()}
    assert problems["bad"] == str(caught.value)
    assert problems["fine"] is None
    assert find_model("fine") == site / "bundle"


def test_a_damaged_installation_of_any_package_is_passed_over(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch, "aaa", "[emres.models]\nthis is no line of an entry point")
    (site / "bbb-1.dist-info").mkdir()
    install(site, monkeypatch, "their-nets", "[emres.models]\nfine = their_nets:NET", PATH)
    assert find_model("fine") == site / "bundle"
