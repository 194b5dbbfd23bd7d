"""Train a net on a data set: from a plan to a bundle that predicts, in as many runs as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.disk import disk_errors, only_writer
from emres.archive.manifest import DataSet, read_dataset
from emres.errors import ModelError, UsageError
from emres.model.contract import CONTRACT_FILE
from emres.model.familiar import familiar_of
from emres.model.train_plan import TrainPlan
from emres.run.train_bundle import contract_for, fresh_net, provenance, write_model
from emres.run.train_config import Training
from emres.run.train_data import (
    dataset_hash,
    training_conditions,
    training_stream,
    validation_stream,
)
from emres.run.train_files import CHECKPOINT, NoFiles, TrainFiles, read_checkpoint, remove_leftovers

if TYPE_CHECKING:
    import torch
    from torch import nn

    from emres.model.contract import Contract
    from emres.model.loader import PatchStream
    from emres.model.ranks import Ranks
    from emres.model.train import Moment
    from emres.model.train_state import Checkpoint, TrainState
    from emres.model.validation import Validation

Tell = Callable[["Moment"], None]


def train_rank(training: Training, ranks: Ranks, tell: Tell) -> dict[str, Any]:
    """Train in one process, one of several or the only one.

    Parameters
    ----------
    training : Training
    ranks : Ranks
        Connected already.
    tell : callable
        Told of steps made, in the first process.

    Returns
    -------
    dict
        ``model``, ``folder``, ``steps``, ``seconds``, ``mae`` (Å, None without validation), ``resumed`` (the step that
        the training went on from), ``stopped_early``, ``warnings``.

    Raises
    ------
    UsageError
        If the folder holds another training, or the plan does not fit the data set.
    StoreError, MapError
        If the data set is not what it says, or the folder cannot be written.
    ModelError
        If the training went astray.
    """
    with _only_here(training.to) if ranks.first else nullcontext(), _exact(ranks.device):
        return _train(training, ranks, tell)


def _train(training: Training, ranks: Ranks, tell: Tell) -> dict[str, Any]:
    dataset, plan, about, found = begun(training, ranks.device)
    stream = training_stream(dataset, plan)
    tell = tell if ranks.first else _silent
    state, contract = _begin(training, plan, dataset, stream, found, ranks, tell)
    resumed = state.step
    files = TrainFiles(training.to, about, tell)
    if ranks.first and not resumed:
        files.checkpoint(state)  # a folder that cannot be written is found out now
    validation: Validation | None = None
    if not (state.stopped or state.step >= plan.steps):
        validation = _learn_steps(training, plan, dataset, stream, state, contract, ranks, files)
    net = state.settle()
    if getattr(net, "patterned", False):
        _learn_the_rest(state, stream, plan, ranks, files)
        validation = None  # its readers see other things now
    if validation is None:
        validation = _validation(dataset, plan, contract, ranks, net, files)
        tempered = {"share": validation.temper(net)} if getattr(net, "patterned", False) else {}
        state.best = {**state.best, **validation(net), **tempered}
    factor = validation.calibrate(net)
    if getattr(net, "patterned", False):
        _sure_of_stripped(net, dataset, plan, files)
    if ranks.first:
        files.history(state)
        files.draw(state)
        known = provenance(state, dataset, plan, ranks)
        like = familiar_of(training_conditions(stream)) if contract.conditioned else {}
        write_model(training, replace(contract, training=known, spread_factor=factor, familiar=like), state)
    ranks.agreed()
    return _facts(training, state, contract, resumed, validation)


def begun(training: Training, device: torch.device) -> tuple[DataSet, TrainPlan, dict[str, Any], Checkpoint | None]:
    """Return what a training is of, its plan with nothing left open, both as they are recorded, and how far it came.

    Raises
    ------
    UsageError
        If the folder holds another training, or the plan does not fit the architecture.
    StoreError
        If the data set cannot be read.
    """
    dataset, plan = read_dataset(training.dataset), settled_plan(training.plan, device)
    about = {
        "plan": plan.record(),
        "dataset": {"name": dataset.folder.name, "rows": len(dataset.rows), "hash": dataset_hash(dataset)},
    }
    return dataset, plan, about, _checkpoint(training, plan, about)


def _silent(moment: Moment) -> None:
    """Tell nobody."""


def _learn_steps(
    training: Training,
    plan: TrainPlan,
    dataset: DataSet,
    stream: PatchStream,
    state: TrainState,
    contract: Contract,
    ranks: Ranks,
    files: TrainFiles,
) -> Validation:
    """Make all steps that are left, and return what was looked at meanwhile."""
    from emres.model.feed import Feed
    from emres.model.train import train

    if getattr(state.net, "patterned", False):
        from emres.run.train_readers import read_maps

        read_maps(state.net, stream, files.tell, learnt=True)
    feed = Feed(stream, plan, ranks, training.threads, training.workers)
    validation = _validation(dataset, plan, contract, ranks, state.net, files)
    train(state, feed, plan, contract, validation, files if ranks.first else NoFiles(), ranks)
    return validation


def _learn_the_rest(state: TrainState, stream: PatchStream, plan: TrainPlan, ranks: Ranks, files: TrainFiles) -> None:
    """Teach the readers of the best net what was kept from them, unless that was done."""
    from emres.run.train_readers import learn_from_all

    if state.complete:
        return
    started = time.perf_counter()
    learn_from_all(state.average, stream, plan, files.tell)
    state.seconds += time.perf_counter() - started
    state.completed()
    if ranks.first:
        files.checkpoint(state)


def settled_plan(plan: TrainPlan, device: torch.device) -> TrainPlan:
    """Return a plan with nothing left open, on a device.

    Raises
    ------
    UsageError
        If the patches do not fit the architecture.
    """
    precision = plan.precision
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    settled = replace(plan.settled(), precision=precision)
    if settled.kind.cube and (settled.side or 0) % settled.kind.cube:
        raise UsageError(
            f"{plan.architecture} sees cubes", got=f"side {settled.side}", expected=f"a multiple of {plan.kind.cube}"
        )
    return settled


def _checkpoint(training: Training, plan: TrainPlan, about: dict[str, Any]) -> Checkpoint | None:
    """Return what the folder holds of this training, if it holds any."""
    found = None if training.restart else read_checkpoint(training.to, plan, about["dataset"])
    if found is None and not training.restart and (training.to / CONTRACT_FILE).exists():
        raise UsageError(
            f"there is a model in {training.to}, and no checkpoint to go on from",
            cure="train into another folder, or replace it with --restart",
        )
    return found


def _begin(
    training: Training,
    plan: TrainPlan,
    dataset: DataSet,
    stream: PatchStream,
    found: Checkpoint | None,
    ranks: Ranks,
    tell: Tell,
) -> tuple[TrainState, Contract]:
    """Return a fresh state, or that of a checkpoint, and the contract."""
    from emres.model.train_state import TrainState

    started = time.perf_counter()
    net = fresh_net(plan, dataset.side("train"))
    contract = contract_for(plan, net, training.to.name)
    if found is None and contract.conditioned:
        from emres.run.train_readers import learn_readers

        learn_readers(net, stream, plan, tell)
    state = TrainState(net.to(ranks.device), plan.weight_decay)
    state.seconds = time.perf_counter() - started  # what its readers took is part of what a training takes
    if found is not None:
        state.restore(found)
    ranks.agreed()  # nobody writes before everybody has read
    return state, contract


def _validation(
    dataset: DataSet, plan: TrainPlan, contract: Contract, ranks: Ranks, net: nn.Module, files: TrainFiles
) -> Validation:
    """Cut the patches to look at; some of them are shown, too."""
    import itertools

    from emres.model.validation import Validation

    stream, rows = validation_stream(dataset, plan), len(dataset.side("validation"))
    if stream is not None and getattr(net, "patterned", False):
        from emres.run.train_readers import read_maps

        read_maps(net, stream, files.tell)
    mine = () if stream is None else stream.batches(ranks.rank, ranks.size)
    validation = Validation(list(itertools.chain(mine)), rows, contract, ranks)
    files.examples = lambda state: validation.shown(state.average)
    return validation


def _sure_of_stripped(net: nn.Module, dataset: DataSet, plan: TrainPlan, files: TrainFiles) -> None:
    """Have a net know how far off it is on stripped maps, of which validation has no patches."""
    from emres.run.train_surety import sure_of_stripped

    stream = validation_stream(dataset, plan)
    if stream is not None:
        sure_of_stripped(net, stream, plan, files.tell)


def _facts(
    training: Training, state: TrainState, contract: Contract, resumed: int, validation: Validation
) -> dict[str, Any]:
    warnings = [] if validation.patches else ["the validation side is empty: nothing tells how good the model is"]
    return {
        "model": contract.name_version,
        "folder": str(training.to),
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "mae": state.best.get("mae"),
        "resumed": resumed,
        "stopped_early": state.stopped,
        "warnings": warnings,
    }


@contextmanager
def _only_here(folder: Path) -> Iterator[None]:
    """Keep other runs from training into the same folder meanwhile."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder / CHECKPOINT):
        remove_leftovers(folder)
        try:
            yield
        finally:
            remove_leftovers(folder)


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """Have a GPU compute the same twice, as far as it can."""
    import torch

    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = device.type == "cuda", False
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"a batch does not fit the memory of {device}", got=str(error).split(".")[0], cure="lower batch or side"
        ) from error
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
