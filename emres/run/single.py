"""One map from wherever it is: a file, an entry group, an entry of a store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emres.archive.disk import disk_errors
from emres.archive.registry import DEFAULT_MODEL
from emres.archive.store import EntryGroup, Store, open_entry
from emres.errors import EmresError, UsageError
from emres.run.export import export_mrc
from emres.run.fetch import find_entry
from emres.run.ingest import import_map
from emres.run.outcome import Report, no_report
from emres.run.predict import predict_entry, predict_job
from emres.volume.grid import Triple

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
    force: bool = False,
    report: Report = no_report,
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
    force : bool
        Replace ``output`` if it exists.
    report : callable
        Told of every stage.

    Returns
    -------
    dict
        ``model``, ``median``, ``p05``, ``p95`` (Å), ``voxels``, ``store`` and ``output`` (paths, where written).

    Raises
    ------
    EmresError
        If any of it cannot be; nothing is left half-written.
    """
    path = Path(source)
    is_file = path.suffix in MAP_SUFFIXES or path.is_file()
    beside = Path(f"{map_stem(path)}_local_resolution.mrc")
    if is_file and store is None:
        output = output or beside
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists already", cure="pass --force to replace it, or another name to -o")
    if not is_file:
        return _predicted(_entry(path, store), model, mask, device, output, report)
    if store is not None:
        group = _imported(path, Store(store), voxel_size, report)
        return _predicted(group, model, mask, device, output, report)
    return _through_work_folder(path, output or beside, voxel_size, model, mask, device, report)


def map_stem(path: Path) -> str:
    """Return a map file's name without its suffixes."""
    stem = path.name
    for suffix in (".gz", ".bz2", ".map", ".mrc", ".ccp4", ".rec"):
        stem = stem.removesuffix(suffix)
    return stem


def _entry(path: Path, store: Path | None) -> EntryGroup:
    if path.suffix == ".zarr" or path.is_dir():
        return open_entry(path)
    if store is None:
        raise UsageError(
            f"there is no map {path}",
            expected="a map file, STORE/EMD-13939.zarr, or an entry with --to STORE",
            cure=f"fetch it first: emres fetch {path} --to STORE",
        )
    return open_entry(find_entry(Store(store), str(path)).path)


def _imported(path: Path, store: Store, voxel_size: float | Triple | None, report: Report) -> EntryGroup:
    name = map_stem(path)
    report(name, "read", 0, 0)
    return import_map(
        path, store, name, voxel_size=voxel_size, progress=lambda done, all_: report(name, "read", done, all_)
    )


def _through_work_folder(
    path: Path, output: Path, voxel_size: float | Triple | None, model: str, mask: str, device: str, report: Report
) -> dict[str, Any]:
    """Predict by way of a store beside the output: after a kill the same command finds it and goes on."""
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    work = output.parent / f".{output.name}.{key}.emres"
    with disk_errors(output.parent):
        output.parent.mkdir(parents=True, exist_ok=True)
    try:
        group = _imported(path, Store(work), voxel_size, report)
        facts = _predicted(group, model, mask, device, output, report)
    except EmresError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
    return {key: value for key, value in facts.items() if key != "store"}


def _predicted(
    group: EntryGroup, model: str, mask: str, device: str, output: Path | None, report: Report
) -> dict[str, Any]:
    job = predict_job(group.path, model, mask=mask, device=device)
    report(group.name, "predict", 0, 0)
    facts: Mapping[str, Any] = predict_entry(job, progress=lambda done, all_: report(group.name, "predict", done, all_))
    told = {name: facts[name] for name in ("model", "median", "p05", "p95", "voxels", "computed")}
    told["store"] = str(group.path / job.result)
    if output is not None:
        told["output"] = str(export_mrc(group, output, job.result, overwrite=True))
    report(group.name, "done", 1, 1)
    return told
