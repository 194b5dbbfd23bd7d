"""Entries -> targets -> a data set: a manifest over stores, in which nothing is copied.

The targets are jobs like any other: what is done is not done again, and the same command goes on after a kill. An entry
that cannot be used is left out, with the reason on record; the others go on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres import __version__
from emres.archive.attributes import LOCAL_RESOLUTION
from emres.archive.disk import disk_errors, only_writer
from emres.archive.manifest import FILE, DataSet, Row, deposit_kind, read_dataset, split_families, write_dataset
from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError, UsageError
from emres.run.batch import BatchPlan, fetch_by, needs_half_maps, run_batch
from emres.run.estimate import HALF_MAPS
from emres.run.fetch import FetchPlan, find_entry
from emres.run.methods import make_recipe
from emres.run.outcome import Outcome, Report, no_report

if TYPE_CHECKING:
    from distributed import Client

    from emres.archive.emdb import Mirror

STORE = "store"
FEWEST_VOXELS = 500
MOST_UNRESOLVED = 0.5


@dataclass(frozen=True)
class BuildPlan:
    """What a data set is to be made of.

    Parameters
    ----------
    folder : Path
        The data set: made, or extended.
    names : sequence of str
        Accessions, or names of entries of the store.
    targets : sequence of str
        Reference methods: ``fsc``, ``fsc-relion@0.5``, ``monores``, ``resmap``, … Each gives an entry a row.
    store : Store, optional
        ``FOLDER/store`` by default.
    mask, device : str
        As for :class:`emres.run.batch.BatchPlan`.
    families : mapping
        Entry, or model, -> family. What is not named is a family of its own: the model, or the entry.
    seed : int
        Of the split.
    fewest : int
        Entries with a target in fewer voxels are left out.
    most_unresolved : float
        And those of whose mask more has no local resolution: what is nearly all noise is no reference.
    mirror : Mirror, optional
        Where entries are fetched from that the store lacks; without it, they must be there.
    left_out : sequence of Outcome
        What failed before: it is recorded.
    """

    folder: Path
    names: Sequence[str]
    targets: Sequence[str] = ("fsc",)
    store: Store | None = None
    mask: str = "auto"
    device: str = "auto"
    families: Mapping[str, str] = field(default_factory=dict)
    seed: int = 1
    fewest: int = FEWEST_VOXELS
    most_unresolved: float = MOST_UNRESOLVED
    mirror: Mirror | None = None
    left_out: Sequence[Outcome] = ()

    @property
    def source(self) -> Store:
        """The store that holds the entries."""
        return self.store or Store(self.folder / STORE)

    def batch(self, target: str) -> BatchPlan:
        """Return the batch that makes one of the targets."""
        fetch = (
            fetch_by(FetchPlan(self.source, self.mirror, half_maps=needs_half_maps(target))) if self.mirror else None
        )
        return BatchPlan(self.source, target, self.mask, self.device, fetch=fetch)


@dataclass(frozen=True)
class Built:
    """A data set, and what came of each of the entries that it was to be made of."""

    dataset: DataSet
    outcomes: tuple[Outcome, ...]


def build(plan: BuildPlan, client: Client | None = None, report: Report = no_report) -> Built:
    """Make or extend a data set.

    Parameters
    ----------
    plan : BuildPlan
    client : distributed.Client, optional
    report : callable
        Told of every stage of every entry.

    Returns
    -------
    Built
        The outcome of an entry that was left out is ``failed``, with the reason, which ``made["left_out"]`` has too.

    Raises
    ------
    UsageError
        If a target is no reference method.
    StoreError
        If the data set cannot be read or written, or another run is building it.
    """
    kinds = {target: make_recipe(target).result for target in plan.targets}
    with open_or_new(plan.folder) as dataset:
        outcomes = list(plan.left_out)
        rows, reasons = [], {outcome.name: {"simulation": outcome.reason} for outcome in plan.left_out}
        for target, kind in kinds.items():
            for outcome in run_batch(plan.names, plan.batch(target), client, report):
                row, judged = _judged(outcome, plan, kind, dataset)
                outcomes.append(judged)
                if row is None:
                    reasons.setdefault(judged.name, {})[kind.removeprefix(f"{LOCAL_RESOLUTION}/")] = judged.reason
                else:
                    rows.append(row)
        sides = split_families((row.family for row in rows), recorded_sides(dataset), plan.seed)
        rows = [replace(row, split=sides[row.family]) for row in rows]
        return Built(with_rows(dataset, rows, _made(plan, kinds), reasons), tuple(outcomes))


def _made(plan: BuildPlan, kinds: Mapping[str, str]) -> dict[str, Any]:
    targets = {kind.removeprefix(f"{LOCAL_RESOLUTION}/"): {"mask": plan.mask} for kind in kinds.values()}
    rules = {"fewest_voxels": plan.fewest, "most_unresolved": plan.most_unresolved}
    return {"program": f"emres {__version__}", "seed": plan.seed, **rules, "targets": targets}


def _judged(outcome: Outcome, plan: BuildPlan, kind: str, dataset: DataSet) -> tuple[Row | None, Outcome]:
    """Return the row of an entry, or none and the reason why it is left out."""
    if outcome.status == "failed":
        return None, outcome
    try:
        return row_of(find_entry(plan.source, outcome.name), kind, plan, dataset), outcome
    except EmresError as error:
        return None, replace(outcome, status="failed", reason=str(error))


def row_of(group: EntryGroup, kind: str, plan: BuildPlan, dataset: DataSet) -> Row:
    """Return the row of an entry that has its target; its side of the split is still to be found.

    Raises
    ------
    UsageError
        If too few of its voxels have a target, or too many of its mask have no local resolution.
    """
    found, grid, entry = group.attributes(kind), group.grid(kind), group.attributes()["entry"]
    _check_target(group.name, found, plan)
    known = {row.entry: row.family for row in dataset.rows}
    return Row(
        entry=group.name,
        store=store_word(plan.source, plan.folder),
        target=kind,
        split="train",
        family=known.get(group.name) or family_of(group.name, entry, plan.families),
        weight=1.0,
        densities=densities_of(group, kind),
        resolution=found["median"],
        p05=found["p05"],
        p95=found["p95"],
        voxel_size=round(grid.mean_voxel_size, 6),
        voxels=found["voxels"],
        reported=entry.get("resolution"),
    )


def _check_target(name: str, found: Mapping[str, Any], plan: BuildPlan) -> None:
    if found["voxels"] < plan.fewest:
        raise UsageError(f"{name} has a target in too few voxels", got=f"{found['voxels']}", expected=f"{plan.fewest}")
    unresolved = found.get("unresolved_share", 0.0)
    if unresolved > plan.most_unresolved:
        got, wanted = f"{unresolved:.0%}", f"at most {plan.most_unresolved:.0%}"
        raise UsageError(f"{name} has no local resolution in most of its mask", got=got, expected=wanted)


def densities_of(group: EntryGroup, kind: str) -> tuple[str, ...]:
    """Return what a patch of an entry may show: maps, and the average of half maps, that lie on its target."""
    grid = group.grid(kind)
    further = itertools.takewhile(group.has, map(deposit_kind, itertools.count(2)))
    there = [name for name in ("map", *further, *HALF_MAPS) if group.has(name) and group.grid(name).matches(grid)]
    maps = [name for name in there if name not in HALF_MAPS]
    return *maps, *(["average"] if set(HALF_MAPS) <= set(there) else [])


def family_of(name: str, entry: Mapping[str, Any], families: Mapping[str, str]) -> str:
    """Return the family of an entry: as named for it or for its model, else the model, else the entry.

    Examples
    --------
    >>> family_of("3hsy-1", {"model": {"name": "3hsy", "file": "3hsy.cif.gz"}}, {"3hsy.cif.gz": "7"})
    '7'
    >>> family_of("3hsy-1", {"model": {"name": "3hsy", "file": "3hsy.cif.gz"}}, {}), family_of("EMD-1234", {}, {})
    ('3hsy', 'EMD-1234')
    """
    model = entry.get("model") or {}
    words = [name, *(str(model[key]) for key in ("file", "name") if key in model)]
    return next((families[word] for word in words if word in families), words[-1])


def store_word(store: Store, folder: Path) -> str:
    """Return how a manifest names a store: from the data set's folder if it lies in it, else by its whole path."""
    path = store.path.absolute()
    return path.relative_to(folder.absolute()).as_posix() if path.is_relative_to(folder.absolute()) else path.as_posix()


