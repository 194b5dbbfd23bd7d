"""``emres batch-predict``: many entries, on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emres.cli.cluster import cluster_of
from emres.cli.console import Console, exit_code, show_outcomes
from emres.cli.fetch import chosen
from emres.cli.options import CONTEXT, PATH, archive, on_cluster, predicting, selecting, to_store, with_console

if TYPE_CHECKING:
    from emres.archive.emdb import Mirror
    from emres.run.batch import BatchPlan
    from emres.run.outcome import Outcome

COLUMNS = {"median": "median Å", "p05": "5 %", "p95": "95 %", "voxels": "voxels in mask"}


@click.command("batch-predict", context_settings=CONTEXT)
@click.option("--all", "everything", is_flag=True, help="Every entry of the store, or of a mirror given by --mirror.")
@on_cluster
@click.option("--export", "export", type=PATH, metavar="DIR", help="Write DIR/<entry>_local_resolution.mrc.")
@click.option("--blind", is_flag=True, help="Tell the model nothing but the maps, though entries report a resolution.")
@click.option(
    "--max-cache",
    type=click.FloatRange(min=0),
    metavar="GB",
    help="Room for maps that are fetched now: beyond it those that have served go, and the next ones wait.",
)
@click.option("--performance-report", type=PATH, metavar="FILE", help="Write Dask's report of the work, HTML.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@to_store()
@predicting
@archive
@selecting
@with_console
def batch_predict(
    console: Console,
    ids: tuple[str, ...],
    list_file: Path | None,
    query: str | None,
    everything: bool,
    mirror: str | None,
    api: str | None,
    store: Path,
    cluster: str | None,
    export: Path | None,
    blind: bool,
    max_cache: float | None,
    performance_report: Path | None,
    dry_run: bool,
    **prediction: str,
) -> int:
    """Fetch what is missing, predict, and export many entries; an entry that fails never stops the others.

    --model takes a net or a reference method (fsc, fsc-relion, fsc-blocres, monores, monores-half, resmap). Whatever is
    done already is not done again: after an interruption the same command goes on.

    \b
    Examples:
      emres batch-predict EMD-13939 EMD-11638 --to store --export results --cluster
      emres batch-predict --list ids.txt --to store --cluster tcp://10.0.0.5:8786
      emres batch-predict EMD-11638 --to store --model fsc --export results
      emres batch-predict --all --to store --export results --json
    """
    from emres.archive.emdb import Mirror
    from emres.archive.store import Store
    from emres.run.batch import BatchPlan, fetch_by, needs_half_maps
    from emres.run.fetch import FetchPlan

    source, target = Mirror.at(mirror, api=api), Store(store)
    names = _everything(target, source if mirror else None) if everything else chosen(ids, list_file, query, source)
    sources = FetchPlan(target, source, half_maps=needs_half_maps(prediction["model"]))
    room = None if max_cache is None else int(max_cache * 1e9)
    plan = BatchPlan(target, export=export, fetch=fetch_by(sources), blind=blind, max_cache=room, **prediction)
    if dry_run:
        return _tell_plan(console, names, plan)
    return run_and_show(console, names, plan, cluster, performance_report)


def run_and_show(
    console: Console, names: list[str], plan: BatchPlan, cluster: str | None, performance: Path | None = None
) -> int:
    """Run a batch with progress bars and show what came of it, also where it breaks off; return the exit code."""
    from emres.errors import EmresError
    from emres.run.batch import run_batch
    from emres.run.cluster_report import reporting

    outcomes: list[Outcome] = []
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    try:
        with (
            cluster_of(console, cluster, len(order)) as client,
            reporting(client, performance),
            console.progress(len(order), "maps") as report,
        ):
            for outcome in run_batch(names, plan, client, report):
                outcomes.append(outcome)  # noqa: PERF402: those before an error are shown
    except EmresError:
        if not console.as_json:  # which says the error, and nothing beside it
            show_outcomes(console, outcomes, COLUMNS)
        raise
    show_outcomes(console, sorted(outcomes, key=lambda outcome: order[outcome.name]), COLUMNS)
    if plan.export is not None:
        console.say(f"local-resolution maps: {plan.export}/*_local_resolution.mrc")
    return exit_code(outcomes)


def _everything(store: Any, mirror: Mirror | None) -> list[str]:
    from emres.archive.emdb import all_ids
    from emres.errors import UsageError

    names = all_ids(mirror) if mirror else [group.name for group in store]
    if not names:
        raise UsageError(f"{store.path} holds no entry", cure="fetch some: emres fetch EMD-13939 --to STORE")
    return names


def _tell_plan(console: Console, names: list[str], plan: BatchPlan) -> int:
    from emres.run.batch import planned

    steps = {name: planned(name, plan) for name in names}
    if console.as_json:
        console.data([{"name": name, "steps": todo} for name, todo in steps.items()])
    else:
        console.table("", ["entry", "to do"], [[name, ", ".join(todo) or "nothing"] for name, todo in steps.items()])
    return 0


COMMANDS = (batch_predict,)
