"""One map, or two half maps, from wherever they are: files, an entry group, an entry of a store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.attributes import LOCAL_RESOLUTION, UNCERTAINTY
from emres.archive.disk import disk_errors
from emres.archive.registry import DEFAULT_MODEL
from emres.archive.store import EntryGroup, Store, open_entry
from emres.errors import EmresError, UsageError
from emres.run.cluster_job import fitted, run_job
from emres.run.estimate import HALF_MAPS, estimate_job, missing_halves
from emres.run.export import export_mrc
from emres.run.fetch import find_entry
from emres.run.ingest import import_map
from emres.run.jobs import Job
from emres.run.methods import Recipe
from emres.run.outcome import Report, no_report
from emres.run.predict import predict_job
from emres.volume.grid import Triple

if TYPE_CHECKING:
    from distributed import Client

MAP_SUFFIXES = (".map", ".mrc", ".ccp4", ".rec", ".gz", ".bz2")


def predict_input(
    source: str,
    *,
    output: Path | None = None,
    store: Path | None = None,
    model: str = DEFAULT_MODEL,
    mask: str = "auto",
    device: str = "auto",
    voxel_size: float | Triple | None = None,
    resolution: float | None = None,
    blind: bool = False,
    uncertainty: Path | None = None,
    force: bool = False,
    report: Report = no_report,
    client: Client | None = None,
) -> dict[str, Any]:
    """Predict one map.

    Parameters
    ----------
    source : str
        A map file, an entry group, or the name of an entry of ``store``.
    output : Path, optional
        MRC file to write. For a map file without ``store`` it is ``<name>_local_resolution.mrc`` by default.
    store : Path, optional
        Where map and result are kept.
    model, mask, device
        See :func:`emres.run.predict.predict_job`.
    voxel_size : float or (z, y, x), optional
        Å; overrides the header's.
    resolution : float, optional
        Å, of the whole map: what a model that can be told is told, in place of what the entry reports.
    blind : bool
        Tell it nothing but the map.
    uncertainty : Path, optional
        MRC file for one standard deviation of every voxel.
    force : bool
        Replace ``output`` and ``uncertainty`` if they exist.
    report : callable
        Told of every stage.
    client : distributed.Client, optional
        Where to compute, its workers being in the same file system: as one task, or a big map's blocks.

    Returns
    -------
    dict
        ``model``, ``median``, ``p05``, ``p95`` (Å), ``voxels``, ``store`` and ``output`` (paths, where written),
        ``reported`` (what the model was told, Å), ``uncertainty`` (its median, Å), ``warnings``.

    Raises
    ------
    EmresError
        If any of it cannot be; nothing is left half-written.
    """

    def job_of(group: EntryGroup) -> Job:
        job = predict_job(group.path, model, mask=mask, device=device, blind=blind, resolution=resolution)
        if uncertainty is not None and not job.uncertainty:
            raise UsageError(f"{job.contract.name_version} does not tell how sure it is", cure="use another model")
        return job

    if uncertainty is not None:
        _check_output(uncertainty, force)
    work = _Work("predict", job_of, store, voxel_size, report, device, client, uncertainty)
    if is_map_file(source):
        return work.through_files({"map": Path(source)}, output, force)
    return work.on_entry(source, output, force)


def estimate_input(
    source: str | None,
    recipe: Recipe,
    *,
    half_maps: tuple[Path, Path] | None = None,
    output: Path | None = None,
    store: Path | None = None,
    mask: str = "auto",
    device: str = "auto",
    voxel_size: float | Triple | None = None,
    force: bool = False,
    report: Report = no_report,
    client: Client | None = None,
) -> dict[str, Any]:
    """Estimate the local resolution of one map, or of two half maps.

    Parameters
    ----------
    source : str, optional
        A map file, an entry group, or the name of an entry of ``store``. Beside two half maps the map is where the mask
        is found; without it, that is their average.
    recipe : Recipe
        From :func:`emres.run.methods.make_recipe`.
    half_maps : two paths, optional
        Where they are not in the entry.
    output, store, mask, device, voxel_size, force, report, client
        As for :func:`predict_input`.

    Returns
    -------
    dict
        As :func:`predict_input`, and ``method``, ``definition``, ``threshold``, ``window`` (Å), ``capped_share``,
        ``unresolved_share``, ``warnings``.

    Raises
    ------
    EmresError
        If any of it cannot be; nothing is left half-written.
    """

    def job_of(group: EntryGroup) -> Job:
        return estimate_job(group.path, recipe, mask=mask, device=device)

    work = _Work("estimate", job_of, store, voxel_size, report, device, client)
    halves = dict(zip(HALF_MAPS, half_maps or (), strict=False))
    if source is not None and not is_map_file(source):
        if halves:
            raise UsageError(f"{source} is an entry, and half map files were given beside it", cure=_IMPORT_HALVES)
        return work.on_entry(source, output, force)
    if recipe.halves and not halves:
        what = f"{source} is one map" if source else "got none"
        raise missing_halves(recipe, what, "pass both: --half-map-1 A.mrc --half-map-2 B.mrc")
    if not recipe.halves and (halves or source is None):
        raise UsageError(f"{recipe.estimator} reads one map", cure="give it as INPUT, and no half maps")
    files = {"map": Path(source)} if source is not None else {}
    return work.through_files(files | halves, output, force)


_IMPORT_HALVES = "bring them into the entry: emres import HALF --name NAME --kind half_map_1 --to STORE"


def map_stem(path: Path) -> str:
    """Return a map file's name without its suffixes."""
    stem = path.name
    for suffix in (".gz", ".bz2", ".map", ".mrc", ".ccp4", ".rec"):
        stem = stem.removesuffix(suffix)
    return stem


