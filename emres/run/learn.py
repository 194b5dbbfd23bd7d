"""Training and measuring models from a notebook or a script: what ``emres train`` and ``emres evaluate`` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.manifest import DataSet
from emres.errors import UsageError
from emres.run.api import told_by
from emres.run.evaluate_plan import EvaluationPlan
from emres.run.outcome import Report
from emres.run.patches import as_dataset
from emres.run.train_config import read_training

if TYPE_CHECKING:
    from distributed import Client

    from emres.model.train import Moment


def train(
    dataset: DataSet | Path | str,
    to: Path | str,
    *,
    config: Path | str | None = None,
    client: Client | None = None,
    report: Report | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train a model; ``emres.predict(volume, to)`` uses it.

    The same call goes on where it was interrupted, and ends with the same weights.

    Parameters
    ----------
    dataset : DataSet or path
        What ``emres dataset build`` made.
    to : path
        The folder of the model. It shows meanwhile how it goes: ``curves.png``, ``examples.png``, ``history.json``.
    config : path, optional
        TOML with settings.
    client : distributed.Client, optional
        Its workers share every batch, one process each, as many as ``processes``.
    report : callable
        ``report(name, stage, done, total)``; by default a progress bar in a notebook, and nothing elsewhere.
    **settings
        ``steps``, ``batch``, ``seed``, ``architecture``, ``learning_rate``, ``processes``, ``map_readers``, …: the
        fields of :class:`emres.model.train_plan.TrainPlan` and :class:`emres.run.train_config.Training`.

    Returns
    -------
    dict
        ``model``, ``folder``, ``steps``, ``seconds``, ``mae`` (Å, on the validation patches).

    Raises
    ------
    UsageError
        If a setting is unknown or does not fit, or the folder holds another training.
    StoreError, MapError, ModelError
        If the data set is not what it says, the folder cannot be written, or the training went astray.
    """
    from emres.run.train_processes import train_model

    folder = dataset.folder if isinstance(dataset, DataSet) else Path(dataset)
    training = read_training(None if config is None else Path(config), {"dataset": folder, "to": Path(to), **settings})
    with told_by(report, 1, "models") as tell:

        def told(moment: Moment) -> None:
            tell(training.to.name, "train" if moment.what == "steps" else moment.what, moment.step, moment.steps)

        return train_model(training, told, client) or {}


def evaluate(
    model: str | Path,
    dataset: DataSet | Path | str | None = None,
    *,
    split: str = "test",
    real: Path | str | None = None,
    to: Path | str | None = None,
    estimators: Sequence[str] = (),
    most: int | None = None,
    few: int = 3,
    models: Path | str | None = None,
    card: Path | str | None = None,
    device: str = "auto",
    report: Report | None = None,
) -> dict[str, Any]:
    """Measure a model on whole maps that it never saw, and on real ones.

    Parameters
    ----------
    model : str or path
        Name of a model, or folder of a bundle.
    dataset : DataSet or path, optional
    split : str
        Its side that is measured on.
    real : path, optional
        A folder of real maps with ``maps.tsv``.
    to : path, optional
        Gets ``evaluation.json``, ``evaluation.md`` and pictures; ``MODEL@VERSION-evaluation`` by default.
    estimators : sequence of str
        ``monores``, ``resmap``: beside the model, slowly.
    most, few : int
        At most so many entries; so many for the robustness table and the noise floor.
    models : path, optional
        The atomic models of simulated entries: with them the noise of the target is measured.
    card : path, optional
        Where to write the model's card.
    device : str
    report : callable
        As for :func:`train`.

    Returns
    -------
    dict
        What is in ``evaluation.json``; ``failed`` names the maps that failed, with reasons.

    Raises
    ------
    UsageError
        If there is nothing to evaluate on.
    StoreError
        If the folder cannot be written.
    """
    from emres.run.card import write_card
    from emres.run.evaluate import evaluate as measure
    from emres.run.evaluate_model import ModelUnderTest
    from emres.run.evaluate_steps import steps

    if dataset is None and real is None:
        raise UsageError("there is nothing to evaluate on", expected="a data set, or real maps")
    under_test = ModelUnderTest.named(str(model), device)
    plan = EvaluationPlan(
        under_test,
        Path(to or f"{under_test.contract.name_version}-evaluation"),
        None if dataset is None else as_dataset(dataset),
        split,
        estimators=tuple(estimators),
        most=most,
        few=few,
        models=None if models is None else Path(models),
        real=None if real is None else Path(real),
        device=device,
    )
    with told_by(report, len(steps(plan)), "maps") as tell:
        found = measure(plan, tell)
    if card is not None:
        write_card(Path(card), under_test.contract, found.evaluation)
    return found.evaluation
