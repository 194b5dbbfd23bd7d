"""``emres simulate``: atomic models -> maps and half maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emres.cli.cluster import cluster_of
from emres.cli.console import Console, exit_code, show_outcomes
from emres.cli.options import CONTEXT, PATH, on_cluster, to_store, with_console

if TYPE_CHECKING:
    from emres.run.simulation import SimulationPlan

COLUMNS = {"shape": "voxels (z y x)", "voxel_size": "Å/voxel", "resolution": "Å", "output": "in"}


@click.command(context_settings=CONTEXT)
@click.argument("models", nargs=-1, required=True, type=PATH, metavar="MODEL...")
@click.option("--voxel-size", type=float, metavar="Å", help="Half maps: the recipe's, or drawn, by default.")
@click.option(
    "--resolution", type=float, metavar="Å", help="Of the plain map; or where the FSC of the half maps crosses 0.143."
)
@click.option("--half-maps", is_flag=True, help="Two half maps, their average as depositors treat it, and the mask.")
@click.option("--recipe", metavar="NAME|FILE", help="What the half maps are like; drawn from the seed by default.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Number of the first version.  [default: 1]")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Versions of every model.")
@click.option("--box-size", type=click.IntRange(min=8), metavar="VOXELS", help="One that fits by default.")
@click.option("-o", "--output", type=PATH, metavar="PREFIX", help="Write PREFIX_map.mrc, PREFIX_half_map_1.mrc, ...")
@click.option("--force", is_flag=True, help="Replace other files of these names.")
@on_cluster
@to_store(required=False)
@with_console
def simulate(
    console: Console,
    models: tuple[Path, ...],
    recipe: str | None,
    output: Path | None,
    store: Path | None,
    force: bool,
    cluster: str | None,
    **options: Any,
) -> int:
    """Simulate maps of atomic models (PDB, mmCIF, gzipped or not); a model that fails never stops the others.

    Without --half-maps: the plain map, in which every atom is blurred to the resolution. With it: two half maps with
    noise, motion, solvent and all that a recipe says, the average as a depositor treats it, and the mask.

    An entry is called after its model, and the number of its version: 3hsy-1. Hydrogens and waters are left out, of
    alternative locations all are kept with their occupancies, of several models in a file the first is taken. Version
    k of a model is drawn from the SHA-256 of "NAME k": the same command makes the same bytes, and no two models share
    their noise. What is there already is not made again.

    \b
    Recipes: typical, plain, high-resolution, low-resolution, membrane, nucleic, flexible, symmetric,
    preferred-orientation, cropped, masked, resampled; or a .toml or .json file with any of their values:
      like = "typical"
      resolution = 3.1
      [noise]
      power = 1.0

    \b
    Examples:
      emres simulate 3hsy.cif.gz --voxel-size 1.06 --resolution 3.5 -o 3hsy
      emres simulate 3hsy.cif.gz --half-maps --recipe membrane --voxel-size 1.06 -o 3hsy
      emres simulate models/*.cif.gz --half-maps --count 4 --to store --cluster
      emres simulate 3hsy.cif.gz --half-maps --recipe mine.toml --seed 7 --to store
    """
    from emres.run.simulate import place_of, run_simulations
    from emres.run.simulation import SimulationPlan, simulations

    plan = SimulationPlan(recipe=_found(recipe), **options)
    todo = simulations(models, plan)
    place = place_of(store, output, len(todo), force)
    with cluster_of(console, cluster, len(todo)) as client, console.progress(len(todo), "maps") as report:
        ended = {outcome.name: outcome for outcome in run_simulations(todo, place, client, report)}
    outcomes = [ended[simulation.name] for simulation in todo]
    show_outcomes(console, outcomes, _columns(plan))
    return exit_code(outcomes)


def _columns(plan: SimulationPlan) -> dict[str, str]:
    return COLUMNS if plan.half_maps else {**COLUMNS, "resolution": "Å, everywhere"}


def _found(recipe: str | None) -> Any:
    from emres.simulate.recipe_files import find_recipe

    return find_recipe(recipe) if recipe else None


COMMANDS = (simulate,)
