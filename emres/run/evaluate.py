"""How well a model does, measured by the code that ships: whole maps of a data set and real ones, beside baselines.

What was measured of one map is kept, so that a killed evaluation goes on; one map that fails never stops the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emres import __version__
from emres.archive.disk import disk_errors, only_writer, replaced_file
from emres.errors import StoreError
from emres.run.evaluate_baselines import LOCAL_OVER_GLOBAL
from emres.run.evaluate_plan import EvaluationPlan
from emres.run.evaluate_real import real_summary
from emres.run.evaluate_references import references_table
from emres.run.evaluate_report import write_report
from emres.run.evaluate_robust_tables import robustness_by_resolution, robustness_table
from emres.run.evaluate_steps import FORMAT, MAPS, NOISE, REAL, REFERENCES, ROBUSTNESS, Step, done, steps
from emres.run.evaluate_tables import degradation, density_tables, errors_table, verdicts
from emres.run.evaluate_wanted import checks
from emres.run.kept import plain
from emres.run.outcome import Outcome, Report, no_report

FILE = "evaluation.json"


@dataclass(frozen=True)
class Evaluated:
    """What was measured, and what came of each of the maps."""

    evaluation: dict[str, Any]
    outcomes: tuple[Outcome, ...]


def evaluate(plan: EvaluationPlan, report: Report = no_report) -> Evaluated:
    """Measure a model and write ``evaluation.json``, ``evaluation.md`` and pictures.

    Parameters
    ----------
    plan : EvaluationPlan
    report : callable
        Told of every map.

    Returns
    -------
    Evaluated

    Raises
    ------
    UsageError
        If there is nothing to evaluate on.
    StoreError
        If the folder cannot be written, or another run is at it.
    """
    todo = steps(plan)
    with _written_by_us(plan.folder):
        outcomes = [done(step, report) for step in todo]
        evaluation = plain(summary(plan, todo, outcomes))
        write_report(evaluation, plan.folder)
        with replaced_file(plan.folder / FILE) as part:
            part.write_text(json.dumps(evaluation, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Evaluated(evaluation, tuple(outcomes))


@contextmanager
def _written_by_us(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other evaluations out of it meanwhile; that it cannot be written is told at once."""
    with ExitStack() as stack:
        try:
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(only_writer(folder / FILE))
        except OSError as error:
            raise StoreError(f"{folder} cannot be written", got=error.strerror, cure="choose another folder") from error
        yield


def summary(plan: EvaluationPlan, todo: Sequence[Step], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return everything that was measured, as JSON values.

    Returns
    -------
    dict
        ``model``, ``dataset``, ``densities`` (``average`` and ``map``: see
        :func:`emres.run.evaluate_tables.density_tables`), ``degradation``, ``noise_floor``, ``robustness``,
        ``robustness_told``, ``robustness_by_resolution``, ``references``, ``real``, ``failed`` (what -> why),
        ``notes``, ``maps``, ``checks`` (what is wanted and what was found).
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    failed = {}
    for step, outcome in zip(todo, outcomes, strict=True):
        if outcome.status == "failed":
            failed[f"{step.name} ({step.part})"] = outcome.reason
        else:
            found.setdefault(step.part, []).append(outcome.facts)
    records = found.get(MAPS, [])
    failed |= {f"{one['entry']} ({name})": why for one in records for name, why in one["failures"].items()}
    densities = {name: density_tables(records, name) for name in ("average", "map")}
    measured = {
        "format": FORMAT,
        "program": f"emres {__version__}",
        "model": plan.model.facts(),
        "told": plan.model.can_be_told,
        "dataset": _dataset_facts(plan),
        "densities": {name: {**of, "verdicts": verdicts(of)} for name, of in densities.items() if of["maps"]},
        "degradation": degradation(records),
        "noise_floor": errors_table([{"errors": {"second draw": one["errors"]}} for one in found.get(NOISE, [])]),
        **_robustness(found.get(ROBUSTNESS, [])),
        "references": references_table(found.get(REFERENCES, [])),
        "real": _real(plan, found.get(REAL, [])),
        "failed": failed,
        "notes": _notes(records),
        "maps": [_short(record) for record in records],
    }
    return {**measured, "checks": checks(measured)}


def _robustness(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "robustness": robustness_table([one["changes"] for one in records]),
        "robustness_told": robustness_table([one["told"] for one in records]),
        "robustness_by_resolution": robustness_by_resolution(records),
    }


def _dataset_facts(plan: EvaluationPlan) -> dict[str, Any] | None:
    """Return what is told of the data set; it goes into cards, so no path of this machine is in it."""
    if plan.dataset is None:
        return None
    rows, training = plan.rows, plan.training
    return {
        "name": plan.dataset.folder.absolute().name,
        "split": plan.split,
        "target": rows[0].target,
        "mask": plan.mask,
        "entries": len(rows),
        "families": len({row.family for row in rows}),
        "training_entries": len(training.medians),
        "training_median": training.median,
        "local_over_global": training.local_over_global,
    }


def _real(plan: EvaluationPlan, maps: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Compare real maps with the usual factor, and with that of the training side where it is known."""
    left_out = {one["file"]: one["left_out"] for one in maps if "left_out" in one}
    maps = sorted((one for one in maps if "left_out" not in one), key=lambda one: float(one["reported"]))
    if not maps:
        return None
    own = plan.training.local_over_global
    factors = {"usual": LOCAL_OVER_GLOBAL, **({"training": own} if own else {})}
    summaries = {name: real_summary(maps, factor) for name, factor in factors.items()}
    return {"maps": maps, "left_out": left_out, "factors": summaries}


def _notes(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return which baselines could not be had and why, with the number of entries."""
    notes: dict[str, int] = {}
    for record in records:
        for what, why in record["notes"].items():
            # An entry's own name would make every sentence another one.
            sentence = f"{what}: {why}".replace(record["entry"], "the entry")
            notes[sentence] = notes.get(sentence, 0) + 1
    return notes


def _short(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a map's record without its histograms."""
    left_out = ("histogram", "calibration")
    densities = {
        name: {key: value for key, value in of.items() if key not in left_out}
        for name, of in record["densities"].items()
    }
    return {**record, "densities": densities}
