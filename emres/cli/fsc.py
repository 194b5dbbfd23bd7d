"""``emres fsc``: how well two half maps agree as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from emres.cli.console import Console
from emres.cli.options import CONTEXT, PATH, masking, with_console

if TYPE_CHECKING:
    from emres.run.global_fsc import FscReport


@click.command(context_settings=CONTEXT)
@click.argument("sources", metavar="HALF1 HALF2 | ENTRY", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=PATH, metavar="PREFIX", help="Write PREFIX_fsc.json, PREFIX_fsc.xml and PREFIX_fsc.png."
)
@click.option("--to", "store", type=PATH, metavar="STORE", help="The store that ENTRY is a name in.")
@click.option("--voxel-size", type=float, metavar="Å", help="Overrides headers without a usable voxel size.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@masking
@with_console
def fsc(
    console: Console,
    sources: tuple[str, ...],
    output: Path | None,
    store: Path | None,
    voxel_size: float | None,
    force: bool,
    mask: str,
    device: str,
) -> int:
    """Compare two half maps: the FSC without mask, in a mask, and corrected for the mask by phase randomisation.

    The half maps are two files, or those of an entry (STORE/EMD-11638.zarr, or a name in the store given by --to). The
    XML has the form of EMDB's own FSC files, for its deposition.

    \b
    Examples:
      emres fsc half1.mrc half2.mrc -o my_map
      emres fsc store/EMD-11638.zarr --json
      emres fsc half1.mrc half2.mrc --mask mask.mrc
    """
    from emres.run.global_fsc import write_fsc

    report = _report(sources, store, voxel_size, mask, device)
    written = {} if output is None else write_fsc(report, output, overwrite=force)
    if console.as_json:
        console.data({**report.to_json(), "output": written})
    elif console.speaks:
        _tell(console, report)
        for path in written.values():
            console.say(f"output: {path}")
    return 0


def _report(
    sources: tuple[str, ...], store: Path | None, voxel_size: float | None, mask: str, device: str
) -> FscReport:
    from emres.errors import UsageError
    from emres.run.global_fsc import fsc_of_entry, fsc_of_files
    from emres.run.single import find_source, is_map_file

    if len(sources) == 2 and all(is_map_file(source) for source in sources):
        return fsc_of_files([Path(source) for source in sources], mask=mask, device=device, voxel_size=voxel_size)
    if len(sources) == 1 and not is_map_file(sources[0]):
        return fsc_of_entry(find_source(sources[0], store).path, mask=mask, device=device)
    raise UsageError(
        "an FSC is between two half maps",
        got=", ".join(sources),
        expected="two map files, or one entry that holds its half maps",
        cure="emres fsc half1.mrc half2.mrc",
    )


def _tell(console: Console, report: FscReport) -> None:
    numbers = report.to_json()["resolution"]
    rows = [[name, *(f"{value:.2f}" for value in found.values())] for name, found in numbers.items()]
    console.table("", ["FSC", "Å at 0.143", "Å at 0.5"], rows)


COMMANDS = (fsc,)
