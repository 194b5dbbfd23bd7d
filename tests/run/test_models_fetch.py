"""The predecessor's published weights are fetched whole or not at all, and where they cannot be, the cure is told."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from emres.archive.manners import Patience
from emres.archive.mrc_write import write_mrc
from emres.archive.registry import PUBLISHED, find_model
from emres.cli.app import run
from emres.errors import ArchiveError, ModelError, StoreError, UsageError
from emres.model.legacy import LegacyUNet
from emres.run import models_fetch
from emres.run.models import verify_model
from emres.run.models_fetch import fetch_model
from emres.volume.grid import Grid, make_volume
from tests.archive import hostile
from tests.archive.hostile import Server, cut, refuse, web_page

DRIVE, FILE = PUBLISHED["legacy-dropout"]
BY_HAND = (
    rf"download https://drive\.google\.com/file/d/{DRIVE}/view in a browser, then: emres models import {FILE} --as"
)
QUICK = Patience(connect=2, read=1, tries=2, first_delay=0.01, longest_delay=0.05, again=False)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMRES_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(models_fetch.VARIABLE, raising=False)
    monkeypatch.setattr(models_fetch, "_PATIENCE", QUICK)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def server() -> Iterator[Server]:
    book = Server()
    running = hostile.start(book)
    yield book
    running.shutdown()
    running.server_close()


def saved(content: object, path: Path) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[int], bytes]:
    """The bytes of a .pth file of a small net."""

    def make(batchnorm: int = 0) -> bytes:
        torch.manual_seed(5)
        return saved(LegacyUNet(batchnorm=batchnorm, filters=2).state_dict(), tmp_path / "w.pth")

    return make


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def fetched(name: str, source: str | None = None, **options: bool) -> tuple[Path, bool]:
    return fetch_model(name, source, patience=QUICK, **options)


@pytest.mark.parametrize(("name", "batchnorm"), [("legacy:dropout", 0), ("legacy:batchnorm", 1)])
def test_weights_are_fetched_converted_and_kept_under_their_name(
    server: Server, weights, own_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, batchnorm: int
) -> None:
    server.put(f"some/{PUBLISHED[name.replace(':', '-')][1]}", weights(batchnorm))
    monkeypatch.setenv(models_fetch.VARIABLE, server.url("some/"))
    assert fetched(name) == (find_model(name), True)
    assert verify_model(name)["model"] == f"{name.replace(':', '-')}@1"
    assert [path.name for path in own_folder.iterdir()] == [name.replace(":", "-")]
    assert fetched(name) == (find_model(name), False)
    assert len(server.asked) == 1
    assert fetched(name, force=True)[1]
    with pytest.raises(UsageError, match="--force"):
        fetched(name, server.url("other.pth"))


def test_a_download_that_was_cut_goes_on_by_range(server: Server, weights, own_folder: Path) -> None:
    content = weights()
    address = server.put("w.pth", content, cut(5000), refuse(503), refuse(503), hostile.serve)
    with pytest.raises(ArchiveError, match=rf"weights of legacy:dropout cannot be fetched: .*HTTP 503.*; {BY_HAND}"):
        fetched("legacy:dropout", address)
    assert [name for name in left(own_folder) if name.endswith(f"{FILE}.part")]
    fetched("legacy:dropout", address)
    assert server.ranges()[-1] == "bytes=5000-"
    assert verify_model("legacy:dropout")
    assert [path.name for path in own_folder.iterdir()] == ["legacy-dropout"]


def test_killed_between_fetching_and_converting(
    server: Server, weights, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.put("w.pth", weights())

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(models_fetch, "import_model", killed)
        with pytest.raises(KeyboardInterrupt):
            fetched("legacy:dropout", address)
    fetched("legacy:dropout", address)
    assert len(server.asked) == 1
    assert [path.name for path in own_folder.iterdir()] == ["legacy-dropout"]


def test_where_one_address_gives_a_page_the_next_may_give_the_file(
    server: Server, weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = [server.put("page", b"", web_page), server.put("w.pth", weights())]
    monkeypatch.setattr(models_fetch, "_addresses", lambda *_: addresses)
    fetched("legacy:dropout")
    assert [path for path, _ in server.asked] == ["page", "w.pth"]


def test_the_published_addresses_are_those_of_google_drive() -> None:
    for name, (drive, _) in PUBLISHED.items():
        addresses = models_fetch._addresses(name, None)
        assert all(address.startswith("https://drive.") and f"id={drive}" in address for address in addresses)


def commented(handler, body: bytes) -> None:
    handler.answer(200, b"\xef\xbb\xbf<!-- sorry --><html>too many users have viewed this file</html>")


@pytest.mark.parametrize("page", [web_page, commented])
def test_a_page_in_place_of_the_file_is_one_sentence_with_the_cure(
    server: Server, own_folder: Path, page, caplog: pytest.LogCaptureFixture
) -> None:
    address = server.put("w.pth", b"", page)
    with pytest.raises(ArchiveError, match=rf"got a web page in place of the file .*; {BY_HAND} legacy:dropout$"):
        fetched("legacy:dropout", address)
    assert (len(server.asked), caplog.text, left(own_folder)) == (1, "", [])


def test_nothing_there_and_nobody_there(server: Server, own_folder: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/w.pth"
        for address, told in ((server.url("gone.pth"), "HTTP 404"), (nobody, "broken connection")):
            with pytest.raises(ArchiveError, match=rf"{told}.*; {BY_HAND}"):
                fetched("legacy:dropout", address)
            assert left(own_folder) == []


@pytest.mark.parametrize("what", ["bomb", "truncated", "empty", "other net", "the other of the two"])
def test_what_is_not_those_weights_is_told_and_never_run(
    server: Server, weights, own_folder: Path, tmp_path: Path, what: str
) -> None:
    content = {
        "bomb": lambda: saved(Bomb(), tmp_path / "b.pth"),
        "truncated": lambda: weights()[:-3000],
        "empty": lambda: b"",
        "other net": lambda: saved({"fc.weight": torch.zeros(3)}, tmp_path / "o.pth"),
        "the other of the two": lambda: weights(1),
    }[what]()
    address = server.put("w.pth", content)
    with pytest.raises(ModelError, match=rf"what came is not the weights of legacy:dropout.*; {BY_HAND}") as caught:
        fetched("legacy:dropout", address)
    assert "\n" not in str(caught.value)
    assert left(own_folder) == []
    assert not (tmp_path / "exploded").exists()


def test_what_is_there_survives_a_fetch_that_fails(server: Server, weights, own_folder: Path) -> None:
    fetched("legacy:dropout", server.put("w.pth", weights()))
    before = left(own_folder)
    with pytest.raises(ModelError):
        fetched("legacy:dropout", server.put("bad.pth", b"PK nothing"), force=True)
    assert left(own_folder) == before
    assert verify_model("legacy:dropout")


def test_a_file_on_this_machine_stays_where_it_is(weights, tmp_path: Path, own_folder: Path) -> None:
    weights()
    fetched("legacy:dropout", str(tmp_path / "w.pth"))
    assert (tmp_path / "w.pth").is_file()
    with pytest.raises(ModelError, match=r"not the weights of legacy:batchnorm: got those of legacy:dropout"):
        fetched("legacy:batchnorm", str(tmp_path / "w.pth"))
    assert [path.name for path in own_folder.iterdir()] == ["legacy-dropout"]


def test_a_folder_that_cannot_be_written_is_told(server: Server, weights, own_folder: Path) -> None:
    own_folder.write_text("a file")
    with pytest.raises(StoreError, match="a file, not a folder"):
        fetched("legacy:dropout", server.put("w.pth", weights()))


def test_the_command_line(server: Server, weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = server.put("w.pth", weights())
    values = np.random.default_rng(1).normal(size=(18, 17, 16)).astype(np.float32)
    write_mrc(tmp_path / "map.mrc", make_volume(values, Grid(values.shape, (2.0, 2.0, 2.0))))
    predict = ["predict", "map.mrc", "--model", "legacy:dropout", "--mask", "none"]
    assert run(predict) == 2
    assert "not on this machine; run: emres models fetch legacy:dropout" in capsys.readouterr().err
    assert run(["models", "fetch", "legacy:resnet"]) == 2
    assert "expected legacy:dropout or legacy:batchnorm" in capsys.readouterr().err
    assert run(["models", "fetch", "legacy:dropout", "--from", server.url("gone.pth")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert run(["models", "fetch", "legacy:dropout", "--from", address, "--json"]) == 0
    assert '"fetched": true' in capsys.readouterr().out
    assert run(["models", "fetch", "legacy:dropout"]) == 0
    assert "there already" in capsys.readouterr().out
    assert run(predict) == 0
