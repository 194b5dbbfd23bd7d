from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_cluster_check_tells_every_worker_and_that_the_cluster_is_fit(emres) -> None:
    ended = emres("cluster", "check", "local:1", "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["fit"]
    assert told["dashboard"].startswith("http://127.0.0.1:")
    [worker] = told["workers"]
    assert worker["block_seconds"] > 0
    assert worker["versions"]["emres"]


def test_cluster_check_says_which_worker_is_not_fit(emres) -> None:
    ended = emres("cluster", "check", "local:1", "--model", "missing")
    assert ended.code == 3
    assert "problem: 0:" in ended.err
    assert "missing" in ended.err


def test_cluster_check_refuses_a_word_that_is_none(emres) -> None:
    ended = emres("cluster", "check", "kubernetes")
    assert ended.code == 2
    assert "ssh:HOST" in ended.err


def test_a_performance_report_is_written_of_what_the_cluster_did(emres, mirror: Path, toy_model, tmp_path) -> None:
    work = ("batch-predict", "EMD-0001", "--to", tmp_path / "store", "--mirror", mirror, "--model", toy_model)
    refused = emres(*work, "--performance-report", tmp_path / "report.html")
    assert refused.code == 2
    assert "pass --cluster" in refused.err
    assert not list(tmp_path.iterdir()), "nothing was begun"
    ended = emres(*work, "--cluster", "local:1", "--performance-report", tmp_path / "report.html")
    assert ended.code == 0, ended.err
    page = (tmp_path / "report.html").read_text()
    assert page.lstrip().startswith("<!DOCTYPE html>")
    assert "predict_EMD_0001" in page, "the task is in it, by the name of its map"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "store"]


@pytest.mark.parametrize("words", [("predict",), ("estimate", "--method", "monores")])
def test_the_commands_for_one_map_take_a_cluster_and_first_say_where_its_dashboard_is(
    emres, words: tuple[str, ...], small_map: Path, toy_model, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("this is work for a worker")

    monkeypatch.setattr("emres.run.predict.predict_entry", never)
    monkeypatch.setattr("emres.run.estimate.estimate_entry", never)
    model = ("--model", toy_model) if words == ("predict",) else ()
    ended = emres(*words, small_map, "-o", tmp_path / "out.mrc", *model, "--cluster", "local:1")
    assert ended.code == 0, ended.err
    assert (ended.out + ended.err).startswith("dashboard: http://127.0.0.1:")
    assert (tmp_path / "out.mrc").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mrc"]
