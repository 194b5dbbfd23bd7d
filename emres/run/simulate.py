"""Atomic models -> simulated maps, many of them at once. A model that fails never stops the others.

A map is one task, from the file of the model (``emres.run.simulation``) to its place (``emres.run.simulated``).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.store import Store
from emres.errors import UsageError
from emres.run.outcome import Outcome, Report, no_report, outcome_of
from emres.run.simulated import FilePlace, Place, StorePlace
from emres.run.simulation import Simulation, SimulationPlan, simulations

if TYPE_CHECKING:
    from distributed import Client

    from emres.simulate.recipe import Recipe


def run_simulations(
    todo: Iterable[Simulation], place: Place, client: Client | None = None, report: Report = no_report
) -> Iterator[Outcome]:
    """Simulate, yielding what came of each as it ends.

    Parameters
    ----------
    todo : iterable of Simulation
    place : Place
    client : distributed.Client, optional
        Where to compute; in this process without one.
    report : callable

    Yields
    ------
    Outcome
    """
    ended = _on_cluster(todo, place, client, report) if client else _here(todo, place, report)
    for outcome in ended:
        report(outcome.name, outcome.status, 1, 1)
        yield outcome


def _here(todo: Iterable[Simulation], place: Place, report: Report) -> Iterator[Outcome]:
    for simulation in todo:
        report(simulation.name, "simulate", 0, 0)
        yield _simulated(simulation, place)


def _simulated(simulation: Simulation, place: Place) -> Outcome:
    return outcome_of(simulation.name, partial(simulation.run, place))


def _on_cluster(todo: Iterable[Simulation], place: Place, client: Client, report: Report) -> Iterator[Outcome]:
    from distributed import as_completed

    place, run = place.absolute(), uuid.uuid4().hex[:8]
    futures: dict[Any, str] = {}
    try:
        for simulation in todo:
            whole = replace(simulation, model=simulation.model.absolute())
            future = client.submit(_simulated, whole, place, key=f"simulate-{simulation.name}-{run}", pure=False)
            futures[future] = simulation.name
            report(simulation.name, "simulate", 0, 0)
        for future in as_completed(list(futures)):
            yield _ended(futures[future], future)
    finally:
        client.cancel(list(futures))


def _ended(name: str, future: Any) -> Outcome:
    """Return what came of a task; one whose worker died is a failure like any other."""
    if future.status == "finished":
        outcome: Outcome = future.result()
        return outcome
    reason = f"the simulation of {name} did not end ({future.status}); give the workers more memory and run it again"
    return Outcome(name, "failed", reason)


def simulate_maps(
    models: Path | str | Sequence[Path | str],
    *,
    to: Path | str | None = None,
    output: Path | str | None = None,
    half_maps: bool = False,
    voxel_size: float | None = None,
    resolution: float | None = None,
    recipe: Recipe | Mapping[str, Any] | Path | str | None = None,
    seed: int | None = None,
    count: int = 1,
    box_size: int | None = None,
    overwrite: bool = False,
    client: Client | None = None,
    report: Report = no_report,
) -> list[Outcome]:
    """Simulate maps of atomic models.

    Parameters
    ----------
    models : path or sequence of paths
        PDB or mmCIF, may be gzipped.
    to : path, optional
        The store that gets an entry for each; or
    output : path, optional
        Beginning of file names: ``output_map.mrc``, ``output_half_map_1.mrc``, …
    half_maps, voxel_size, resolution, seed, count, box_size
        See :class:`SimulationPlan`.
    recipe : Recipe, mapping, name or file, optional
    overwrite : bool
        Replace files of other maps under these names.
    client : distributed.Client, optional
        From ``emres.connect``; without one everything runs in this process.
    report : callable

    Returns
    -------
    list of Outcome
        One a map; ``status`` is ``done``, ``skipped`` (there already) or ``failed`` with its ``reason``.

    Raises
    ------
    UsageError
        If the call itself is wrong.
    """
    paths = [models] if isinstance(models, (str, Path)) else list(models)
    plan = SimulationPlan(half_maps, voxel_size, resolution, recipe_of(recipe), seed, count, box_size)
    todo = simulations(paths, plan)
    return list(run_simulations(todo, place_of(to, output, len(todo), overwrite), client, report))


def recipe_of(given: Recipe | Mapping[str, Any] | Path | str | None) -> Recipe | None:
    """Return a recipe from what stands for it: its values, its name or its file.

    Raises
    ------
    UsageError
        If there is no such recipe.
    """
    from emres.simulate.recipe_files import find_recipe, recipe_from

    if isinstance(given, Mapping):
        return recipe_from(given)
    return find_recipe(given) if isinstance(given, (str, Path)) else given


def place_of(to: Path | str | None, output: Path | str | None, maps: int, overwrite: bool = False) -> Place:
    """Return where maps go: to a store, or to files.

    Raises
    ------
    UsageError
        If both or neither are named.
    """
    if (to is None) == (output is None):
        raise UsageError(
            "simulated maps go to a store or to files", got="both" if to else "neither", expected="--to or -o"
        )
    return FilePlace(Path(str(output)), maps > 1, overwrite) if output is not None else StorePlace(Store(Path(str(to))))
