"""The drill (``python -m tests.drill``), and a small one. Both are long: a minute each on a machine that is quiet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drill.drill import Drill


@pytest.mark.long
@pytest.mark.timeout(600)
def test_six_entries_come_right_whatever_dies(tmp_path: Path) -> None:
    drill = Drill(tmp_path, 6, seed=1)
    found = drill.run()
    assert found.passed, found.facts()
    assert found.starts >= 3


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_forty_entries_come_right_whatever_dies(tmp_path: Path) -> None:
    found = Drill(tmp_path, 40, seed=2).run()
    assert found.passed, found.facts()
    assert found.kills >= 6
    assert found.refusals >= 5
