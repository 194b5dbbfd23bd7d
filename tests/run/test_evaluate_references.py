"""Other programs' outputs in one table with the model's: each over the voxels that it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emres.archive.mrc_write import write_mrc
from emres.errors import MapError, UsageError
from emres.run.evaluate import evaluate
from emres.run.evaluate_map import OWN_MEDIAN
from emres.run.evaluate_model import BLIND, Answer
from emres.run.evaluate_plan import EvaluationPlan
from emres.run.evaluate_references import measure_references, read_reference_objects, references_table
from emres.run.methods import make_recipe
from emres.volume.grid import Grid, make_volume
from tests.run.toy_dataset import ball, texture

GRID = Grid((32, 30, 34), (1.5, 1.5, 1.5))
INSIDE = ball(GRID) > 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One object; what `same` says is our own FSC, `half` says it in the lower half alone, elsewhere ResMap's 100."""
    root = tmp_path_factory.mktemp("references")
    (root / "a/references").mkdir(parents=True)
    (root / "notes").mkdir()
    rng = np.random.default_rng(2)
    signal = texture(GRID, 1, finest=5.0)
    halves = [signal + 0.7 * rng.normal(size=GRID.shape).astype(np.float32) for _ in range(2)]
    for number, half in enumerate(halves, start=1):
        write_mrc(root / f"a/half_map_{number}.map.gz", make_volume(half, GRID))
    write_mrc(root / "a/mask.map.gz", make_volume(INSIDE.astype(np.float32), GRID))
    resolution = make_recipe("fsc").run(halves, GRID, INSIDE).resolution
    half = np.where(np.arange(GRID.shape[0])[:, None, None] < 16, resolution, np.float32(100))
    for name, values in (("same", resolution), ("half", half)):
        write_mrc(root / f"a/references/{name}.map.gz", make_volume(values.astype(np.float32), GRID))
    return root


def says_seven(volume: Any, reported: float | None, mask: Any) -> Answer:
    assert (mask.values > 0.5).sum() == INSIDE.sum()
    return Answer(np.where(INSIDE, np.float32(7.0), np.float32(0)))


def test_each_stands_against_the_fsc_where_it_answers(folder: Path) -> None:
    (one,) = read_reference_objects(folder)
    found = measure_references(one, says_seven)
    assert set(found["errors"]) >= {BLIND, "same", "half", OWN_MEDIAN}
    assert found["errors"]["same"]["mae"] == pytest.approx(0, abs=1e-4)
    assert found["errors"]["half"]["mae"] == pytest.approx(0, abs=1e-4)
    assert found["answered"]["same"] == 1
    assert 0.2 < found["answered"]["half"] < 0.8
    assert found["errors"][BLIND]["mae"] > 0.01
    table = references_table([found, found])
    assert table["half"]["objects"] == 2
    assert table["half"]["answered"] == pytest.approx(found["answered"]["half"])


def test_it_is_part_of_an_evaluation(folder: Path, tmp_path: Path) -> None:
    class Model:
        can_be_told = False

        def facts(self) -> dict[str, Any]:
            return {"model": "seven@1", "weights_sha256": "7"}

        __call__ = staticmethod(says_seven)

    plan = EvaluationPlan(Model(), tmp_path / "out", references=folder)  # type: ignore[arg-type]
    assert evaluate(plan).evaluation["references"]["same"]["objects"] == 1
    assert "| same | 1 | 0.00 |" in (tmp_path / "out/evaluation.md").read_text(encoding="utf-8")


def test_what_lies_on_another_grid_or_holds_nothing_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no half maps"):
        read_reference_objects(tmp_path)
    other = folder / "a/references/other.map.gz"
    write_mrc(other, make_volume(np.ones((8, 8, 8), dtype=np.float32), Grid((8, 8, 8), (1.5, 1.5, 1.5))))
    with pytest.raises(MapError, match="another grid"):
        measure_references(read_reference_objects(folder)[0], says_seven)
    other.unlink()
