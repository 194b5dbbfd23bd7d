"""What is in a store, and into it: ``ls``, ``info``, ``status``, ``import``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from emres.cli.console import Console, duration
from emres.cli.options import CONTEXT, PATH, to_store, with_console


@click.command("ls", context_settings=CONTEXT)
@click.argument("store", type=PATH, metavar="STORE")
@with_console
def list_store(console: Console, store: Path) -> int:
    """List the entries of a store.

    \b
    Examples:
      emres ls store
      emres ls store --json
    """
    from emres.run.survey import survey

    rows = survey(store)
    if console.as_json:
        console.data(rows)
        return 0
    columns = ("entry", "voxels (z y x)", "Å/voxel", "reported Å", "median Å", "maps", "local resolutions")
    console.table(
        "",
        columns,
        [
            [
                row["name"],
                " x ".join(map(str, row["shape"])),
                f"{row['voxel_size']:.3f}",
                _number(row["resolution"]),
                _number(row["median"]),
                *_kinds(row["kinds"]),
            ]
            for row in rows
        ],
    )
    return 0


@click.command("info", context_settings=CONTEXT)
@click.argument("source", metavar="MAP|ENTRY", type=PATH)
@click.option("--voxel-size", type=float, metavar="Å", help="Overrides a header without a usable voxel size.")
@with_console
def info(console: Console, source: Path, voxel_size: float | None) -> int:
    """Show what a map file or an entry group holds.

    \b
    Examples:
      emres info emd_6824.map.gz
      emres info store/EMD-6824.zarr
    """
    from emres.run.survey import describe

    facts = describe(source, voxel_size)
    if console.as_json:
        console.data(facts)
        return 0
    for key, value in facts.items():
        if isinstance(value, dict):
            console.say(f"[bold]{key}[/bold]")
            for name, inner in value.items():
                console.say(f"  {name}: {_plain(inner)}")
        else:
            console.say(f"{key}: {_plain(value)}")
    return 0


@click.command("status", context_settings=CONTEXT)
@click.argument("store", type=PATH, metavar="STORE")
@with_console
def status(console: Console, store: Path) -> int:
    """Show how far the work in a store is: while it runs, or after it died.

    \b
    Examples:
      emres status store
    """
    from emres.run.survey import progress_of

    facts = progress_of(store)
    if console.as_json:
        console.data(facts)
        return 0
    console.say(f"{facts['entries']} entries, {facts['predicted']} with a local resolution")
    for run in facts["runs"]:
        _show_run(console, run)
    if facts["under_way"]:
        console.table(
            "under way, or left by a run that ended",
            ("entry", "what", "blocks"),
            [
                [row["name"], row["what"], f"{row['done']}/{row['blocks']}" if row["blocks"] else ""]
                for row in facts["under_way"]
            ],
        )
    return 0


def _show_run(console: Console, run: dict[str, Any]) -> None:
    """Tell of one run: how far it is, how fast, and what it is at; or when it was last heard of."""
    who = f"process {run['pid']} on {run['host']}, {run['model']}"
    ended = sum(run["ended"].values())
    counts = ", ".join(f"{count} {status}" for status, count in sorted(run["ended"].items()))
    told = f"{ended} of {run['total']} entries" + (f" ({counts})" if counts else "")
    if not run["alive"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run["seen"]))
        console.say(f"died: {who}: {told}; last heard of at {when}. The same command goes on from there.")
        return
    left = "" if run["left"] is None else f", {duration(run['left'])} left"
    console.say(f"running: {who}: {told}, {run['rate']:.3g} a minute{left}")
    if run["dashboard"]:
        console.say(f"dashboard: {run['dashboard']}")
    rows = [
        [entry["name"], entry["stage"], f"{entry['done']}/{entry['total']}" if entry["total"] else ""]
        for entry in run["under_way"]
    ]
    console.table("", ("entry", "stage", "steps"), rows)


@click.command("import", context_settings=CONTEXT)
@click.argument("source", metavar="MAP", type=PATH)
@click.option("--name", required=True, help="The entry's name; half maps and masks join it under the same name.")
@click.option(
    "--kind", type=click.Choice(["map", "half_map_1", "half_map_2", "mask"]), default="map", show_default=True
)
@click.option("--voxel-size", type=float, metavar="Å", help="Overrides a header without a usable voxel size.")
@to_store()
@with_console
def import_(console: Console, source: Path, name: str, kind: str, voxel_size: float | None, store: Path) -> int:
    """Bring a map of your own into a store.

    \b
    Examples:
      emres import run_class001.mrc --name ribosome --to store
      emres import run_half1_class001_unfil.mrc --name ribosome --kind half_map_1 --to store
    """
    from emres.archive.store import Store
    from emres.run.ingest import import_map

    with console.progress(1, "maps") as report:
        group = import_map(
            source,
            Store(store),
            name,
            kind=kind,
            voxel_size=voxel_size,
            progress=lambda done, total: report(name, "read", done, total),
        )
    if console.as_json:
        console.data({"name": group.name, "kind": kind, "store": str(group.path)})
    console.say(f"{kind}: {group.path / kind}")
    return 0


def _kinds(kinds: list[str]) -> tuple[str, str]:
    results = [kind.split("/")[1] for kind in kinds if "/" in kind]
    return ", ".join(kind for kind in kinds if "/" not in kind), ", ".join(results)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_plain(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


COMMANDS = (list_store, info, status, import_)
