"""A data set is a manifest: which entries of which stores, what their target is, on which side of the split they are.

Nothing is copied: ``DATASET/dataset.json`` names entry groups, and patches are cut from them as they are needed. A
family (of sequences; or an entry that has none) lies on one side of the split with all its maps: cubes of one molecule
on both sides would let a net remember what it is asked.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from emres.archive.attributes import check_kind, check_name
from emres.archive.disk import replaced_file
from emres.errors import StoreError, UsageError

FILE = "dataset.json"
FORMAT_VERSION = 1
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
SPLITS = tuple(SHARES)

_DENSITY = re.compile(r"(average|map(_[1-9]\d{0,3})?)\Z")


@dataclass(frozen=True)
class Row:
    """One entry of a data set.

    Parameters
    ----------
    entry : str
        Name of its entry group.
    store : str
        The store that holds it: a path, relative to the data set's folder unless absolute.
    target : str
        Kind of the target, ``local_resolution/fsc``: Å, 0 where there is none.
    split : str
        ``train``, ``validation`` or ``test``.
    family : str
        What the split goes by: a sequence family, or the entry itself.
    weight : float
        How often it is drawn, over the others.
    densities : tuple of str
        What a patch may show: ``map``, other deposits of the same half maps (``map_2``, …), and ``average`` for the
        mean of the two.
    resolution, p05, p95 : float
        Median and percentiles of the target in its mask, Å.
    voxel_size : float
        Å, mean of the axes.
    voxels : int
        How many have a target.
    reported : float, optional
        Resolution reported for the whole map, Å.
    lattice : int
        Above 0 the entry is a box of cubes of that side which have nothing to do with each other.
    """

    entry: str
    store: str
    target: str
    split: str
    family: str
    weight: float
    densities: tuple[str, ...]
    resolution: float
    p05: float
    p95: float
    voxel_size: float
    voxels: int
    reported: float | None = None
    lattice: int = 0

    def __post_init__(self) -> None:
        check_name(self.entry, "name of an entry")
        check_kind(self.target)
        if self.split not in SPLITS:
            raise UsageError("unknown side of a split", got=self.split, expected=", ".join(SPLITS))
        if not self.densities or not all(map(_DENSITY.match, self.densities)):
            raise UsageError("unknown density", got=str(self.densities), expected="map, map_2, …, average")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError("a weight is a number from 0 up", got=f"{self.weight} for {self.entry}")


@dataclass(frozen=True)
class DataSet:
    """Entries with targets, split.

    Parameters
    ----------
    folder : Path
        Holds ``dataset.json``.
    rows : tuple of Row
    made : dict
        How it was made: method of the target, seed, program, what was left out and why (JSON values).
    """

    folder: Path
    rows: tuple[Row, ...]
    made: dict[str, Any] = field(default_factory=dict)

    def side(self, split: str) -> tuple[Row, ...]:
        """Return the rows of one side of the split.

        Raises
        ------
        UsageError
            If there is no such side.
        """
        if split not in SPLITS:
            raise UsageError("unknown side of a split", got=split, expected=", ".join(SPLITS))
        return tuple(row for row in self.rows if row.split == split)

    def store_of(self, row: Row) -> Path:
        """Return the store that holds a row's entry."""
        return self.folder / row.store


def deposit_kind(number: int) -> str:
    """Return the kind of an entry's deposits: ``map``, then ``map_2``, ``map_3`` and on."""
    return "map" if number == 1 else f"map_{number}"


def write_dataset(dataset: DataSet) -> Path:
    """Write ``dataset.json``, whole or not at all, and return its path.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    head = json.dumps({"format_version": FORMAT_VERSION, "made": dataset.made}, ensure_ascii=False)[:-1]
    # One row a line: what changed is seen by any program that compares texts.
    rows = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in dataset.rows)
    path = dataset.folder / FILE
    with replaced_file(path) as part:
        part.write_text(f'{head}, "rows": [\n{rows}\n]}}\n', encoding="utf-8")
    return path


def read_dataset(folder: Path | str) -> DataSet:
    """Read a data set.

    Parameters
    ----------
    folder : path
        The folder, or its ``dataset.json``.

    Raises
    ------
    StoreError
        If there is none, or it is damaged, or a newer emres wrote it.
    """
    path = Path(folder)
    path = path if path.name == FILE else path / FILE
    if not path.is_file():
        raise StoreError(f"{folder} is not a data set", expected=FILE, cure="make one: emres dataset build --to FOLDER")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version = found["format_version"]
        if version > FORMAT_VERSION:
            raise StoreError(f"{path} was written by a newer emres", got=f"format {version}", cure="update emres")
        return DataSet(path.parent, tuple(_row(row) for row in found["rows"]), dict(found["made"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged", got=str(error), cure="build the data set again") from error


def _row(found: Mapping[str, Any]) -> Row:
    known = {item.name for item in fields(Row)}
    values = {key: value for key, value in found.items() if key in known}
    return Row(**{**values, "densities": tuple(values["densities"])})


def split_families(families: Iterable[str], recorded: Mapping[str, str] | None = None, seed: int = 0) -> dict[str, str]:
    """Put every family on one side of the split: 70 % train, 15 % validation, 15 % test.

    Families are taken in an order drawn from their names and the seed, and each goes to the side that lacks most of its
    share. What was recorded stays where it was, so that a data set can grow.

    Parameters
    ----------
    families : iterable of str
    recorded : mapping, optional
        Sides given earlier.
    seed : int

    Returns
    -------
    dict
        Family -> side.

    Examples
    --------
    >>> sides = split_families(f"family {k}" for k in range(20))
    >>> [list(sides.values()).count(side) for side in SPLITS]
    [14, 3, 3]
    """
    sides = dict(recorded or {})
    fresh = sorted(set(families) - set(sides), key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    counts = {split: list(sides.values()).count(split) for split in SPLITS}
    for family in fresh:
        total = sum(counts.values()) + 1
        side = max(SPLITS, key=lambda split: SHARES[split] * total - counts[split])
        sides[family] = side
        counts[side] += 1
    return sides


def counts(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Return, for every side of the split, how many entries, families and voxels with a target it has."""
    return {
        split: {
            "entries": len(side),
            "families": len({row.family for row in side}),
            "voxels": sum(row.voxels for row in side),
        }
        for split in SPLITS
        for side in [[row for row in rows if row.split == split]]
    }
