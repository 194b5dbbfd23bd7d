"""What ``emres train`` is told: a TOML file, and what was given besides."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from emres.errors import UsageError
from emres.model.plan_values import check_known, plan_from
from emres.model.train_plan import TrainPlan

_COUNTS = ("processes", "threads", "workers", "map_readers")


@dataclass(frozen=True)
class Training:
    """A plan, and where and how it is carried out: nothing beside the plan changes a weight by more than rounding.

    Parameters
    ----------
    dataset : Path
        What ``emres dataset build`` made.
    to : Path
        The folder of the bundle.
    plan : TrainPlan
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
    processes : int
        That share every batch.
    threads, workers : int
        That cut patches ahead, in each process: threads of it, or if there are any, processes beside it.
    map_readers : int
        Processes that read maps which were never read, before the training begins; with none, this one does.
    restart : bool
        Begin anew, whatever is in the folder.
    """

    dataset: Path
    to: Path
    plan: TrainPlan = field(default_factory=TrainPlan)
    device: str = "auto"
    processes: int = 1
    threads: int = 1
    workers: int = 0
    map_readers: int = 0
    restart: bool = False

    def __post_init__(self) -> None:
        if self.processes < 1 or min(self.threads, self.workers, self.map_readers) < 0:
            got = ", ".join(f"{getattr(self, name)} {name}" for name in _COUNTS)
            raise UsageError("a training cannot be carried out like this", got=got)
        self.plan.check_shares(self.processes)


def read_training(path: Path | None, given: Mapping[str, Any]) -> Training:
    """Read a training from a TOML file, and let what is given besides win.

    Parameters
    ----------
    path : Path, optional
        Its names are the fields of :class:`Training` (but ``plan`` and ``restart``) and of
        :class:`emres.model.train_plan.TrainPlan`; paths in it are relative to its folder.
    given : mapping
        The same names.

    Returns
    -------
    Training

    Raises
    ------
    UsageError
        If the file is no TOML, or a name in it is unknown, or there is no data set or folder.
    """
    own = {item.name for item in fields(Training)} - {"plan", "restart"}
    known = {**dict.fromkeys(own), **asdict(TrainPlan())}
    values = _read_toml(path) if path else {}
    for name in values:
        check_known(name, known, str(path))
    for name in {"dataset", "to"} & set(values):
        values[name] = Path(path or ".").parent / str(values[name])
    for name in set(_COUNTS) & set(values):
        if type(values[name]) is not int:
            raise UsageError(f"{path} has a wrong {name}", got=repr(values[name]), expected="a whole number")
    # The architecture first: what it wants is what the rest is held against.
    base = plan_from({name: value for name, value in values.items() if name == "architecture"}, str(path))
    plan = plan_from({name: value for name, value in values.items() if name not in own}, str(path), base)
    plan = plan_from({name: value for name, value in given.items() if name not in {*own, "restart"}}, "the call", plan)
    told = {name: value for name, value in {**values, **given}.items() if name in {*own, "restart"}}
    for name in ("dataset", "to"):
        if name not in told:
            raise UsageError(f"there is no {name} to train with", cure=f"give --{name}, or {name} in a TOML file")
    return Training(**{**told, "dataset": Path(told["dataset"]), "to": Path(told["to"])}, plan=plan)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", cure="give a TOML file") from error
    except ValueError as error:
        raise UsageError(f"{path} is no TOML", got=str(error), cure="write lines like steps = 2000") from error