def is_map_file(source: str) -> bool:
    """Tell whether a user's word is a map file, not an entry."""
    path = Path(source)
    return path.suffix in MAP_SUFFIXES or path.is_file()


@dataclass(frozen=True)
class _Work:
    """What is to be done with an entry, once it is there."""

    stage: str
    job_of: Callable[[EntryGroup], Job]
    store: Path | None
    voxel_size: float | Triple | None
    report: Report
    device: str
    client: Client | None
    uncertainty: Path | None = None

    def on_entry(self, source: str, output: Path | None, force: bool) -> dict[str, Any]:
        """Work on an entry group, or on an entry of the store."""
        _check_output(output, force)
        return self._done(find_source(source, self.store), output)

    def through_files(self, files: Mapping[str, Path], output: Path | None, force: bool) -> dict[str, Any]:
        """Work on map files, by way of the store or of a work folder."""
        name = map_stem(next(iter(files.values())))
        if self.store is None and output is None:
            output = Path(f"{name}_local_resolution.mrc")
        _check_output(output, force)
        if output is None or self.store is not None:
            return self._done(self._imported(files, Store(self.store or Path()), name), output)
        return self._through_work_folder(files, name, output)

    def _through_work_folder(self, files: Mapping[str, Path], name: str, output: Path) -> dict[str, Any]:
        """Go by way of a store beside the output: after a kill the same command finds it and goes on."""
        paths = "\n".join(str(path.resolve()) for path in files.values())
        work = output.parent / f".{output.name}.{hashlib.sha256(paths.encode()).hexdigest()[:12]}.emres"
        with disk_errors(output.parent):
            output.parent.mkdir(parents=True, exist_ok=True)
        try:
            facts = self._done(self._imported(files, Store(work), name), output)
        except EmresError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)
        return {key: value for key, value in facts.items() if key != "store"}

    def _imported(self, files: Mapping[str, Path], store: Store, name: str) -> EntryGroup:
        for kind, path in files.items():
            self.report(name, "read", 0, 0)
            import_map(
                path,
                store,
                name,
                kind=kind,
                voxel_size=self.voxel_size,
                progress=lambda done, all_: self.report(name, "read", done, all_),
            )
        return store.entry(name)

    def _done(self, group: EntryGroup, output: Path | None) -> dict[str, Any]:
        job = fitted(self.job_of(group), self.client)
        self.report(group.name, self.stage, 0, 0)
        tell = partial(self.report, group.name, self.stage)
        facts = dict(run_job(job, self.client, self.stage, self.device, tell))
        facts["store"] = str(group.path / job.result)
        if output is not None:
            facts["output"] = str(export_mrc(group, output, job.result, overwrite=True))
        if self.uncertainty is not None:
            kind = job.result.replace(LOCAL_RESOLUTION, UNCERTAINTY, 1)
            facts["uncertainty_output"] = str(export_mrc(group, self.uncertainty, kind, overwrite=True))
        self.report(group.name, "done", 1, 1)
        return facts


def _check_output(output: Path | None, force: bool) -> None:
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists already", cure="pass --force to replace it, or another name to -o")


def find_source(source: str, store: Path | None) -> EntryGroup:
    """Return the entry that a user's word means: an entry group, or a name in a store.

    Raises
    ------
    UsageError, StoreError
        If there is none.
    """
    path = Path(source)
    if path.suffix == ".zarr" or path.is_dir():
        return open_entry(path)
    if store is None:
        raise UsageError(
            f"there is no map {path}",
            expected="a map file, STORE/EMD-13939.zarr, or an entry with --to STORE",
            cure=f"fetch it first: emres fetch {path} --to STORE",
        )
    return open_entry(find_entry(Store(store), source).path)
