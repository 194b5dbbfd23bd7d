"""The models on this machine: those that ship with emres, those brought in, those of other packages."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emres.archive.disk import disk_errors, move_into_place
from emres.archive.registry import Known, find_model, known_models, own_model
from emres.errors import EmresError, UsageError
from emres.model.contract import CONTRACT_FILE, Contract, read_contract


def list_models() -> list[dict[str, Any]]:
    """Return one record a model, of emres, one's own and of other packages; a broken one is no trouble to the others.

    Returns
    -------
    list of dict
        ``name``, ``version``, ``architecture``, ``voxel_size`` (Å, None for any), ``source`` (``ships with emres``,
        ``own``, ``package their-nets 1.2``), ``folder``, and ``problem``: None, or why it cannot be used by this name.
        What cannot be known of a broken one is None.
    """
    return [_record(known) for known in known_models()]


def _record(known: Known) -> dict[str, Any]:
    version = architecture = size = None
    problem = known.problem
    if known.folder is not None:
        try:
            contract = read_contract(known.folder)
            version, architecture = contract.version, contract.architecture
            size = None if contract.cube else contract.voxel_size
        except (EmresError, OSError, UnicodeDecodeError) as error:
            problem = str(error)
    return {
        "name": known.name,
        "version": version,
        "architecture": architecture,
        "voxel_size": size,
        "source": known.source,
        "folder": None if known.folder is None else str(known.folder),
        "problem": problem,
    }


def import_model(
    source: Path | str, name: str, *, force: bool = False, check: Callable[[Contract], None] = lambda _: None
) -> Path:
    """Bring in a model: the predecessor's weights (``.pth``), or the folder of a bundle.

    Parameters
    ----------
    source : path
    name : str
        Under which it is found from now on.
    force : bool
        Replace a model of that name.
    check : callable
        Raises if the contract is not that of the wanted model.

    Returns
    -------
    Path
        Its folder. It is there whole, or not at all.

    Raises
    ------
    UsageError
        If the name is taken or cannot be one.
    ModelError, IntegrityError
        If the source is no model, or is damaged.
    """
    source, target = Path(source), own_model(name)
    if target.exists() and not force:
        raise UsageError(f"there is a model {target.name} already", cure="choose another name, or --force")
    if not source.exists():
        raise UsageError(f"there is no {source}", expected="a .pth file or the folder of a bundle")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".import-") as work:
            made = Path(work) / target.name
            if source.is_dir():
                _copy(source, made)
            else:
                from emres.model.convert import convert_legacy

                convert_legacy(source, made, target.name)
            check(read_contract(made))
            move_into_place(made, target)
    return target


def export_model(name: str, folder: Path | str) -> Path:
    """Write a model's bundle to a folder that is not there yet, and return it.

    Raises
    ------
    UsageError
        If there is no such model, or something is in the way.
    """
    folder = Path(folder)
    if folder.exists():
        raise UsageError(f"{folder} exists", cure="choose another folder")
    with disk_errors(folder):
        _copy(find_model(name), folder)
    return folder


def verify_model(name: str) -> dict[str, Any]:
    """Open a model: its weights' hash, its geometry and its self-test; return what was verified.

    Raises
    ------
    ModelError, IntegrityError
        If it is not what its contract states, or does not answer as it should on this machine.
    """
    from emres.model.bundle import open_bundle

    contract = open_bundle(find_model(name)).contract
    return {"model": contract.name_version, "weights_sha256": contract.weights_sha256, "self_test": contract.self_test}


def _copy(source: Path, target: Path) -> None:
    """Copy the three files of a bundle that proves itself."""
    from emres.model.bundle import CARD_FILE, WEIGHTS_FILE, open_bundle

    open_bundle(source)
    target.mkdir(parents=True)
    for file in (WEIGHTS_FILE, CONTRACT_FILE, CARD_FILE):
        shutil.copyfile(source / file, target / file)
