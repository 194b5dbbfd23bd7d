"""URL or path -> file, verified and complete or not there at all. The only door to the network."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from emres.archive.disk import disk_errors
from emres.archive.integrity import is_intact, verify_file
from emres.archive.local import NotFoundError, chunks_of, local_path, reading
from emres.archive.manners import Limiter, Patience, TransientError, persist, seconds_to_wait, user_agent
from emres.archive.partial import Origin, Partial
from emres.errors import ArchiveError, IntegrityError

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]

#: EMDB publishes no limits; these are considerate. A server on this very machine needs no consideration.
POLITE = Limiter(rate=3, connections=4)
_LOOPBACK = Limiter(rate=math.inf, connections=4)
_PATIENCE = Patience()
_CHUNK = 2**20
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_CURE = "check the network or choose another mirror (--mirror), then run again: it goes on where it stopped"


def download(
    source: str | Path,
    target: Path,
    *,
    md5: str | None = None,
    progress: Progress | None = None,
    session: requests.Session | None = None,
    patience: Patience = _PATIENCE,
) -> Path:
    """Bring a file here, verified; nothing half-written ever has the final name.

    Bytes gather in ``<target>.part``. After a cut, or a kill, the next try asks the server for the missing rest only,
    provided that it vouches (ETag or Last-Modified) for the file not having changed.

    Parameters
    ----------
    source : str or Path
        ``https://``, ``http://``, ``file://`` or a path.
    target : Path
        Where the file shall lie. ``.gz`` at its end: it is checked to be whole gzip.
    md5 : str, optional
        Hexadecimal, of the file or of its decompressed content. A target that has it already is left as it is.
    progress : callable, optional
        Called with bytes so far and bytes in all (None if unknown); goes back to 0 if the file has to be fetched anew.
    session : requests.Session, optional
    patience : Patience

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    ArchiveError
        Nothing there (:class:`NotFoundError`), no network, server errors that several tries did not cure.
    IntegrityError
        The file came twice (if ``patience.again``) and twice was not what it should be.
    StoreError
        Disk full, read-only, no permission, or another process is fetching the same file.
    """
    source, report = str(source), progress or (lambda done, total: None)
    if md5 is not None and is_intact(target, md5):
        Partial(target).is_whole()
        return target
    with disk_errors(target), Partial.beside(target) as partial:
        try:
            _receive(source, partial, md5, report, session, patience)
        except IntegrityError as error:
            if not patience.again:
                raise
            log.warning("%s; fetching it once more", error)
            _receive(source, partial, md5, report, session, patience)
        partial.commit()
    return target


def fetch_bytes(
    source: str | Path,
    *,
    limit: int = 32 * 2**20,
    session: requests.Session | None = None,
    patience: Patience = _PATIENCE,
) -> bytes:
    """Return a small document from a URL or a path.

    Parameters
    ----------
    source : str or Path
    limit : int
        Bytes; a larger document is refused.
    session : requests.Session, optional
    patience : Patience

    Raises
    ------
    ArchiveError
        Nothing there (:class:`NotFoundError`), too large, no network, server errors.
    """
    path = local_path(source)
    if path is None:
        changed = fetch_if_changed(str(source), None, limit=limit, session=session, patience=patience)
        return changed[0] if changed else b""
    with reading(path), path.open("rb") as file:
        document = file.read(limit + 1)
    return _within(document, limit, str(path))


def fetch_if_changed(
    url: str,
    validator: str | None,
    *,
    limit: int,
    session: requests.Session | None = None,
    patience: Patience = _PATIENCE,
) -> tuple[bytes, str | None] | None:
    """Return a document and its validator, or None if it still is the one that ``validator`` belongs to.

    Raises
    ------
    ArchiveError
        As :func:`fetch_bytes`.
    """
    condition = "If-None-Match" if validator and '"' in validator else "If-Modified-Since"
    headers = {condition: validator} if validator else {}

    def attempt() -> tuple[bytes, str | None] | None:
        with _request(url, headers, session, patience) as response:
            if response.status_code == 304:
                return None
            document = bytearray()
            for chunk in response.iter_content(_CHUNK):
                document += _within(chunk, limit - len(document), url)
            return bytes(document), response.headers.get("ETag") or response.headers.get("Last-Modified")

    return persist(attempt, patience)


def _receive(
    source: str,
    partial: Partial,
    md5: str | None,
    report: Progress,
    session: requests.Session | None,
    patience: Patience,
) -> None:
    """Bring all bytes here and verify them; wrong ones are forgotten."""
    path = local_path(source)
    if path is not None:
        with reading(path):
            total = path.stat().st_size
        partial.begin(Origin(source, None, total))
        _write(chunks_of(path, _CHUNK), partial, total, report)
    else:
        persist(lambda: _go_on(source, partial, report, session, patience), patience, reached=lambda: partial.size)
    try:
        verify_file(partial.path, name=partial.target.name, md5=md5, found=partial.md5)
    except IntegrityError:
        partial.discard()
        raise


def _go_on(url: str, partial: Partial, report: Progress, session: requests.Session | None, patience: Patience) -> None:
    """Fetch what is missing, in one request."""
    headers, origin = {"Accept-Encoding": "identity"}, partial.origin
    if partial.resumable(url) and origin is not None and origin.validator is not None:
        if partial.size == origin.total:
            return
        headers |= {"Range": f"bytes={partial.size}-", "If-Range": origin.validator}
    with _request(url, headers, session, patience) as response:
        if response.status_code == 200:
            origin = Origin(url, _strong_validator(response), _length(response))
            partial.begin(origin)
        elif origin is None or not _continues(response, partial.size, origin):
            partial.discard()
            raise TransientError(f"{url} changed while it was fetched", got=f"HTTP {response.status_code}", cure=_CURE)
        _write(_arriving(response.raw), partial, origin.total, report)


def _write(chunks: Iterator[bytes], partial: Partial, total: int | None, report: Progress) -> None:
    report(partial.size, total)
    for chunk in chunks:
        partial.append(chunk)
        report(partial.size, total)
    if total is not None and partial.size != total:
        raise TransientError(
            f"{partial.target.name} was cut short", got=f"{partial.size} bytes", expected=f"{total}", cure=_CURE
        )


def _arriving(raw: Any) -> Iterator[bytes]:
    """Yield what is there, and wait only where nothing is: a cut then loses nothing that had come."""
    while chunk := raw.read1(_CHUNK, decode_content=False):
        yield chunk


def _continues(response: requests.Response, start: int, origin: Origin) -> bool:
    """Whether the answer is the rest, from ``start`` on, of the very file that we hold the beginning of."""
    # Some servers ignore If-Range and send a part of whatever the file is now, so the answer itself is looked at.
    same = _strong_validator(response) == origin.validator
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if response.status_code != 206 or not same or match is None or int(match[1]) != start:
        return False
    return origin.total is None or match[2] in ("*", str(origin.total))


def _strong_validator(response: requests.Response) -> str | None:
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _within(data: bytes, limit: int, name: str) -> bytes:
    if len(data) > limit:
        raise ArchiveError(f"{name} is larger than it can honestly be", cure="check the mirror's address")
    return data


@contextmanager
def _request(
    url: str, headers: dict[str, str], session: requests.Session | None, patience: Patience
) -> Iterator[requests.Response]:
    """Ask, politely, and turn every way in which the network fails into one of our errors."""
    import requests
    import urllib3

    here = re.match(r"(localhost|::1)$|127\.", urlsplit(url).hostname or "")
    headers = {"User-Agent": user_agent(), **headers}
    try:
        with (
            (_LOOPBACK if here else POLITE).slot(),
            nullcontext(session) if session else requests.Session() as client,
            client.get(url, headers=headers, stream=True, timeout=(patience.connect, patience.read)) as response,
        ):
            _check_status(url, response)
            yield response
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _told(url, error) from error


def _check_status(url: str, response: requests.Response) -> None:
    status = response.status_code
    if status in (200, 206, 304, 416):
        return
    if status in (404, 410):
        raise NotFoundError(f"there is no {url}", got=f"HTTP {status}", cure="check the id and the mirror's address")
    if status not in _RETRIED:
        raise ArchiveError(
            f"{url} was refused",
            got=f"HTTP {status} {response.reason}",
            cure="check the mirror's address, and the query if there is one",
        )
    error = TransientError(f"{url} cannot be had now", got=f"HTTP {status}", cure=_CURE)
    error.retry_after = seconds_to_wait(response.headers.get("Retry-After"))
    raise error


def _told(url: str, error: Exception) -> ArchiveError:
    """Return what a failure of the network means: worth another try, or not."""
    import requests

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return ArchiveError(
            f"{url} does not prove who it is",
            got="a certificate that cannot be verified",
            cure="check the address, the clock and the certificates of this machine",
        )
    hopeless = (requests.TooManyRedirects, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)
    if isinstance(error, hopeless):
        return ArchiveError(f"{url} cannot be fetched", got=str(error), cure="check the mirror's address")
    stalled = isinstance(error, requests.Timeout) or "timed out" in str(error)
    got = "no answer in time" if stalled else f"a broken connection ({type(error).__name__})"
    return TransientError(f"{url} cannot be reached", got=got, cure=_CURE)
