"""What a data set is made of: entries by name or query, maps simulated for it, and which families they belong to."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.emdb import Mirror, search
from emres.archive.manifest import DataSet
from emres.archive.store import Store
from emres.errors import UsageError
from emres.run.build import BuildPlan, build
from emres.run.outcome import Report, no_report
from emres.run.simulate import recipe_of, run_simulations
from emres.run.simulated import StorePlace
from emres.run.simulation import SimulationPlan, models_in, simulations

if TYPE_CHECKING:
    from distributed import Client

    from emres.simulate.recipe import Recipe

MODEL_TABLE = "models.tsv"
_NAMES = ("entry", "model", "file", "name")


def read_families(path: Path | str) -> dict[str, str]:
    """Read which family an entry or model belongs to.

    Parameters
    ----------
    path : path
        Tab-separated: with a header that has ``family`` and one of ``entry``, ``model``, ``file``, or two columns
        without a header, the name and its family.

    Raises
    ------
    UsageError
        If it cannot be read, or is no such table.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.reader(lines, delimiter="\t") if row and not row[0].startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the families {path} cannot be read", got=str(error)) from error
    head = rows[0] if rows else []
    name, family = (next((k for k, word in enumerate(head) if word in words), None) for words in (_NAMES, ("family",)))
    if family is not None and name is not None:
        rows = rows[1:]
    else:
        name, family = 0, 1
    if not rows or any(len(row) <= max(name, family) for row in rows):
        raise UsageError(f"{path} is no table of families", expected="tab-separated: entry (or file) and family")
    return {row[name]: row[family] for row in rows}


def families_beside(models: Path) -> dict[str, str]:
    """Return the families that ``models.tsv`` beside the models tells; none where it tells none."""
    table = models / MODEL_TABLE
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", errors="replace") as lines:
        head = lines.readline().rstrip("\r\n").split("\t")
    return read_families(table) if "family" in head else {}


def with_simulated(
    plan: BuildPlan,
    models: Path | str,
    simulation: SimulationPlan,
    client: Client | None = None,
    report: Report = no_report,
) -> BuildPlan:
    """Simulate half maps of every model of a folder into the plan's store, and return the plan with them as entries.

    Their maps stay on the half maps' grid, as a patch shows one or the other. Families are those of ``models.tsv``
    beside the models, where the plan names none.

    Parameters
    ----------
    plan : BuildPlan
    models : path
    simulation : SimulationPlan
        Of half maps.
    client : distributed.Client, optional
    report : callable

    Returns
    -------
    BuildPlan
        Models that failed are in ``left_out``.
    """
    todo = simulations(models_in(models), replace(simulation, half_maps=True, same_grid=True))
    ended = {outcome.name: outcome for outcome in run_simulations(todo, StorePlace(plan.source), client, report)}
    failed = [ended[one.name] for one in todo if ended[one.name].status == "failed"]
    names = [one.name for one in todo if ended[one.name].status != "failed"]
    return replace(
        plan,
        names=[*plan.names, *names],
        families={**families_beside(Path(models)), **plan.families},
        left_out=[*plan.left_out, *failed],
    )


def build_dataset(
    to: Path | str,
    entries: str | Sequence[str] = (),
    *,
    query: str | None = None,
    simulate: Path | str | None = None,
    count: int = 1,
    deposits: int = 1,
    recipe: Recipe | Mapping[str, Any] | Path | str | None = None,
    voxel_size: float | None = None,
    targets: str | Sequence[str] = ("fsc",),
    store: Path | str | None = None,
    families: Path | str | dict[str, str] | None = None,
    mask: str = "auto",
    device: str = "auto",
    seed: int = 1,
    mirror: Mirror | Path | str | None = None,
    client: Client | None = None,
    report: Report = no_report,
) -> DataSet:
    """Make or extend a data set: fetch or simulate what is missing, compute targets, split by family.

    The same call goes on where it was interrupted. An entry that cannot be used is left out: ``made["left_out"]`` of
    the data set says why.

    Parameters
    ----------
    to : path
        The data set, a folder.
    entries : str or sequence of str
        Accessions, or names of entries of the store.
    query : str, optional
        EMDB's search language; what it finds is added.
    simulate : path, optional
        A folder of atomic models to simulate half maps of.
    count : int
        Versions of every model.
    deposits : int
        Maps of every version, which share one target: its half maps' average treated in so many ways.
    recipe, voxel_size
        Of the simulated half maps, as in :func:`emres.simulate_maps`; drawn by default.
    targets : str or sequence of str
        Reference methods: ``fsc``, ``fsc-relion@0.5``, ``monores``, ``resmap``, …
    store : path, optional
        ``TO/store`` by default.
    families : path or dict, optional
        Entry or model -> family; a file for :func:`read_families`.
    mask, device : str
        As in :func:`emres.estimate`.
    seed : int
        Of the split, and number of the first simulated version.
    mirror : Mirror, URL or folder, optional
    client : distributed.Client, optional
    report : callable

    Returns
    -------
    DataSet

    Raises
    ------
    EmresError
        If the call, the data set or the search is unusable.
    """
    source = mirror if isinstance(mirror, Mirror) else Mirror.at(mirror)
    plan = BuildPlan(
        folder=Path(to),
        names=[*([entries] if isinstance(entries, str) else entries), *(search(query, source) if query else ())],
        targets=[targets] if isinstance(targets, str) else list(targets),
        store=None if store is None else Store(Path(store)),
        mask=mask,
        device=device,
        families=families if isinstance(families, dict) else read_families(families) if families else {},
        seed=seed,
        mirror=source,
    )
    if simulate is not None:
        simulation = SimulationPlan(
            True, voxel_size, recipe=recipe_of(recipe), seed=seed, count=count, deposits=deposits
        )
        plan = with_simulated(plan, simulate, simulation, client, report)
    if not plan.names and not plan.left_out:
        raise UsageError("no entry was named", cure="name some, or give a query or a folder of models")
    return build(plan, client, report).dataset
