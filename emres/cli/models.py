"""``emres models``: what there is to predict with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from emres.cli.console import Console, warn
from emres.cli.options import CONTEXT, PATH, with_console


@click.group("models", context_settings=CONTEXT)
def models() -> None:
    """Models to predict with: list, show, fetch, import, export, verify.

    \b
    Examples:
      emres models list
      emres models fetch legacy:dropout
      emres models import unet_3d_trained_dropout.pth --as legacy:dropout
      emres predict my_map.mrc --model legacy:dropout
    """


@models.command("list", context_settings=CONTEXT)
@with_console
def list_(console: Console) -> int:
    """List the models on this machine, and where each comes from.

    They ship with emres, are your own ($EMRES_MODELS, else ~/.local/share/emres/models), or come with another package
    that was installed (entry point group emres.models), which this imports. Of one name your own wins, then emres'.

    \b
    Examples:
      emres models list
      emres models list --json
    """
    from emres.run.models import list_models

    rows = list_models()
    if console.as_json:
        console.data(rows)
        return 0
    cells = [
        [row["name"], row["version"] or "-", row["architecture"] or "-", _size(row), row["source"]] for row in rows
    ]
    if console.speaks:
        console.table("", ("model", "version", "architecture", "Å/voxel", "from"), cells)
        for row in rows:
            warn(filter(None, [row["problem"]]), row["name"])
    return 0


@models.command("fetch", context_settings=CONTEXT)
@click.argument("name", metavar="legacy:dropout|legacy:batchnorm")
@click.option(
    "--from",
    "source",
    metavar="URL|FILE",
    help="The .pth file, if not from where it was published. [env EMRES_LEGACY_WEIGHTS: a folder or address that holds "
    "both files under their published names]",
)
@click.option("--force", is_flag=True, help="Fetch again, and replace the model of that name.")
@with_console
def fetch(console: Console, name: str, source: str | None, force: bool) -> int:
    """Fetch the predecessor's published weights from Google Drive, and convert them.

    Goes on where it was cut. Nothing in the file is executed. Where Google gives a page instead of the file, the error
    says how to bring it in by a browser.

    \b
    Examples:
      emres models fetch legacy:dropout
      emres models fetch legacy:batchnorm --from https://example.org/unet_3d_trained_batchnorm.pth
    """
    from emres.run.models_fetch import fetch_model

    with console.progress(1, "models") as report:
        folder, fetched = fetch_model(
            name, source, force=force, progress=lambda done, total: report(name, "fetch", done, total or 0)
        )
    if console.as_json:
        console.data({"model": folder.name, "folder": str(folder), "fetched": fetched})
        return 0
    console.say(f"model: {folder}" + ("" if fetched else " (there already; --force fetches it again)"))
    return 0


@models.command("show", context_settings=CONTEXT)
@click.argument("name", metavar="NAME|FOLDER")
@with_console
def show(console: Console, name: str) -> int:
    """Show a model's card: what it is, its measured errors, where it fails.

    \b
    Examples:
      emres models show emres-small
    """
    import json

    from rich.markup import escape

    from emres.archive.registry import find_model
    from emres.model.contract import read_contract

    folder = find_model(name)
    contract = read_contract(folder)
    if console.as_json:
        console.data(json.loads(contract.to_json()))
        return 0
    card = folder / "card.md"
    console.say(escape(card.read_text(encoding="utf-8") if card.is_file() else contract.name_version))
    return 0


@models.command("import", context_settings=CONTEXT)
@click.argument("source", type=PATH, metavar="WEIGHTS.pth|FOLDER")
@click.option("--as", "name", required=True, metavar="NAME", help="The name to predict by.")
@click.option("--force", is_flag=True, help="Replace a model of that name.")
@with_console
def import_(console: Console, source: Path, name: str, force: bool) -> int:
    """Bring in the predecessor's weights, or a bundle.

    Kept in $EMRES_MODELS, else ~/.local/share/emres/models. Nothing in the file is executed.

    \b
    Examples:
      emres models import unet_3d_trained_batchnorm.pth --as legacy:batchnorm
    """
    from emres.run.models import import_model

    folder = import_model(source, name, force=force)
    console.data({"model": folder.name, "folder": str(folder)}) if console.as_json else console.say(f"model: {folder}")
    return 0


@models.command("export", context_settings=CONTEXT)
@click.argument("name", metavar="NAME")
@click.argument("folder", type=PATH, metavar="FOLDER")
@with_console
def export(console: Console, name: str, folder: Path) -> int:
    """Write a model's bundle to a new folder.

    \b
    Examples:
      emres models export emres-small ./my-copy
    """
    from emres.run.models import export_model

    written = export_model(name, folder)
    console.data({"folder": str(written)}) if console.as_json else console.say(f"bundle: {written}")
    return 0


@models.command("verify", context_settings=CONTEXT)
@click.argument("name", metavar="NAME|FOLDER")
@with_console
def verify(console: Console, name: str) -> int:
    """Check a model's weights, geometry and self-test on this machine.

    \b
    Examples:
      emres models verify emres-small
    """
    from emres.run.models import verify_model

    facts = verify_model(name)
    console.data(facts) if console.as_json else console.say(f"{facts['model']} is what it should be")
    return 0


def _size(row: dict[str, Any]) -> str:
    if row["version"] is None:
        return "-"
    return "any" if row["voxel_size"] is None else f"{row['voxel_size']:g}"


COMMANDS = (models,)