@contextmanager
def open_or_new(folder: Path) -> Iterator[DataSet]:
    """Read a data set, or begin an empty one; no other run can write it meanwhile.

    Raises
    ------
    StoreError
        If the folder cannot be written, its manifest is damaged, or another run holds it.
    """
    new = not folder.exists()
    with ExitStack() as stack:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if new:
                stack.callback(_remove_if_empty, folder)
            stack.enter_context(only_writer(folder / FILE))
        yield read_dataset(folder) if (folder / FILE).is_file() else DataSet(folder, ())


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def recorded_sides(dataset: DataSet) -> dict[str, str]:
    """Return the side of the split that each family of a data set is on."""
    return {row.family: row.split for row in dataset.rows}


def with_rows(
    dataset: DataSet,
    rows: Sequence[Row],
    made: Mapping[str, Any],
    reasons: Mapping[str, Mapping[str, str]] | None = None,
) -> DataSet:
    """Write a data set with rows added or renewed, in an order that does not tell how it grew.

    Parameters
    ----------
    dataset : DataSet
    rows : sequence of Row
    made : mapping
        Joins what is on record.
    reasons : mapping, optional
        Entry -> target -> why it was left out.
    """
    joined = {(row.store, row.entry, row.target): row for row in (*dataset.rows, *rows)}
    record = _joined(dataset.made, made)
    left_out = _joined(dataset.made.get("left_out", {}), reasons or {})
    for row in rows:
        left_out.get(row.entry, {}).pop(row.target.removeprefix(f"{LOCAL_RESOLUTION}/"), None)
        left_out.get(row.entry, {}).pop("simulation", None)
    record["left_out"] = {name: dict(sorted(why.items())) for name, why in sorted(left_out.items()) if why}
    extended = DataSet(dataset.folder, tuple(joined[key] for key in sorted(joined)), record)
    write_dataset(extended)
    return extended


def _joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return two records as one; tables in them are joined, too."""
    both = {**old, **new}
    return {
        key: _joined(old[key], value) if isinstance(value, Mapping) and isinstance(old.get(key), Mapping) else value
        for key, value in both.items()
    }
