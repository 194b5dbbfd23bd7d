"""``emres view``: an entry before one's eyes, in the browser."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emres.cli.console import Console
from emres.cli.options import CONTEXT, PATH, with_console

if TYPE_CHECKING:
    from emres.run.view import View


@click.command(context_settings=CONTEXT)
@click.argument("entry", metavar="ENTRY")
@click.option(
    "--neuroglancer", is_flag=True, help="Serve it to neuroglancer until Ctrl-C: slices of a map of any size."
)
@click.option(
    "--kind",
    metavar="KIND",
    help="local_resolution/NAME, for --neuroglancer.  [default: the local resolution that was written last]",
)
@click.option(
    "--palette",
    default="rainbow",
    show_default=True,
    metavar="NAME",
    help="rainbow, viridis or cividis, for --neuroglancer.",
)
@click.option(
    "--client",
    metavar="URL",
    help="A neuroglancer on the network, whose pages may then read this entry.  [default: the one that comes with "
    "emres[view], offline]",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE.html",
    help="Where the report is kept.  [default: in a new folder for temporary files]",
)
@click.option("--no-browser", is_flag=True, help="Only say where to look.")
@with_console
def view(
    console: Console,
    entry: str,
    neuroglancer: bool,
    kind: str | None,
    palette: str,
    client: str | None,
    output: Path | None,
    no_browser: bool,
) -> int:
    """Look at an entry: its report in the browser, or map and local resolution in neuroglancer.

    The server answers this machine alone (127.0.0.1), for reading, and only whoever has the link; it ends with Ctrl-C.

    \b
    Examples:
      emres view store/EMD-6824.zarr
      emres view store/EMD-6824.zarr --neuroglancer
    """
    if neuroglancer or client:
        return _serve(console, entry, kind, palette, client, no_browser)
    return _report(console, entry, output, no_browser)


def _serve(console: Console, entry: str, kind: str | None, palette: str, client: str | None, no_browser: bool) -> int:
    from emres.archive.store import open_entry
    from emres.run.view import neuroglancer_view, open_in_browser

    try:
        with neuroglancer_view(open_entry(entry), kind, client=client, palette=palette) as shown:
            _tell(console, shown)
            if not no_browser:
                open_in_browser(shown.link)
            threading.Event().wait()
    except KeyboardInterrupt:  # the way to end it
        console.say("ended")
    return 0


def _tell(console: Console, shown: View) -> None:
    if console.as_json:
        console.data({"link": shown.link, "port": shown.data.port, "data": shown.data.url})
    else:
        print(shown.link, flush=True)
        console.say(f"voxels from 127.0.0.1:{shown.data.port}, for this machine alone; Ctrl-C ends it")


def _report(console: Console, entry: str, output: Path | None, no_browser: bool) -> int:
    import shutil
    import tempfile

    from emres.errors import EmresError
    from emres.run.report import report
    from emres.run.view import open_in_browser

    made = None if output else Path(tempfile.mkdtemp(prefix="emres-"))
    path = output or Path(made or "") / f"{Path(entry).stem}_report.html"
    try:
        with console.progress(1, "reports") as tell:
            report(entry, path, report=tell)
    except (EmresError, KeyboardInterrupt):
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        raise
    seen = not no_browser and open_in_browser(path)
    if console.as_json:
        console.data({"output": str(path), "opened": seen})
        return 0
    console.say(f"report: {path}")
    if not (seen or no_browser):
        console.say("there is no display here: open it in a browser")
    return 0


COMMANDS = (view,)
