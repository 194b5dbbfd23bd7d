from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from emres.view import progress
from emres.view.progress import in_notebook, notebook_bars
from tests.view.test_accessor import Notebook


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    monkeypatch.setattr(progress, "_EVERY", 0)
    return Notebook().into(monkeypatch)


def values(html: str) -> list[tuple[str, str]]:
    return re.findall(r'value="(\d+)" max="(\d+)"', html)


def test_elsewhere_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for module in (None, SimpleNamespace(get_ipython=lambda: None), SimpleNamespace(get_ipython=lambda: object())):
        monkeypatch.setitem(sys.modules, "IPython", module)
        assert not in_notebook()
        with notebook_bars(3, "maps") as report:
            report("a", "fetch", 1, 2)
    assert capfd.readouterr() == ("", "")


def test_bars_follow_what_is_under_way_and_end_with_the_sum(notebook: Notebook) -> None:
    with notebook_bars(3, "maps") as report:
        report("EMD-1", "predict", 2, 8)
        assert values(notebook.shown[-1]) == [("0", "3"), ("2", "8")]
        report("EMD-2", "fetch", 0, 0)
        assert values(notebook.shown[-1]) == [("0", "3"), ("2", "8")]
        assert notebook.shown[-1].count("<progress") == 3
        for name, end in (("EMD-1", "done"), ("EMD-2", "failed"), ("EMD-3", "skipped")):
            report(name, end, 1, 1)
    assert values(notebook.shown[-1]) == [("3", "3")]
    assert "3 of 3 maps: 1 skipped, 1 failed" in notebook.shown[-1]


def test_an_error_ends_the_bars_and_goes_on(notebook: Notebook) -> None:
    def broken() -> None:
        with notebook_bars(2, "maps") as report:
            report("EMD-1", "predict", 1, 2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert values(notebook.shown[-1]) == [("0", "2")]


def test_names_are_text_and_many_threads_may_tell(notebook: Notebook) -> None:
    with notebook_bars(200, "maps") as report:
        report('<script>"x"', "fetch", 1, 2)
        assert "<script>" not in notebook.shown[-1]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda k: (report(str(k), "predict", 0, 4), report(str(k), "done", 1, 1)), range(200)))
    assert values(notebook.shown[-1]) == [("200", "200")]


def test_the_display_is_renewed_a_few_times_a_second_only(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_EVERY", 60)
    with notebook_bars(1, "maps") as report:
        for k in range(1000):
            report("EMD-1", "predict", k, 1000)
    assert len(notebook.shown) == 2
