"""``emres fetch``: the archive -> the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from emres.cli.console import Console, exit_code, show_outcomes
from emres.cli.options import CONTEXT, archive, selecting, to_store, with_console

if TYPE_CHECKING:
    from emres.archive.emdb import Mirror
    from emres.run.fetch import FetchPlan


@click.command(context_settings=CONTEXT)
@click.option("--half-maps", is_flag=True, help="Fetch both half maps too.")
@click.option("--masks", is_flag=True, help="Fetch the masks too.")
@click.option("--jobs", type=click.IntRange(1, 4), default=4, show_default=True, help="Downloads at once.")
@click.option("--force", is_flag=True, help="Fetch again what is there already.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and fetch nothing.")
@click.option("--print-urls", is_flag=True, help="Print the addresses of the files, and fetch nothing.")
@to_store(required=False, default="emdb")
@archive
@selecting
@with_console
def fetch(
    console: Console,
    ids: tuple[str, ...],
    list_file: Path | None,
    query: str | None,
    mirror: str | None,
    api: str | None,
    store: Path,
    half_maps: bool,
    masks: bool,
    jobs: int,
    force: bool,
    dry_run: bool,
    print_urls: bool,
) -> int:
    """Fetch maps from EMDB into a store (Zarr), verified, resumable, each file once.

    \b
    Examples:
      emres fetch EMD-13939 --to store
      emres fetch EMD-11638 EMD-13939 --half-maps --masks --to store
      emres fetch --query 'resolution:[2 TO 3] AND half_map_filename:[* TO *]' --to store --dry-run
      emres fetch EMD-6824 --mirror /data/emdb --to store
    """
    from emres.archive.emdb import Mirror
    from emres.archive.store import Store
    from emres.run.fetch import FetchPlan, fetch_entries

    source = Mirror.at(mirror, api=api)
    names = chosen(ids, list_file, query, source)
    plan = FetchPlan(Store(store), source, half_maps, masks, force)
    if dry_run or print_urls:
        return _list_files(console, names, plan, print_urls)
    with console.progress(len(names), "entries") as report:
        outcomes = list(fetch_entries(names, plan, jobs=jobs, report=report))
    show_outcomes(console, outcomes, {"kinds": "fetched", "store": "in"})
    return exit_code(outcomes)


def chosen(ids: tuple[str, ...], list_file: Path | None, query: str | None, mirror: Mirror) -> list[str]:
    """Return the entries that arguments, ``--list`` and ``--query`` name together, each once.

    Raises
    ------
    UsageError
        If they name none, or the list cannot be read.
    """
    from emres.archive.emdb import search
    from emres.errors import UsageError

    names = list(ids)
    if list_file is not None:
        try:
            lines = list_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the list {list_file} cannot be read", got=str(error)) from error
        names += [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    if query is not None:
        names += search(query, mirror)
    if not names:
        raise UsageError("no entry was named", cure="name some (EMD-13939), or use --list FILE or --query QUERY")
    return list(dict.fromkeys(names))


def _list_files(console: Console, names: list[str], plan: FetchPlan, print_urls: bool) -> int:
    from emres.archive.emdb import fetch_entry
    from emres.run.fetch import is_current, wanted_files

    found = []
    for name in names:
        entry = fetch_entry(plan.mirror, name)
        group = plan.store.entry(entry.emdb_id)
        for file in wanted_files(entry, plan):
            current = is_current(group, file) and not plan.force
            found.append(
                {
                    "emdb_id": entry.emdb_id,
                    "kind": file.kind,
                    "url": plan.mirror.url(file.path),
                    "md5": file.md5,
                    "in_store": current,
                }
            )
    if console.as_json:
        console.data(found)
    elif print_urls:
        print("\n".join(str(file["url"]) for file in found))
    else:
        console.table(
            "",
            ["entry", "kind", "", "from"],
            [
                [
                    str(file["emdb_id"]),
                    str(file["kind"]),
                    "in the store" if file["in_store"] else "to fetch",
                    str(file["url"]),
                ]
                for file in found
            ],
        )
    return 0


COMMANDS = (fetch,)
