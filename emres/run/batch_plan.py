"""What is to be done for every entry of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emres.archive.registry import DEFAULT_MODEL
from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError
from emres.run.batch_cache import remembered
from emres.run.estimate import HALF_MAPS, estimate_job
from emres.run.export import export_mrc, export_name
from emres.run.fetch import FetchPlan, fetch_into_store, find_entry
from emres.run.jobs import Job
from emres.run.methods import is_method, make_recipe
from emres.run.outcome import Report
from emres.run.predict import predict_job

Fetch = Callable[[str, Report], bool]


@dataclass(frozen=True)
class BatchPlan:
    """What is to be done for every entry.

    Parameters
    ----------
    store : Store
    model : str
        A net, by name or folder, or a reference method: ``fsc``, ``fsc-relion@0.5``, ``monores``, ``resmap``, …
    mask, device : str
        As for :func:`emres.run.predict.predict_job`.
    export : Path, optional
        Folder for ``<name>_local_resolution.mrc``.
    blind : bool
        Tell the net nothing but the maps, though entries report a resolution.
    fetch : callable, optional
        Brings the map of an entry into the store and tells whether it had to; without it, entries must be there.
    max_cache : int, optional
        Bytes that the maps may take which are fetched now: beyond it, those that have served go.
    """

    store: Store
    model: str = DEFAULT_MODEL
    mask: str = "auto"
    device: str = "auto"
    export: Path | None = None
    fetch: Fetch | None = None
    blind: bool = False
    max_cache: int | None = None

    @property
    def stage(self) -> str:
        """What the work is called."""
        return "estimate" if is_method(self.model) else "predict"

    def is_to_fetch(self, group: EntryGroup) -> bool:
        """Tell whether an entry of the archive lacks maps that are needed; maps of one's own are not in the archive."""
        needed = HALF_MAPS if needs_half_maps(self.model) else ("map",)
        ours = group.exists() and not group.name.startswith("EMD-")
        return not ours and not all(group.has(kind) for kind in needed)

    def job(self, group: EntryGroup) -> Job:
        """Return the job for an entry that is there; it raises what :func:`predict_job` raises."""
        if is_method(self.model):
            return estimate_job(group.path, self.model, mask=self.mask, device=self.device)
        return predict_job(group.path, self.model, mask=self.mask, device=self.device, blind=self.blind)

    def done_before(self, group: EntryGroup) -> str | None:
        """Return the name of this very result, if it is there and the maps that it is of have gone since."""
        known = remembered(group)
        if not known.exists() or not self.is_to_fetch(group):
            return None
        try:
            job = self.job(known)
            same = group.has(job.result) and group.attributes(job.result).get("fingerprint") == job.fingerprint()
        except EmresError:  # it remembers other maps than these
            return None
        return job.result if same else None


def needs_half_maps(model: str) -> bool:
    """Tell whether a word for a net or a method means one that reads half maps."""
    return is_method(model) and make_recipe(model).halves


def fetch_by(sources: FetchPlan) -> Fetch:
    """Return a way to bring an entry's map into the store, for :class:`BatchPlan`."""
    return lambda name, report: bool(fetch_into_store(name, sources, report))


def planned(name: str, plan: BatchPlan) -> list[str]:
    """Return what a batch would do for an entry: some of ``fetch``, ``predict``/``estimate``, ``export``."""
    group = find_entry(plan.store, name)
    if (result := plan.done_before(group)) is not None:
        todo: list[str] = []
    elif plan.is_to_fetch(group):
        return ["fetch", plan.stage] + ["export"] * (plan.export is not None)
    else:
        job = plan.job(group)
        result, todo = job.result, [] if job.finished() else [plan.stage]
    stale = plan.export is not None and (todo or not _is_exported(group, result, plan.export))
    return todo + ["export"] * bool(stale)


def export_if_new(group: EntryGroup, kind: str, folder: Path | None, changed: bool) -> dict[str, str]:
    """Export a result unless it was exported before and has not changed since.

    Returns
    -------
    dict
        ``{"output": path}``, or nothing where nothing was to be done.
    """
    if folder is None or (not changed and _is_exported(group, kind, folder)):
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    return {"output": str(export_mrc(group, folder / export_name(group, kind), kind, overwrite=True))}


def _is_exported(group: EntryGroup, kind: str, folder: Path) -> bool:
    target, written = folder / export_name(group, kind), group.path / kind / "zarr.json"
    return target.exists() and target.stat().st_mtime >= written.stat().st_mtime
