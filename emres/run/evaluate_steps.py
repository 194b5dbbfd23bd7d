"""The steps of an evaluation: one map each, kept by what it depends on, so that a killed evaluation goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emres import __version__
from emres.archive.manifest import DataSet, Row
from emres.archive.store import Store
from emres.errors import MapError
from emres.run.evaluate_baselines import LOCAL_OVER_GLOBAL
from emres.run.evaluate_map import Measuring, measure_row
from emres.run.evaluate_model import ModelUnderTest
from emres.run.evaluate_noise import noise_floor
from emres.run.evaluate_plan import EvaluationPlan, spread_rows
from emres.run.evaluate_real import RealMap, measure_real_map, read_real_maps
from emres.run.evaluate_references import ReferenceObject, measure_references, read_reference_objects
from emres.run.evaluate_robust import robustness
from emres.run.jobs import hash_of_facts
from emres.run.kept import Kept, plain
from emres.run.outcome import Outcome, Report, outcome_of
from emres.run.patch_entries import HALF_MAPS, check_row, density_pyramid

FORMAT = 2
MAPS, ROBUSTNESS, NOISE = "evaluate", "robustness", "noise floor"
REFERENCES, REAL = "references", "real map"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One thing to measure, and where it is kept.

    Parameters
    ----------
    part : str
        ``evaluate``, ``robustness``, ``noise floor``, ``references`` or ``real map``.
    name : str
        Of the entry or file.
    kept : Kept
    facts : callable
        Returns what the record depends on.
    work : callable
        Returns the record; told what is under way through its argument.
    """

    part: str
    name: str
    kept: Kept
    facts: Callable[[], Mapping[str, Any]]
    work: Callable[[Tell], Mapping[str, Any]]


def steps(plan: EvaluationPlan) -> list[Step]:
    """Return everything that is to be measured, in order.

    Raises
    ------
    UsageError
        If there is nothing to evaluate on.
    """
    return [*_row_steps(plan), *_few_steps(plan), *_reference_steps(plan), *_real_steps(plan)]


def done(step: Step, report: Report) -> Outcome:
    """Do a step unless it was done before; its record is in the outcome's facts."""

    def work() -> tuple[bool, Mapping[str, Any]]:
        report(step.name, step.part, 0, 0)
        fingerprint = hash_of_facts({"format": FORMAT, "program": __version__, "part": step.part, **step.facts()})
        record = step.kept.get(name, fingerprint)
        if record is not None:
            return False, record
        record = plain(step.work(lambda stage: report(step.name, f"{step.part}: {stage}", 0, 0)))
        if not record.get("failures"):  # what failed is tried again
            step.kept.put(name, fingerprint, record)
        return True, record

    name = f"{step.name[:80]}-{hash_of_facts({'name': step.name})[:8]}"
    outcome = outcome_of(step.name, work)
    report(step.name, outcome.status, 1, 1)
    return outcome


def _row_steps(plan: EvaluationPlan) -> Iterator[Step]:
    if plan.dataset is None:
        return
    how, kept = plan.measuring, Kept(plan.folder / "maps")
    for row in plan.rows:
        facts = partial(_measuring_facts, plan.model, how, plan.dataset, row)
        yield Step(MAPS, row.entry, kept, facts, partial(measure_row, plan.dataset, row, how))


def _measuring_facts(model: ModelUnderTest, how: Measuring, dataset: DataSet, row: Row) -> dict[str, Any]:
    settings = {"training": asdict(how.training), "told": how.told, "mask": how.mask, "estimators": how.estimators}
    return {**model.facts(), **settings, **row_facts(dataset, row)}


def row_facts(dataset: DataSet, row: Row) -> dict[str, Any]:
    """Return what tells the maps and the target of a row from those of any other, or of another version of it."""
    group = check_row(dataset, row)
    kinds = [kind for name in row.densities for kind in (HALF_MAPS if name == "average" else (name,))]
    maps = [[group.attributes(kind).get("source"), group.attributes(kind).get("statistics")] for kind in kinds]
    target = group.attributes(row.target)
    return {"row": asdict(row), "maps": maps, "target": [target.get("fingerprint"), target.get("date")]}


def _few_steps(plan: EvaluationPlan) -> Iterator[Step]:
    """Yield what is done for a few entries only: changed maps, and other noise."""
    if plan.dataset is None or not plan.few:
        return
    for row in spread_rows(plan.rows, plan.few):
        of_row = (plan.dataset, row)
        kept = Kept(plan.folder / "robustness")
        yield Step(ROBUSTNESS, row.entry, kept, partial(_robust_facts, plan.model, *of_row),
                   partial(_robust, plan.model, *of_row))  # fmt: skip
        if plan.models is not None:
            work = partial(_noise, plan.models, plan.device, *of_row)
            yield Step(NOISE, row.entry, Kept(plan.folder / "noise"), partial(row_facts, *of_row), work)


def _robust_facts(model: ModelUnderTest, dataset: DataSet, row: Row) -> dict[str, Any]:
    return {**model.facts(), **row_facts(dataset, row)}


def _robust(model: ModelUnderTest, dataset: DataSet, row: Row, tell: Tell) -> dict[str, Any]:
    group = Store(dataset.store_of(row)).entry(row.entry)
    name = "average" if "average" in row.densities else row.densities[0]
    density = np.asarray(density_pyramid(group, name).array()[:], dtype=np.float32)
    resolution = row.reported or row.resolution / LOCAL_OVER_GLOBAL
    about = (density, group.grid(row.target), resolution, model)
    found = robustness(*about, tell)
    told = robustness(*about, lambda change: tell(f"{change}, told"), row.reported) if _is_told(model, row) else []
    return {"entry": row.entry, "density": name, "resolution": resolution, "changes": found, "told": told}


def _is_told(model: ModelUnderTest, row: Row) -> bool:
    return model.can_be_told and row.reported is not None


def _noise(models: Path, device: str, dataset: DataSet, row: Row, tell: Tell) -> dict[str, Any]:
    tell("simulate again")
    return {"entry": row.entry, "errors": asdict(noise_floor(dataset, row, models, device=device))}


def _reference_steps(plan: EvaluationPlan) -> Iterator[Step]:
    for one in read_reference_objects(plan.references) if plan.references else ():
        kept = Kept(plan.folder / "references")
        work = partial(measure_references, one, plan.model, tuple(plan.estimators), plan.device)
        yield Step(REFERENCES, one.name, kept, partial(_reference_facts, plan, one), work)


def _reference_facts(plan: EvaluationPlan, one: ReferenceObject) -> dict[str, Any]:
    return {**plan.model.facts(), "estimators": list(plan.estimators), **one.facts()}


def _real_steps(plan: EvaluationPlan) -> Iterator[Step]:
    for one in read_real_maps(plan.real) if plan.real else ():
        kept = Kept(plan.folder / "real")
        yield Step(REAL, one.path.name, kept, partial(_real_facts, plan.model, one), partial(_real, plan.model, one))


def _real(model: ModelUnderTest, one: RealMap, tell: Tell) -> dict[str, Any]:
    return measure_real_map(one, model, model.can_be_told)


def _real_facts(model: ModelUnderTest, one: RealMap) -> dict[str, Any]:
    try:
        status = one.path.stat()
    except OSError as error:
        raise MapError(f"{one.path} cannot be read", got=error.strerror, cure="check the path") from error
    file = {"file": one.path.name, "size": status.st_size, "modified": status.st_mtime_ns}
    return {**model.facts(), "told": model.can_be_told, "reported": one.reported, **file}
