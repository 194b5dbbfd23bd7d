"""The archive -> the store: entry by entry, file by file, each once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emres.archive.download import download
from emres.archive.emdb import Mirror, fetch_entry
from emres.archive.entry import Entry, MapFile, parse_emdb_id
from emres.archive.store import EntryGroup, Store
from emres.errors import ArchiveError, BusyError, EmresError
from emres.run.ingest import file_facts, ingest
from emres.run.outcome import Outcome, Report, no_report, outcome_of, stoppable

MOST_JOBS = 4  # downloads at once: the archive's manners
_DOWNLOAD = "download"  # of an entry's work folder


@dataclass(frozen=True)
class FetchPlan:
    """What to fetch, from where, to where.

    Parameters
    ----------
    store : Store
    mirror : Mirror
    half_maps, masks : bool
        Fetch these beside the map.
    force : bool
        Fetch again what is there already.
    """

    store: Store
    mirror: Mirror
    half_maps: bool = False
    masks: bool = False
    force: bool = False


def fetch_entries(
    emdb_ids: Sequence[str], plan: FetchPlan, *, jobs: int = MOST_JOBS, report: Report = no_report
) -> Iterator[Outcome]:
    """Bring entries into a store, yielding what happened to each as it ends.

    Parameters
    ----------
    emdb_ids : sequence of str
        In any spelling of :func:`emres.archive.entry.parse_emdb_id`.
    plan : FetchPlan
    jobs : int
        Entries at once, at most 4.
    report : callable
        Told of bytes and voxels.

    Yields
    ------
    Outcome
        ``facts["kinds"]``: what was written now.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(max(1, min(jobs, MOST_JOBS)), thread_name_prefix="fetch") as pool:
        futures = [pool.submit(_fetch_told, name, plan, report, stop) for name in dict.fromkeys(emdb_ids)]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            stop.set()
            for future in futures:
                future.cancel()


def _fetch_told(emdb_id: str, plan: FetchPlan, report: Report, stop: threading.Event) -> Outcome:
    def work() -> tuple[bool, Mapping[str, Any]]:
        written = fetch_into_store(emdb_id, plan, stoppable(report, stop))
        return bool(written), {"kinds": written, "store": str(plan.store.entry(parse_emdb_id(emdb_id)).path)}

    outcome = outcome_of(emdb_id, work)
    report(emdb_id, outcome.status, 1, 1)
    return outcome


def fetch_into_store(emdb_id: str, plan: FetchPlan, report: Report = no_report) -> list[str]:
    """Bring one entry into the store; a file that is there and has not changed in the archive is not fetched again.

    Returns
    -------
    list of str
        The kinds that were written.

    Raises
    ------
    EmresError
        If the entry, a file of it, the network or the store fails. What was whole before stays.
    """
    entry = fetch_entry(plan.mirror, emdb_id)
    group = plan.store.entry(entry.emdb_id)
    missing = [file for file in wanted_files(entry, plan) if plan.force or not is_current(group, file)]
    if not missing:
        clear_downloads(group)
    new = not group.exists()
    group = plan.store.create(entry.emdb_id, entry.to_attrs())
    try:
        for file in missing:
            _bring(file, group, plan, partial(report, emdb_id))
    except BusyError:  # another run fetches it: it is theirs
        raise
    except EmresError:
        if new and not group.kinds():
            _forget(group)
        raise
    return [file.kind for file in missing]


def clear_downloads(group: EntryGroup) -> None:
    """Remove the files that a run had stored when it was killed; what is begun stays, and what has come since."""
    for kind in group.kinds() if group.work.exists() else ():
        name = Path(group.attributes(kind).get("source", {}).get("name", "")).name
        file, stored = group.work / _DOWNLOAD / name, group.path / kind / "zarr.json"
        with suppress(FileNotFoundError):  # as it is of nearly all
            if file.is_file() and file.stat().st_mtime <= stored.stat().st_mtime:
                file.unlink()
    group.tidy()


def _forget(group: EntryGroup) -> None:
    """Remove an entry that has come to nothing, but not the bytes that the next try goes on with."""
    if any(group.work.rglob("*.part")):
        shutil.rmtree(group.path, ignore_errors=True)
    else:
        group.discard()


def find_entry(store: Store, name: str) -> EntryGroup:
    """Return the entry that a user's word means: a name of the store, or an EMDB id in any spelling.

    Raises
    ------
    UsageError
        If it is neither.
    """
    group = store.entry(name)
    return group if group.exists() else store.entry(parse_emdb_id(name))


def wanted_files(entry: Entry, plan: FetchPlan) -> list[MapFile]:
    """Return the files of an entry that a plan asks for.

    Raises
    ------
    ArchiveError
        If half maps are asked for and the entry has none.
    """
    if plan.half_maps and not entry.has_half_maps:
        raise ArchiveError(f"{entry.emdb_id} has no half maps in the archive", cure="fetch it without --half-maps")
    wanted = [file for kind, file in entry.files.items() if kind.startswith("half_map")] if plan.half_maps else []
    wanted += [file for kind, file in entry.files.items() if kind.startswith("mask")] if plan.masks else []
    return [entry.file("map"), *wanted]


def is_current(group: EntryGroup, file: MapFile) -> bool:
    """Tell whether the store holds this very file, by checksum and date of its last update."""
    if not group.exists() or not group.has(file.kind):
        return False
    held = group.attributes(file.kind).get("source", {})
    same = held.get("name") == file.name and held.get("last_update") == file.last_update
    return same and file.md5 in (None, held.get("md5"))


def _bring(file: MapFile, group: EntryGroup, plan: FetchPlan, report: Any) -> None:
    target = group.work / _DOWNLOAD / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    download(
        plan.mirror.url(file.path),
        target,
        md5=file.md5,
        progress=lambda done, total: report(f"download {file.kind}", done, total or 0),
    )
    facts = file_facts(target) if file.md5 is None else {"name": target.name, "md5": file.md5}
    source = {**facts, "last_update": file.last_update}
    try:
        ingest(target, group, file.kind, source=source, progress=partial(report, f"store {file.kind}"))
    finally:  # the file has served, or is no map: either way it is not needed again
        target.unlink(missing_ok=True)
        group.tidy()
