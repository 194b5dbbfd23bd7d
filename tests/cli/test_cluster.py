from __future__ import annotations

import json


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
