"""``emres dataset``: entries -> targets -> a data set; what it holds; in and out of the predecessor's HDF5."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emres.cli.cluster import cluster_of
from emres.cli.console import Console, exit_code, show_outcomes, warn
from emres.cli.options import CONTEXT, PATH, archive, masking, on_cluster, with_console

if TYPE_CHECKING:
    from emres.archive.emdb import Mirror
    from emres.archive.store import Store
    from emres.run.build import BuildPlan
    from emres.run.simulation import SimulationPlan

SPLITS = ("train", "validation", "test")
COLUMNS = {"model": "target", "median": "median Å", "p05": "5 %", "p95": "95 %", "voxels": "voxels"}

_BAR, _LINES = 40, 24  # characters, lines
_FEW = 0.002  # of all voxels


@click.group(context_settings=CONTEXT)
def dataset() -> None:
    """Make and show data sets to train on: lists of entries with targets, split by family; nothing is copied.

    \b
    Examples:
      emres dataset build --to set --simulate models --count 2 --target fsc --cluster
      emres dataset info set --picture set.png
    """


@dataset.command(context_settings=CONTEXT)
@click.option("--to", "folder", type=PATH, required=True, metavar="DATASET", help="The data set: made, or extended.")
@click.option(
    "--entries",
    multiple=True,
    metavar="LIST|IDS",
    help="A file with one a line, or names with commas: accessions, or entries of the store.",
)
@click.option("--query", metavar="QUERY", help="EMDB's search language: every entry that it finds.")
@click.option("--all", "everything", is_flag=True, help="Every entry of the store.")
@click.option("--simulate", "models", type=PATH, metavar="FOLDER", help="Simulate half maps of every model in it.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Versions of every model.")
@click.option(
    "--deposits",
    type=click.IntRange(1, 99),
    default=1,
    show_default=True,
    help="Maps of every version: the average of its half maps, treated in so many ways. They share one target.",
)
@click.option("--recipe", metavar="NAME|FILE", help="What simulated maps are like; drawn by default.")
@click.option("--voxel-size", type=float, metavar="Å", help="Of simulated maps; drawn by default.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("fsc",),
    show_default="fsc",
    metavar="METHOD",
    help="fsc, fsc-relion, fsc-blocres, monores, monores-half, resmap; may be given again.",
)
@click.option("--store", type=PATH, metavar="STORE", help="Where the entries are.  [default: DATASET/store]")
@click.option("--families", type=PATH, metavar="FILE", help="Tab-separated: entry or model, and its family.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the split; first simulated version."
)
@click.option("--fewest-voxels", "fewest", type=click.IntRange(min=1), default=500, show_default=True,
              help="Leave out entries with a target in fewer.")  # fmt: skip
@click.option("--most-unresolved", type=click.FloatRange(0, 1), default=0.5, show_default=True, metavar="SHARE",
              help="Leave out entries of whose mask more has no local resolution.")  # fmt: skip
@on_cluster
@masking
@archive
@with_console
def build(
    console: Console,
    entries: tuple[str, ...],
    query: str | None,
    everything: bool,
    models: Path | None,
    count: int,
    deposits: int,
    recipe: str | None,
    voxel_size: float | None,
    cluster: str | None,
    mirror: str | None,
    api: str | None,
    store: Path | None,
    families: Path | None,
    **options: Any,
) -> int:
    """Make a data set, or extend one: fetch or simulate what is missing, compute targets, split by family.

    Families are split 70 : 15 : 15 into train, validation and test; none is on two sides, and none ever moves. They are
    told by --families or by models.tsv beside the models (columns file and family); what neither names is a
    family of its own. Entries that cannot be used are left out, with the reason on record, and the others go on. The
    same command goes on where it was interrupted.

    \b
    Examples:
      emres dataset build --to set --simulate models --count 2 --target fsc --cluster
      emres dataset build --to set --entries EMD-13939,EMD-11638 --target fsc --target monores
      emres dataset build --to set --all --store store --target resmap
      emres dataset build --to set --query 'resolution:[2 TO 6] AND half_map_filename:[* TO *]' --cluster
    """
    from emres.archive.emdb import Mirror
    from emres.archive.store import Store
    from emres.run.build import BuildPlan
    from emres.run.simulate import recipe_of
    from emres.run.simulation import SimulationPlan
    from emres.run.sources import read_families

    source = Mirror.at(mirror, api=api)
    known = read_families(families) if families else {}
    plan = BuildPlan(names=(), store=Store(store) if store else None, families=known, mirror=source, **options)
    names = _named(entries, query, everything, plan.source, source, required=models is None)
    simulation = SimulationPlan(
        True, voxel_size, recipe=recipe_of(recipe), seed=plan.seed, count=count, deposits=deposits
    )
    return _build(console, replace(plan, names=names), models, simulation, cluster)


def _named(
    entries: tuple[str, ...], query: str | None, everything: bool, store: Store, mirror: Mirror, *, required: bool
) -> list[str]:
    """Return the entries that the options name together, each once."""
    from emres.cli.fetch import chosen

    names = [group.name for group in store] if everything else []
    for word in entries:
        if Path(word).is_file():
            names += chosen((), Path(word), None, mirror)
        else:
            names += [name.strip() for name in word.split(",") if name.strip()]
    if (names and query is None) or not (query or required):
        return list(dict.fromkeys(names))
    return chosen(tuple(names), None, query, mirror)


def _build(
    console: Console, plan: BuildPlan, models: Path | None, simulation: SimulationPlan, cluster: str | None
) -> int:
    from emres.run.build import build as build_from
    from emres.run.simulation import models_in
    from emres.run.sources import with_simulated

    simulated = simulation.count * len(models_in(models)) if models else 0
    steps = simulated + (len(plan.names) + simulated) * len(plan.targets)
    with cluster_of(console, cluster, max(1, steps)) as client, console.progress(steps, "steps") as report:
        if models is not None:
            plan = with_simulated(plan, models, simulation, client, report)
        built = build_from(plan, client, report)
    order = {name: k for k, name in enumerate(plan.names)}
    outcomes = sorted(built.outcomes, key=lambda outcome: order.get(outcome.name, -1))
    show_outcomes(console, outcomes, COLUMNS)
    found = built.dataset
    sides = ", ".join(f"{len(found.side(split))} {split}" for split in SPLITS)
    console.say(f"{found.folder}: {len(found.rows)} rows ({sides}); look at it: emres dataset info {found.folder}")
    return exit_code(outcomes)


@dataset.command(context_settings=CONTEXT)
@click.argument("folder", type=PATH, metavar="DATASET")
@click.option("--picture", type=PATH, metavar="FILE.png", help="Draw the resolutions of the targets.")
@with_console
def info(console: Console, folder: Path, picture: Path | None) -> int:
    """Show what a data set holds: counts, sides of the split, the resolutions of its targets.

    \b
    Examples:
      emres dataset info set
      emres dataset info set --picture set.png
      emres dataset info set --json
    """
    from emres.archive.manifest import read_dataset
    from emres.run.dataset_info import describe_dataset

    facts = describe_dataset(read_dataset(folder))
    if picture is not None:
        _draw(facts["resolution"], picture, folder)
    if console.as_json:
        console.data(facts)
        return 0
    console.say(f"{facts['entries']} entries, targets: {', '.join(facts['targets'])}")
    rows = [[split, *(f"{n:,}" for n in facts["splits"][split].values())] for split in SPLITS]
    console.table("", ["side", "rows", "families", "voxels"], rows)
    _bars(console, facts["resolution"])
    warn(facts["warnings"], str(folder))
    return 0


def _draw(resolution: dict[str, Any], picture: Path, folder: Path) -> None:
    from emres.archive.disk import disk_errors
    from emres.view.resolution_histogram import histogram_picture

    with disk_errors(picture):
        picture.parent.mkdir(parents=True, exist_ok=True)
        histogram_picture(resolution["edges"], {s: resolution[s] for s in SPLITS}, picture, title=folder.name)


def _bars(console: Console, resolution: dict[str, Any]) -> None:
    """Print the histogram, a bar a line; the few voxels that are coarser than all others share the last one."""
    edges, totals = resolution["edges"], [sum(voxels) for voxels in zip(*(resolution[s] for s in SPLITS), strict=True)]
    if not (totals and console.speaks):
        return
    whole, last = sum(totals), len(totals) - 1
    while sum(totals[last:]) < _FEW * whole:
        last -= 1
    together = 1 + last // _LINES
    starts = range(0, last + 1, together)
    sums = [sum(totals[k : k + together if k + together <= last else None]) for k in starts]
    lines = [
        [f"{edges[k]:.2f}", f"{100 * n / whole:.1f}", "█" * round(_BAR * n / max(sums))]
        for k, n in zip(starts, sums, strict=True)
    ]
    console.table("", ["from Å", "% of voxels", ""], lines)


@dataset.command("import-hdf5", context_settings=CONTEXT)
@click.argument("source", type=PATH, metavar="FILE")
@click.option("--to", "folder", type=PATH, required=True, metavar="DATASET", help="The data set: made, or extended.")
@click.option("--split", type=click.Choice(SPLITS), required=True, help="Side of the split that all cubes are on.")
@click.option("--name", required=True, help="Of the entry, and of its target.")
@click.option("--voxel-size", type=float, default=1.0, show_default=True, metavar="Å", help="Of the cubes.")
@with_console
def import_hdf5(console: Console, source: Path, folder: Path, split: str, name: str, voxel_size: float) -> int:
    """Bring in cubes of the predecessor: HDF5 with map and target, (N, 16, 16, 16), Å, 100 for no resolution.

    \b
    Examples:
      emres dataset import-hdf5 train.h5 --to set --split train --name deepres
    """
    from emres.run.cubes import import_hdf5 as bring_in

    with console.progress(1, "files") as report:
        found = bring_in(
            source, folder, name=name, split=split, voxel_size=voxel_size,
            progress=lambda done, total: report(name, "cubes", done, total),
        )  # fmt: skip
    row = next(row for row in found.rows if row.entry == name)
    facts = {"entry": name, "split": split, "voxels": row.voxels, "median": row.resolution, "dataset": str(folder)}
    if console.as_json:
        console.data(facts)
    console.say(f"{folder}: {name}, {row.voxels:,} voxels with a target, median {row.resolution:.2f} Å")
    return 0


@dataset.command("export-hdf5", context_settings=CONTEXT)
@click.argument("folder", type=PATH, metavar="DATASET")
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The HDF5 file.")
@click.option("--split", "splits", type=click.Choice(SPLITS), multiple=True, help="Sides to write; all by default.")
@click.option("--voxel-size", type=float, metavar="Å", help="Resample every map to it; its own by default.")
@click.option("--force", is_flag=True, help="Replace the file.")
@with_console
def export_hdf5(
    console: Console, folder: Path, output: Path, splits: tuple[str, ...], voxel_size: float | None, force: bool
) -> int:
    """Write the predecessor's cubes: HDF5 with map (0..1) and target (Å, 100 for none), (N, 16, 16, 16).

    Maps are cut without overlap; cubes in which no voxel has a target are left out.

    \b
    Examples:
      emres dataset export-hdf5 set --split train -o train.h5
      emres dataset export-hdf5 set --split validation --voxel-size 1 -o validation.h5
    """
    from emres.run.cubes import export_hdf5 as write_out

    with console.progress(1, "files") as report:
        facts = write_out(
            folder, output, splits=splits or SPLITS, voxel_size=voxel_size, overwrite=force,
            progress=lambda done, total: report(output.name, "entries", done, total),
        )  # fmt: skip
    if console.as_json:
        console.data({**facts, "output": str(output)})
    console.say(f"{output}: {facts['cubes']:,} cubes of {facts['entries']} entries")
    return 0


COMMANDS = (dataset,)
