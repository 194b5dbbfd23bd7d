"""``emres demo``: the main job, offline, on real maps that ship with emres."""

from __future__ import annotations

from pathlib import Path

import click

from emres.cli.batch import run_and_show
from emres.cli.console import Console
from emres.cli.options import CONTEXT, to_store, with_console


@click.command(context_settings=CONTEXT)
@to_store(required=False, default="demo")
@with_console
def demo(console: Console, store: Path) -> int:
    """Fetch, predict and export five real maps that ship with emres; no network is needed.

    \b
    Examples:
      emres demo
      emres demo --to /tmp/demo
    """
    from emres.archive.emdb import all_ids, embedded_mirror
    from emres.archive.store import Store
    from emres.run.batch import BatchPlan, fetch_by
    from emres.run.fetch import FetchPlan

    mirror, target = embedded_mirror(), Store(store / "store")
    plan = BatchPlan(
        target,
        export=store / "local_resolution",
        fetch=fetch_by(FetchPlan(target, mirror)),
    )
    console.say("five maps of EMDB (CC0) that ship with emres -> Zarr -> local resolution -> MRC")
    code = run_and_show(console, all_ids(mirror), plan, "local")
    console.say(f"maps as Zarr: {target.path}   (list them: emres ls {target.path})")
    return code


COMMANDS = (demo,)
