"""``emres predict``: one map."""

from __future__ import annotations

import time
from typing import Any

import click

from emres.cli.cluster import cluster_of
from emres.cli.console import Console, warn
from emres.cli.options import CONTEXT, PATH, on_cluster, predicting, with_console


@click.command(context_settings=CONTEXT)
@click.argument("source", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT.mrc",
    help="The local-resolution map. [default for a map file: NAME_local_resolution.mrc in this folder]",
)
@click.option("--to", "store", type=PATH, metavar="STORE", help="Keep the map and the result in this store.")
@click.option("--voxel-size", type=float, metavar="Å", help="Overrides a header without a usable voxel size.")
@click.option(
    "--resolution",
    type=float,
    metavar="Å",
    help="Of the whole map (its FSC at 0.143): the model takes the level of its answer from it. [default: what the "
    "entry reports]",
)
@click.option("--blind", is_flag=True, help="Tell the model nothing but the map.")
@click.option("--uncertainty", type=PATH, metavar="OUT.mrc", help="Write one standard deviation of every voxel, Å.")
@click.option("--force", is_flag=True, help="Replace OUT.mrc if it exists.")
@on_cluster
@predicting
@with_console
def predict(console: Console, source: str, cluster: str | None, **options: Any) -> int:
    """Predict the local resolution (Å per voxel) of one map.

    INPUT is a map file (.map, .mrc, .ccp4, also .gz or .bz2), an entry group (STORE/EMD-13939.zarr), or the name of an
    entry of the store given by --to.

    \b
    Examples:
      emres predict emd_6824.map.gz -o emd_6824_local_resolution.mrc
      emres predict my_map.mrc --resolution 3.4 --uncertainty my_map_uncertainty.mrc
      emres predict store/EMD-6824.zarr
      emres predict store/EMD-6824.zarr --cluster gpu
      emres predict EMD-6824 --to store --mask contour -o EMD-6824_local_resolution.mrc
    """
    from emres.run.single import predict_input

    start = time.perf_counter()
    # Of a map that is too big for one task, its blocks are; how many there are is not known yet.
    with cluster_of(console, cluster, None) as client, console.progress(1, "maps") as report:
        facts = predict_input(source, report=report, client=client, **options)
    facts["seconds"] = round(time.perf_counter() - start, 3)  # all of it, reading and writing too
    if console.as_json:
        console.data(facts)
        return 0
    console.say(
        f"median local resolution [bold]{facts['median']:.2f} Å[/bold] "
        f"(5-95 %: {facts['p05']:.2f}-{facts['p95']:.2f} Å) in {facts['voxels']:,} voxels of the mask, "
        f"model {facts['model']}, {facts['seconds']:.1f} s"
    )
    if facts.get("uncertainty"):
        told = (
            f"told {facts['reported']:g} Å for the whole map" if facts.get("reported") else "told nothing but the map"
        )
        console.say(f"uncertainty: {facts['uncertainty']:.2f} Å (median of one standard deviation), {told}")
    if not console.quiet:
        warn(facts.get("warnings", ()), source)
    for key in ("store", "output", "uncertainty_output"):
        if facts.get(key):
            console.say(f"{key.replace('_', ' ')}: {facts[key]}")
    return 0


COMMANDS = (predict,)
