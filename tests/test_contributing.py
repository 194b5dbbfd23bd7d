"""What CONTRIBUTING.md promises: each addition in under 50 lines, and the estimator that it shows is one."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import emres
from emres.run import methods

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PARTS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL))


def test_every_addition_is_told_in_less_than_fifty_lines() -> None:
    assert set(PARTS) == {"An estimator", "A model", "A kind of cluster", "A page", "A notebook"}
    assert max(len(text.splitlines()) for text in PARTS.values()) < 50


@pytest.mark.parametrize("path", re.findall(r"`((?:emres|tests|docs|workflows|benchmarks)/[\w/.]+)`", TEXT))
def test_the_files_that_it_names_are_there(path: str) -> None:
    assert (ROOT / path).exists() or path.startswith(("emres/estimators/rms", "emres/run/cluster_NAME"))


def test_the_targets_that_it_names_are_there() -> None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", TEXT, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", rules, flags=re.MULTILINE)


def test_the_estimator_that_it_shows_is_known_to_emres(monkeypatch: pytest.MonkeyPatch) -> None:
    code, table = re.findall(r"```python\n(.*?)```", PARTS["An estimator"], flags=re.DOTALL)
    module = ModuleType("emres.estimators.rms")
    exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "emres.estimators.rms", module)
    scope = {"Estimator": methods.Estimator, "ESTIMATORS": methods.ESTIMATORS}
    exec(compile(table, "CONTRIBUTING.md", "exec"), scope)
    monkeypatch.setattr(methods, "ESTIMATORS", scope["ESTIMATORS"])
    values = np.random.default_rng(1).normal(size=(20, 22, 24)).astype(np.float32)
    values[:10] *= 3
    volume = emres.make_volume(values, emres.Grid(values.shape, (1.5, 1.5, 1.5)))
    answer = emres.estimate(volume, "rms", mask="none", window=6.0)
    assert answer.attrs["method"] == "rms"
    assert answer.attrs["window"] == 6.0
    assert float(answer[:8].mean()) < float(answer[12:].mean())
