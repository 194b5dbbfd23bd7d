"""Models brought in by name; the predecessor's nets answer as its own program did."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import emres
from emres.archive.registry import find_model
from emres.cli.app import run
from emres.errors import EmresError, UsageError
from emres.model.legacy import LegacyUNet
from emres.run.models import export_model, import_model, list_models, verify_model
from emres.run.predict import predict_entry, predict_job
from emres.volume.grid import Grid, make_volume
from tests.other_packages import install


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EMRES_MODELS", str(tmp_path / "models"))


@pytest.fixture(params=[0, 1], ids=["dropout", "batchnorm"])
def net(request):
    torch.manual_seed(5)
    return LegacyUNet(batchnorm=request.param, filters=3).eval()


@pytest.fixture
def weights(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def volume_of(shape):
    rng = np.random.default_rng(8)
    values = rng.normal(size=shape).astype(np.float32) + 0.3
    return make_volume(values, Grid(shape, (1.7, 1.7, 1.7), (5.0, -3.0, 0.0)))


def predecessor(net, values):
    """What the predecessor's program does: scale, pad to a power of two, cut, predict, mark, and cut back."""
    scaled = (values - values.min()) / (values.max() - values.min())
    side = 2 ** int(np.ceil(np.log2(max(values.shape))))
    before = [(side - n) // 2 for n in values.shape]
    padding = [(b, side - n - b) for b, n in zip(before, values.shape, strict=True)]
    boxed = np.pad(scaled, padding)
    answer = np.empty_like(boxed)
    for corner in np.ndindex(*(side // 16,) * 3):
        where = tuple(slice(16 * k, 16 * k + 16) for k in corner)
        with torch.inference_mode():
            answer[where] = net(torch.from_numpy(boxed[where])[None, None])[0, 0].numpy()
    answer[np.pad(values, padding) <= 0] = 100
    return answer[tuple(slice(b, b + n) for b, n in zip(before, values.shape, strict=True))]


@pytest.mark.parametrize("shape", [(32, 32, 32), (20, 33, 27), (40, 16, 9)])
def test_predictions_equal_the_predecessors_program(net, weights, shape):
    folder = import_model(weights, "legacy:net")
    volume = volume_of(shape)
    found = emres.predict(volume, folder, mask="none").values
    assert np.abs(found - predecessor(net, volume.values)).max() <= 1e-4


def test_a_run_equals_the_lazy_form_and_leaves_out_what_has_no_signal(tmp_path, weights):
    import_model(weights, "legacy:net")
    volume = volume_of((20, 33, 27))
    emres.write_mrc(tmp_path / "map.mrc", volume)
    group = emres.import_map(tmp_path / "map.mrc", emres.Store(tmp_path / "store"), "one")
    facts = predict_entry(predict_job(group.path, "legacy:net", mask="none"))
    stored = emres.open_volume(group.path, "local_resolution/legacy-net@1").values
    lazy = emres.predict(volume, "legacy:net", mask="none").values
    assert np.array_equal(stored, lazy)
    assert facts["voxels"] == int((volume.values > 0).sum())
    assert (stored[volume.values <= 0] == 100).all()


def test_an_imported_model_is_found_by_name(weights):
    import_model(weights, "legacy:net")
    assert find_model("legacy:net") == find_model("legacy-net")
    assert [row["name"] for row in list_models()] == ["emres-small", "legacy-net"]
    assert verify_model("legacy:net")["model"] == "legacy-net@1"


def test_a_bundle_is_imported_and_exported_whole(tmp_path):
    export_model("emres-small", tmp_path / "copy")
    folder = import_model(tmp_path / "copy", "mine")
    assert verify_model("mine")["model"].startswith("emres-small@")
    assert sorted(path.name for path in folder.iterdir()) == ["card.md", "contract.json", "weights.safetensors"]
    with pytest.raises(UsageError, match="exists"):
        export_model("mine", tmp_path / "copy")


@pytest.mark.parametrize("name", ["../outside", "a/b", "", "emres-small", ".hidden"])
def test_a_name_cannot_leave_its_folder_or_hide_a_shipped_model(tmp_path, weights, name):
    with pytest.raises(UsageError):
        import_model(weights, name)
    assert not (tmp_path / "models").exists() or not any((tmp_path / "models").iterdir())


def test_a_name_is_taken_once(weights):
    import_model(weights, "mine")
    with pytest.raises(UsageError, match="already"):
        import_model(weights, "mine")
    import_model(weights, "mine", force=True)


def test_what_is_no_model_leaves_nothing_behind(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"<html>")
    with pytest.raises(EmresError):
        import_model(tmp_path / "weights.pth", "mine")
    assert list((tmp_path / "models").iterdir()) == []


def test_the_list_says_where_each_comes_from_whatever_is_broken(tmp_path, weights, monkeypatch, capsys):
    bundle = import_model(weights, "legacy:net")
    code = f"NET = {str(bundle)!r}\nGONE = '/nowhere'\n"
    points = "[emres.models]\ntheir-net = their_nets:NET\ntheir-other = their_nets:GONE\n"
    install(tmp_path / "site", monkeypatch, "their-nets", points, code)
    import_model(weights, "damaged")
    (tmp_path / "models/damaged/contract.json").write_bytes(b"\xff{")
    rows = {row["name"]: row for row in list_models()}
    assert {name: row["source"] for name, row in rows.items()} == {
        "emres-small": "ships with emres", "damaged": "own", "legacy-net": "own",
        "their-net": "package their-nets 1.2", "their-other": "package their-nets 1.2",
    }  # fmt: skip
    assert [name for name, row in rows.items() if row["problem"]] == ["damaged", "their-other"]
    assert rows["their-net"]["architecture"] == "legacy_unet"
    assert run(["models", "list"]) == 0
    told = capsys.readouterr()
    assert "ships with emres" in told.out
    assert "warning: their-other: " in told.err
    assert run(["models", "list", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["models", "verify", "their-net"]) == 0


def test_the_command_line_imports_shows_and_verifies(tmp_path, weights, capsys):
    assert run(["models", "import", str(weights), "--as", "legacy:net"]) == 0
    assert run(["models", "list"]) == 0
    assert "legacy-net" in capsys.readouterr().out
    assert run(["models", "show", "legacy:net"]) == 0
    assert "predecessor" in capsys.readouterr().out
    assert run(["models", "verify", "legacy:net"]) == 0
    assert run(["models", "export", "legacy:net", str(tmp_path / "out")]) == 0
    assert run(["models", "verify", "nothing"]) == 2
