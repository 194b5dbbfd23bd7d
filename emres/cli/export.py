"""``emres export``: out of the store, as MRC, picture, GLB, JSON, or a folder that ChimeraX opens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from emres.cli.console import Console
from emres.cli.options import CONTEXT, PATH, with_console
from emres.errors import UsageError

if TYPE_CHECKING:
    from emres.run.export_shown import Written

FORMATS = ("mrc", "filled-mrc", "chimerax", "json", "png", "glb")


@click.command("export", context_settings=CONTEXT)
@click.argument("source", metavar="ENTRY|MAP", type=PATH)
@click.option("-o", "--output", type=PATH, default=Path(), metavar="FILE|DIR", help="[default: this folder]")
@click.option(
    "--kind",
    metavar="KIND",
    help="map, half_map_1, mask, local_resolution/NAME, …  [default: the local resolution that was written last]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="filled-mrc: carried 5 voxels beyond the mask, to colour a surface; chimerax: a folder with maps and a script "
    "that opens them; json: the archive's histogram; png: surface, slices and histogram; glb: the coloured surface for "
    "slides.  [default: what the name of FILE ends in, else mrc]",
)
@click.option("--filled", is_flag=True, help="The same as --format filled-mrc.")
@click.option("--local-resolution", type=PATH, metavar="FILE", help="Of any program, where the input is a map file.")
@click.option("--level", type=float, metavar="DENSITY", help="Contour level.  [default: the author's, else found]")
@click.option(
    "--palette",
    default="rainbow",
    show_default=True,
    metavar="NAME",
    help="rainbow, viridis, cividis (the last two for readers who see red as green), or another of Matplotlib's.",
)
@click.option("--voxel-size", type=float, metavar="Å", help="Overrides a map file's header.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@with_console
def export(
    console: Console,
    source: Path,
    output: Path,
    kind: str | None,
    form: str | None,
    filled: bool,
    local_resolution: Path | None,
    level: float | None,
    palette: str,
    voxel_size: float | None,
    force: bool,
) -> int:
    """Write a volume of the store as MRC, lying exactly on the map it came from, or show a local resolution.

    \b
    Examples:
      emres export store/EMD-6824.zarr
      emres export store/EMD-6824.zarr --kind map -o emd_6824.mrc
      emres export store/EMD-6824.zarr -o emd_6824.png
      emres export store/EMD-6824.zarr --format chimerax -o for_chimerax
      emres export my_map.mrc --local-resolution monores.mrc -o my_map.glb --palette viridis
    """
    form = _form(form, filled, output)
    if form in ("mrc", "filled-mrc"):
        _refuse_file(source, local_resolution)
        written = _as_mrc(source, output, kind, form == "filled-mrc", force)
    else:
        from emres.run.export_shown import export_shown
        from emres.run.shown import shown_entry, shown_files

        if local_resolution is not None:
            shown = shown_files(source, local_resolution, voxel_size)
        else:
            _refuse_file(source, local_resolution)
            from emres.archive.store import open_entry

            shown = shown_entry(open_entry(source), kind)
        written = export_shown(shown, output, form, level=level, palette=palette, overwrite=force)
    _tell(console, written)
    return 0


def _form(form: str | None, filled: bool, output: Path) -> str:
    from emres.run.export_shown import SUFFIXES

    if filled and form not in (None, "mrc", "filled-mrc"):
        raise UsageError(f"--filled and --format {form} do not go together", cure="leave one of them out")
    if filled:
        return "filled-mrc"
    return form or ("mrc" if output.is_dir() else SUFFIXES.get(output.suffix.lower(), "mrc"))


def _refuse_file(source: Path, local_resolution: Path | None) -> None:
    if local_resolution is not None:
        raise UsageError("a map file and its local resolution are shown, not copied", cure="pass --format png, …")
    if source.is_file():
        raise UsageError(
            f"{source} is a file", expected="STORE/EMD-6824.zarr", cure="for two files pass --local-resolution FILE too"
        )


def _as_mrc(source: Path, output: Path, kind: str | None, filled: bool, force: bool) -> Written:
    from emres.archive.store import open_entry
    from emres.run.export import export_mrc
    from emres.run.export_shown import Written

    return Written(export_mrc(open_entry(source), output, kind, overwrite=force, filled=filled))


def _tell(console: Console, written: Written) -> None:
    facts: dict[str, object] = {"output": str(written.path)}
    if written.level is not None:
        facts |= {"contour_level": written.level, "contour_level_of": written.whose}
    if console.as_json:
        console.data(facts)
    console.say(f"output: {written.path}")
    if written.level is not None:
        console.say(f"contour level: {written.level:.4g} ({written.whose})")


COMMANDS = (export,)
