"""The calls of a notebook: the same work as the command line's, with Python values in and out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from emres.archive.emdb import Mirror
from emres.archive.registry import DEFAULT_MODEL
from emres.archive.store import Store
from emres.run.batch import BatchPlan, fetch_by, needs_half_maps, run_batch
from emres.run.fetch import MOST_JOBS, FetchPlan, fetch_entries
from emres.run.outcome import Outcome, Report
from emres.view.progress import notebook_bars

if TYPE_CHECKING:
    from distributed import Client


def fetch(
    emdb_ids: str | Sequence[str],
    to: Path | str = "emdb",
    *,
    mirror: Mirror | Path | str | None = None,
    half_maps: bool = False,
    masks: bool = False,
    force: bool = False,
    jobs: int = MOST_JOBS,
    report: Report | None = None,
) -> list[Outcome]:
    """Fetch entries from EMDB into a store.

    Parameters
    ----------
    emdb_ids : str or sequence of str
        ``"EMD-13939"``, …
    to : path
        The store, a folder.
    mirror : Mirror, URL or folder, optional
        ``EMRES_MIRROR`` or the archive itself by default.
    half_maps, masks : bool
        Fetch these too.
    force : bool
        Fetch again what is there.
    jobs : int
        Entries at once, at most 4.
    report : callable
        ``report(name, stage, done, total)``; by default a progress bar in a notebook, and nothing elsewhere.

    Returns
    -------
    list of Outcome
        One an entry; ``status`` is ``done``, ``skipped`` (there already) or ``failed`` with its ``reason``.
    """
    names = [emdb_ids] if isinstance(emdb_ids, str) else list(emdb_ids)
    plan = FetchPlan(Store(Path(to)), _mirror(mirror), half_maps, masks, force)
    with told_by(report, len(names), "entries") as tell:
        return list(fetch_entries(names, plan, jobs=jobs, report=tell))


def batch_predict(
    names: str | Sequence[str],
    to: Path | str = "emdb",
    *,
    model: str = DEFAULT_MODEL,
    mask: str = "auto",
    device: str = "auto",
    export: Path | str | None = None,
    blind: bool = False,
    mirror: Mirror | Path | str | None = None,
    client: Client | None = None,
    report: Report | None = None,
) -> list[Outcome]:
    """Fetch what is missing, predict (or estimate), and export, for many entries.

    Parameters
    ----------
    names : str or sequence of str
        Accessions, or names of entries of the store.
    to : path
        The store, a folder.
    model : str
        A net, by name or folder, or a reference method: ``fsc``, ``fsc-relion@0.5``, ``monores``, ``resmap``, …
    mask, device : str
        As in :func:`emres.predict`.
    export : path, optional
        Folder for ``<name>_local_resolution.mrc``.
    blind : bool
        Tell the net nothing but the maps; otherwise it is told the resolution that an entry reports.
    mirror : Mirror, URL or folder, optional
    client : distributed.Client, optional
        From ``emres.connect`` or anywhere else; without one everything runs in this process.
    report : callable
        As for :func:`emres.fetch`.

    Returns
    -------
    list of Outcome
        ``facts``: ``median``, ``p05``, ``p95`` (Å), ``voxels``, ``model``, ``output``.
    """
    store = Store(Path(to))
    plan = BatchPlan(
        store,
        model,
        mask,
        device,
        None if export is None else Path(export),
        fetch=fetch_by(FetchPlan(store, _mirror(mirror), half_maps=needs_half_maps(model))),
        blind=blind,
    )
    entries = [names] if isinstance(names, str) else list(names)
    with told_by(report, len(entries), "maps") as tell:
        return list(run_batch(entries, plan, client, tell))


@contextmanager
def told_by(report: Report | None, total: int, unit: str) -> Iterator[Report]:
    """Yield the report that was given, or the progress bars of a notebook."""
    if report is not None:
        yield report
        return
    with notebook_bars(total, unit) as bars:
        yield bars


def _mirror(mirror: Mirror | Path | str | None) -> Mirror:
    return mirror if isinstance(mirror, Mirror) else Mirror.at(mirror)
