"""``emres estimate``: the reference methods, on one map or two half maps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from emres.cli.cluster import cluster_of
from emres.cli.console import Console, warn
from emres.cli.options import CONTEXT, PATH, masking, on_cluster, with_console


@click.command(context_settings=CONTEXT)
@click.argument("source", metavar="[INPUT]", required=False)
@click.option(
    "--method",
    type=click.Choice(["fsc", "monores", "monores-half", "resmap"]),
    required=True,
    help="fsc and monores-half compare two half maps, monores and resmap read one map.",
)
@click.option(
    "--definition",
    type=click.Choice(["dense", "relion", "blocres"]),
    help="Of fsc: emres' own at every voxel, RELION's, or blocres'.  [default: dense]",
)
@click.option("--threshold", type=float, metavar="FSC", help="Of fsc: 0.143 or 0.5.  [default: 0.143]")
@click.option("--half-map-1", type=PATH, metavar="A.mrc", help="The half maps, where they are files.")
@click.option("--half-map-2", type=PATH, metavar="B.mrc")
@click.option("--window", type=float, metavar="Å", help="Of fsc dense.  [default: 7 resolutions, at least 30 Å]")
@click.option("--sampling", type=float, metavar="Å", help="Of fsc relion: distance of the spheres.  [default: 25]")
@click.option("--box", type=int, metavar="VOXELS", help="Of fsc blocres: side of the cubes.  [default: 20]")
@click.option(
    "--step", type=float, metavar="N", help="Voxels between cubes (blocres), Å between resolutions (monores, resmap)."
)
@click.option("--min-resolution", type=float, metavar="Å", help="The finest answer (blocres, monores, resmap).")
@click.option("--max-resolution", type=float, metavar="Å", help="The coarsest answer (relion, monores, resmap).")
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT.mrc",
    help="The local-resolution map. [default for a map file: NAME_local_resolution.mrc in this folder]",
)
@click.option("--to", "store", type=PATH, metavar="STORE", help="Keep the maps and the result in this store.")
@click.option("--voxel-size", type=float, metavar="Å", help="Overrides a header without a usable voxel size.")
@click.option("--force", is_flag=True, help="Replace OUT.mrc if it exists.")
@on_cluster
@masking
@with_console
def estimate(
    console: Console,
    source: str | None,
    method: str,
    definition: str | None,
    threshold: float | None,
    half_map_1: Path | None,
    half_map_2: Path | None,
    cluster: str | None,
    **options: Any,
) -> int:
    """Estimate the local resolution (Å per voxel) by a reference method: local FSC, MonoRes, ResMap.

    INPUT is a map file, an entry group (STORE/EMD-13939.zarr), or the name of an entry of the store given by --to. Half
    maps are files, or lie in the entry (emres fetch ID --half-maps). Beside half maps INPUT is where the mask is found.

    \b
    Examples:
      emres estimate --method fsc --half-map-1 half1.mrc --half-map-2 half2.mrc -o local_resolution.mrc
      emres estimate store/EMD-11638.zarr --method fsc --definition relion --threshold 0.5
      emres estimate my_map.mrc --method monores --mask mask.mrc -o monores.mrc
      emres estimate store/EMD-11638.zarr --method fsc --cluster slurm:partition=cpu,memory=64GB
    """
    from emres.run.methods import make_recipe
    from emres.run.single import estimate_input

    start = time.perf_counter()
    names = ("window", "sampling", "box", "step", "min_resolution", "max_resolution")
    settings = {name: options.pop(name) for name in names}
    halves = _both(half_map_1, half_map_2)
    recipe = make_recipe(
        "monores-half" if method == "monores" and halves else method, definition, threshold, **settings
    )
    with cluster_of(console, cluster, 1) as client, console.progress(1, "maps") as report:
        facts = estimate_input(source, recipe, half_maps=halves, report=report, client=client, **options)
    facts["seconds"] = round(time.perf_counter() - start, 3)
    if not console.quiet:
        warn(facts["warnings"], str(source or half_map_1))
    if console.as_json:
        console.data(facts)
        return 0
    _tell(console, facts)
    return 0


def _both(first: Path | None, second: Path | None) -> tuple[Path, Path] | None:
    from emres.errors import UsageError

    if first is not None and second is not None:
        return first, second
    if first is not None or second is not None:
        raise UsageError("one half map was given", got=str(first or second), expected="--half-map-1 and --half-map-2")
    return None


def _tell(console: Console, facts: dict[str, Any]) -> None:
    window = f", window {facts['window']:.0f} Å" if facts["window"] else ""
    console.say(
        f"median local resolution [bold]{facts['median']:.2f} Å[/bold] "
        f"(5-95 %: {facts['p05']:.2f}-{facts['p95']:.2f} Å) in {facts['voxels']:,} voxels of the mask; "
        f"{facts['model']}, threshold {facts['threshold']:g}{window}, {facts['seconds']:.1f} s"
    )
    console.say(f"at the method's limits: {facts['capped_share']:.1%}, unresolved: {facts['unresolved_share']:.1%}")
    for key in ("store", "output"):
        if facts.get(key):
            console.say(f"{key}: {facts[key]}")


COMMANDS = (estimate,)
