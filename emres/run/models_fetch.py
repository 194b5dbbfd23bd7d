"""The predecessor's published weights: from where they lie to a model of one's own."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from emres.archive.disk import disk_errors
from emres.archive.download import Progress, download
from emres.archive.local import local_path
from emres.archive.manners import Patience
from emres.archive.registry import PUBLISHED, models_folder, own_model, published_name
from emres.errors import ArchiveError, IntegrityError, ModelError, UsageError
from emres.model.contract import Contract
from emres.run.models import import_model

#: Folder or address that holds both files under their published names, in place of Google Drive.
VARIABLE = "EMRES_LEGACY_WEIGHTS"

# A page in place of the file (quota, login) is the same page a moment later; and somebody is waiting.
_PATIENCE = Patience(tries=3, again=False)
_WORK = ".fetch"


def fetch_model(
    name: str,
    source: str | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> tuple[Path, bool]:
    """Fetch the predecessor's published weights, and keep them as a model under that name.

    A download that was cut, or killed, goes on where it stopped, if the server can; the model is there whole or not at
    all. Nothing in the file is executed.

    Parameters
    ----------
    name : str
        ``legacy:dropout`` or ``legacy:batchnorm``.
    source : str, optional
        URL or path of the ``.pth`` file; else ``$EMRES_LEGACY_WEIGHTS/<its published name>``; else Google Drive.
    force : bool
        Fetch again, and replace the model of that name.
    progress : callable, optional
        Called with bytes so far and bytes in all.
    patience : Patience, optional

    Returns
    -------
    Path, bool
        Its folder, and whether it was fetched now: without ``force`` a model that is there stays.

    Raises
    ------
    UsageError
        If nothing was published under that name, or a source is given for a model that is there.
    ArchiveError
        If the weights cannot be had; the sentence says how a browser can.
    ModelError
        If what came is not the weights of that net.
    StoreError
        If the disk is full, read-only, or another run fetches the same.
    """
    target = own_model(name)
    if target.name not in PUBLISHED:
        raise UsageError(
            f"emres knows no address for the weights of {name}",
            expected=" or ".join(published_name(known) for known in PUBLISHED),
            cure=f"bring in a file that you have: emres models import FILE --as {name}",
        )
    if target.exists() and not force:
        if source is not None:
            raise UsageError(f"there is a model {target.name} already", cure="pass --force to replace it")
        return target, False
    addresses = _addresses(target.name, source)
    path = local_path(addresses[0])
    if path is not None:
        return import_model(path, target.name, force=force, check=_expects(target.name)), True
    work = models_folder() / _WORK / target.name
    try:
        file = _fetched(target.name, addresses, work, patience or _PATIENCE, progress)
        return _converted(target.name, file, force), True
    finally:
        _remove_empty(work)


def _addresses(name: str, source: str | None) -> list[str]:
    """Return where to look, one after the other: where one gives a page, the next may give the file."""
    drive, file = PUBLISHED[name]
    base = os.environ.get(VARIABLE)
    if source or base:
        return [source or f"{str(base).rstrip('/')}/{file}"]
    return [  # the first spares a large file the page that says it was not scanned for viruses
        f"https://drive.usercontent.google.com/download?id={drive}&export=download&confirm=t",
        f"https://drive.google.com/uc?export=download&id={drive}",
    ]


def _fetched(name: str, addresses: list[str], work: Path, patience: Patience, progress: Progress | None) -> Path:
    """Return the file, from the first address that has it."""
    for address in addresses:
        # A folder an address: what came of one is never lost to the page that another gives.
        file = work / hashlib.sha256(address.encode()).hexdigest()[:12] / PUBLISHED[name][1]
        try:
            with disk_errors(file):
                if not file.is_file():  # it is, after a kill between fetching and converting
                    download(address, file, progress=progress, patience=patience)
                if not _is_page(file):
                    return file
                file.unlink()
        except IntegrityError:  # without a checksum that is a web page
            continue
        except ArchiveError as error:
            raise _cannot(name, ", ".join(filter(None, (error.what, error.got)))) from error
    page = f"a web page in place of the file (a quota, a login or a virus scan) from {addresses[-1]}"
    raise _cannot(name, page)


def _is_page(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _converted(name: str, file: Path, force: bool) -> Path:
    """Bring in a file that came, and remove it, whether it was the right one or not."""
    try:
        folder = import_model(file, name, force=force, check=_expects(name))
    except ModelError as error:
        shutil.rmtree(file.parents[1], ignore_errors=True)
        raise ModelError(
            f"what came is not the weights of {published_name(name)}", got=error.got or error.what, cure=_by_hand(name)
        ) from error
    shutil.rmtree(file.parents[1], ignore_errors=True)
    return folder


def _expects(name: str) -> Callable[[Contract], None]:
    """Return a check that weights are those of the one of the two nets that the name says."""

    def check(contract: Contract) -> None:
        kind = {0: "dropout", 1: "batchnorm"}.get(contract.arguments.get("batchnorm", -1))
        if contract.architecture != "legacy_unet" or name != f"legacy-{kind}":
            raise ModelError(
                f"these are not the weights of {published_name(name)}",
                got=f"those of legacy:{kind}" if kind else contract.architecture,
                cure="choose the name that fits",
            )

    return check


def _cannot(name: str, got: str) -> ArchiveError:
    return ArchiveError(f"the weights of {published_name(name)} cannot be fetched", got=got, cure=_by_hand(name))


def _by_hand(name: str) -> str:
    drive, file = PUBLISHED[name]
    return (
        f"download https://drive.google.com/file/d/{drive}/view in a browser, "
        f"then: emres models import {file} --as {published_name(name)}"
    )


def _remove_empty(work: Path) -> None:
    """Remove folders in which no download is under way."""
    for folder in (*work.glob("*"), work, work.parent, work.parent.parent):
        with suppress(OSError):
            folder.rmdir()
