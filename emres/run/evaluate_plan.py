"""What an evaluation is to measure: which model, on which maps, beside what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emres.archive.manifest import DataSet, Row
from emres.errors import UsageError
from emres.run.evaluate_baselines import TrainingSide, one_target
from emres.run.evaluate_map import Measuring
from emres.run.evaluate_model import ModelUnderTest

MASKS = ("auto", "target")


@dataclass(frozen=True)
class EvaluationPlan:
    """What is to be measured.

    Parameters
    ----------
    model : ModelUnderTest
    folder : Path
        Gets ``evaluation.json``, ``evaluation.md``, pictures, and what is kept of single maps.
    dataset : DataSet, optional
    split : str
        Its side that is measured on.
    target : str, optional
        Name of the target, where the data set has several.
    mask : str
        ``auto``: the model answers in the mask that it finds itself. ``target``: wherever there is a target.
    estimators : sequence of str
        One-map methods beside the model: ``monores``, ``resmap``.
    most : int, optional
        At most so many entries, spread evenly over the resolutions.
    few : int
        Entries for the robustness table and the noise floor.
    models : Path, optional
        The atomic models of simulated entries: without them there is no noise floor.
    real : Path, optional
        A folder of real maps with ``maps.tsv``.
    references : Path, optional
        A folder of half maps with what other programs said of them.
    device : str
    """

    model: ModelUnderTest
    folder: Path
    dataset: DataSet | None = None
    split: str = "test"
    target: str | None = None
    mask: str = "auto"
    estimators: Sequence[str] = ()
    most: int | None = None
    few: int = 3
    models: Path | None = None
    real: Path | None = None
    references: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.dataset is None and self.real is None and self.references is None:
            raise UsageError("there is nothing to evaluate on", expected="--dataset, --real or --references")
        if self.mask not in MASKS:
            raise UsageError("unknown mask", got=self.mask, expected=" or ".join(MASKS))

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that are measured on.

        Raises
        ------
        UsageError
            If that side of the data set is empty, or its target is not clear.
        """
        if self.dataset is None:
            return ()
        rows = one_target(self.dataset.side(self.split), self.target)
        if not rows:
            raise UsageError(
                f"the {self.split} side of {self.dataset.folder} is empty",
                got=f"{len(self.dataset.rows)} rows on other sides",
                cure="choose another: --split NAME, or build a larger data set",
            )
        return spread_rows(rows, self.most)

    @property
    def training(self) -> TrainingSide:
        """What the training side tells."""
        rows = () if self.dataset is None else self.dataset.side("train")
        kinds = {row.target for row in self.rows}
        return TrainingSide.of([row for row in rows if row.target in kinds])

    @property
    def measuring(self) -> Measuring:
        """How maps are measured."""
        told = self.model.can_be_told
        return Measuring(self.model, self.training, told, self.mask, tuple(self.estimators), self.device)


def spread_rows(rows: Sequence[Row], most: int | None) -> tuple[Row, ...]:
    """Return at most so many rows, evenly spread over the resolutions of their targets."""
    if most is None or len(rows) <= most:
        return tuple(rows)
    ordered = sorted(rows, key=lambda row: (row.resolution, row.entry))
    return tuple(ordered[k] for k in np.linspace(0, len(ordered) - 1, most).round().astype(int))
