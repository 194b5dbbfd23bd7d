"""``emres report``: a page that shows one map and its local resolution, or a table of all of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from emres.cli.console import Console, warn
from emres.cli.options import CONTEXT, PATH, with_console


@click.command(context_settings=CONTEXT)
@click.argument("source", metavar="ENTRY|MAP|STORE")
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT.html",
    help="The page.  [default: NAME_report.html, of a store index.html, in this folder]",
)
@click.option("--to", "store", type=PATH, metavar="STORE", help="The store that ENTRY is a name in.")
@click.option(
    "--local-resolution",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="A local-resolution map of any program on the map's grid, shown beside those of the entry; may be repeated.",
)
@click.option("--voxel-size", type=float, metavar="Å", help="Overrides a header without a usable voxel size.")
@click.option("--result", metavar="NAME", help="Of a store: which local resolution.  [default: each entry's newest]")
@click.option("--table", type=PATH, metavar="FILE.csv|.parquet", help="Of a store: the table as a file too.")
@click.option(
    "--reports",
    type=PATH,
    metavar="DIR",
    help="Of a store: where NAME_report.html lie, to link.  [default: beside OUT]",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@with_console
def report(
    console: Console,
    source: str,
    output: Path | None,
    result: str | None,
    table: Path | None,
    reports: Path | None,
    force: bool,
    **options: Any,
) -> int:
    """Write one HTML page that shows a map and its local resolution, and opens without a network.

    It shows the surface coloured by local resolution, slices, the distribution, the FSC of half maps, and how several
    local resolutions compare. ENTRY is an entry group (STORE/EMD-13939.zarr) or a name in the store given by --to; MAP
    is a map file. Local resolutions are shown, not computed: make them first, with emres predict or emres estimate.

    Of a STORE the page is one table of all entries that sorts and filters: those far from what is reported on top, then
    those that failed, with their reasons. Reports of entries that lie beside it are linked.

    \b
    Examples:
      emres report store/EMD-6824.zarr -o report.html
      emres report EMD-6824 --to store
      emres report my_map.mrc --local-resolution my_map_local_resolution.mrc --local-resolution monores.mrc
      emres report store -o index.html --table entries.csv
    """
    from emres.cli.batch_page import batch_page, check_options

    of_store = {"result": result, "table": table, "reports": reports}
    if check_options(source, options, of_store):
        return batch_page(console, Path(source), output, force=force, **of_store)
    from emres.run.report import report as write_report
    from emres.run.single import map_stem

    path = Path(f"{map_stem(Path(source)).removesuffix('.zarr')}_report.html") if output is None else output
    with console.progress(1, "reports") as progress:
        facts = write_report(source, path, report=progress, force=force, **options)
    if console.as_json:
        console.data(facts)
        return 0
    results = ", ".join(facts["results"]) or "no local resolution yet (emres predict makes one)"
    if not console.quiet:
        warn([*facts["warnings"], *facts["notes"]], facts["name"])
    console.say(f"{facts['name']}: {results}; {facts['bytes'] / 1e6:.1f} MB in {facts['seconds']:.1f} s")
    console.say(f"output: {facts['output']}")
    return 0


COMMANDS = (report,)
