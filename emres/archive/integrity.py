"""Whether a downloaded file is what the archive promised."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import IO

from emres.archive.compress import ByteStream
from emres.errors import IntegrityError, MapError

_CHUNK = 2**20
_AGAIN = "try again later, or from another mirror (--mirror)"
_HTML = (b"<!doctype html", b"<html")


def verify_file(path: Path, *, name: str, md5: str | None, found: str | None = None) -> None:
    """Check a file against its checksum; where there is none, that it is at least whole and not a web page.

    Parameters
    ----------
    path : Path
        The file as it arrived.
    name : str
        What it is called in the archive, for messages; ``.gz`` at its end says that it is compressed.
    md5 : str, optional
        Hexadecimal; of the file or of its decompressed content: the archive's list does not say which.
    found : str, optional
        The file's own, if it was taken while the file arrived.

    Raises
    ------
    IntegrityError
        Web page instead of a map, damaged or truncated gzip, checksum that fits neither file nor content.
    """
    if found is None:
        with path.open("rb") as file:
            found = _digest(file)
    if md5 is not None and found == md5.lower():
        return
    _refuse_web_page(path, name)
    content = _digest_of_content(path, name) if name.endswith(".gz") else found
    if md5 is not None and content != md5.lower():
        raise IntegrityError(
            f"{name} is not what the archive lists",
            got=f"MD5 {found} (content {content})",
            expected=md5.lower(),
            cure=_AGAIN,
        )


def is_intact(path: Path, md5: str) -> bool:
    """Tell whether there is a file with this checksum (its own or its content's)."""
    if not path.is_file():
        return False
    try:
        verify_file(path, name=path.name, md5=md5)
    except IntegrityError:
        return False
    return True


def _digest(file: IO[bytes]) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(_CHUNK):
        md5.update(chunk)
    return md5.hexdigest()


def _digest_of_content(path: Path, name: str) -> str:
    md5, buffer = hashlib.md5(usedforsecurity=False), memoryview(bytearray(_CHUNK))
    try:
        with closing(ByteStream(path)) as stream:
            if stream.kind != "gzip":
                raise IntegrityError(f"{name} is not compressed", got=stream.kind, expected="a gzip file", cure=_AGAIN)
            while count := stream.fill(buffer):
                md5.update(buffer[:count])
    except MapError as error:
        raise IntegrityError(
            f"{name} did not arrive whole", got=error.got, expected=error.expected, cure=_AGAIN
        ) from error
    return md5.hexdigest()


def _refuse_web_page(path: Path, name: str) -> None:
    with path.open("rb") as file:
        beginning = file.read(512).lstrip().lower()
    if beginning.startswith(_HTML):
        raise IntegrityError(
            f"{name} is not a map",
            got="a web page",
            expected="the map itself",
            cure="check the mirror's address, and whether this network wants you to sign in",
        )
