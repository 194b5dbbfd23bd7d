"""``emres models``: what there is to predict with."""

from __future__ import annotations

from pathlib import Path

import click

from emres.cli.console import Console
from emres.cli.options import CONTEXT, PATH, with_console


@click.group("models", context_settings=CONTEXT)
def models() -> None:
    """Models to predict with: list, show, import, export, verify.

    \b
    Examples:
      emres models list
      emres models import unet_3d_trained_dropout.pth --as legacy:dropout
      emres predict my_map.mrc --model legacy:dropout
    """


@models.command("list", context_settings=CONTEXT)
@with_console
def list_(console: Console) -> int:
    """List the models on this machine.

    \b
    Examples:
      emres models list --json
    """
    from emres.run.models import list_models

    rows = list_models()
    if console.as_json:
        console.data(rows)
        return 0
    cells = [[row["name"], row["version"], row["architecture"], _size(row["voxel_size"])] for row in rows]
    console.table("", ("model", "version", "architecture", "Å/voxel"), cells)
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


def _size(voxel_size: float | None) -> str:
    return "any" if voxel_size is None else f"{voxel_size:g}"


COMMANDS = (models,)
