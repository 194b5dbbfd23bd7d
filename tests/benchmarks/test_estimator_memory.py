from __future__ import annotations

import pytest

from benchmarks.estimator_memory import INPUTS, WANTED, call_and_tell, memory_rows


@pytest.mark.long
def test_no_estimator_holds_more_than_twelve_volumes() -> None:
    rows = memory_rows(160)
    assert len(rows) == len(INPUTS)
    assert {row.what: row.value for row in rows if row.value > WANTED} == {}


def test_memory_is_told_with_the_input_in_it() -> None:
    assert call_and_tell("resmap", 64)["volumes"] >= INPUTS["resmap"]
