"""Examples from atomic models: split by family, repeatable, kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emres.errors import UsageError
from emres.model.patches import Example
from emres.run.dataset import SPLITS, kept_examples, read_model_table, simulate_examples, split_of

MODELS = Path(__file__).parents[2] / "../shared/data/models"

needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the atomic models of ../shared are not here")


def test_a_family_is_on_one_side_whatever_else_there_is() -> None:
    sides = {str(family): split_of(str(family)) for family in range(1, 158)}
    assert set(sides.values()) == set(SPLITS)
    shares = [list(sides.values()).count(split) / len(sides) for split in SPLITS]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.08)
    # Written into the contracts of shipped models: it must never move.
    first = [sides[str(family)] for family in range(1, 9)]
    assert first == ["train"] * 5 + ["validation"] * 2 + ["train"]


@needs_models
def test_no_family_is_on_two_sides() -> None:
    rows = read_model_table(MODELS)
    families = {split: {row.family for row in rows if row.split == split} for split in SPLITS}
    assert all(families.values())
    assert not families["train"] & families["test"]
    assert not families["train"] & families["validation"]
    assert all((MODELS / row.file).is_file() for row in rows)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"models\.tsv is missing"):
        read_model_table(tmp_path)


@needs_models
def test_examples_are_usable_and_repeatable() -> None:
    rows = [row for row in read_model_table(MODELS) if row.extent < 50][:1]

    def simulated() -> list[Example]:
        return list(simulate_examples(MODELS, rows, count=1, variants=2, octaves=0, seed=5))

    first, again = simulated(), simulated()
    for one, two in zip(first, again, strict=True):
        assert one.name == two.name
        assert one.densities.tobytes() == two.densities.tobytes()
        assert one.target.tobytes() == two.target.tobytes()
        assert one.densities.shape == (2, *one.target.shape)
        assert np.isfinite(one.densities).all()
        assert one.target.min() >= np.float16(np.log(2)) - 1e-2
        assert {row.family for row in rows} >= {one.family}


def test_kept_examples_are_made_once_and_the_noisy_left_out(tmp_path: Path) -> None:
    def made() -> Iterator[Example]:
        for index, share in enumerate((True, False)):
            target = np.ones((10, 10, 10), dtype=np.float16)
            yield Example(str(index), "1", 1.5, target[None], target, np.full(target.shape, share))

    def nothing() -> Iterator[Example]:
        pytest.fail("simulated again")
        yield

    first = kept_examples(tmp_path / "kept", made(), 2)
    assert [example.name for example in first] == ["0"]
    assert [example.name for example in kept_examples(tmp_path / "kept", nothing(), 2)] == ["0"]
