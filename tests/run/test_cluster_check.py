"""What ``emres cluster check`` finds, and the address that is told of a cluster's dashboard."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import pytest
from distributed import Client

from emres.run import cluster_check
from emres.run.cluster import connect
from emres.run.cluster_check import check_cluster, versions


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect("local:1") as client:
        yield client


def test_versions_that_differ_are_told_with_who_has_which(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_cluster(client).fit
    there = versions()["numpy"]
    monkeypatch.setattr(cluster_check, "versions", lambda: {**versions(), "numpy": "1.0"})
    found = check_cluster(client)
    assert found.differing == {"numpy": {"1.0": ["here"], there: ["0"]}}
    assert not found.fit


def test_a_package_that_a_worker_has_and_we_have_not_differs(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name: version for name, version in versions().items() if name != "zarr"}
    monkeypatch.setattr(cluster_check, "versions", lambda: known)
    assert set(check_cluster(client).differing) == {"zarr"}


@pytest.mark.parametrize("spec", ["local:1", "gpu:0"])
def test_the_dashboard_is_told_as_the_proxy_s_template_says(spec: str) -> None:
    template, told = {"distributed.dashboard.link": "https://hub.example/user/proxy/{port}/status"}, []
    with dask.config.set(template), connect(spec, told=told.append) as client:
        link = client.dashboard_link
    assert told == [link]
    assert link.startswith("https://hub.example/user/proxy/")
    assert link.endswith("/status")
