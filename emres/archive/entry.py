"""What EMDB knows about an entry: its id, its facts, its files. Pure: nothing is opened or fetched."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from emres.errors import ArchiveError, StoreError, UsageError

_ID = re.compile(r"(?:emd[-_]?)?([0-9]{1,12})", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_KIND = re.compile(r"map|half_map_[12]|mask(?:_[1-9][0-9]{0,2})?|additional_[0-9]{1,3}")


def parse_emdb_id(text: str) -> str:
    """Return the official form of an EMDB id.

    Parameters
    ----------
    text : str
        ``EMD-6824``, ``emd_6824`` or ``6824``; in any case, with blanks around it.

    Returns
    -------
    str
        ``EMD-`` and 4 to 6 digits.

    Raises
    ------
    UsageError
        If it is not an id, or one whose zeros are missing (``EMD-339`` means ``EMD-0339``).

    Examples
    --------
    >>> parse_emdb_id("emd_6824")
    'EMD-6824'
    """
    match = _ID.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise UsageError("this is not an EMDB id", got=_short(text), expected="EMD- and 4 to 6 digits")
    digits = match[1]
    official = digits.lstrip("0").zfill(4)
    if len(official) > 6:
        raise UsageError("this EMDB id has too many digits", got=f"EMD-{digits}", expected="4 to 6 digits")
    if digits != official:
        raise UsageError(
            "EMDB ids are padded to four digits",
            got=f"EMD-{digits}",
            expected=f"EMD-{official}",
            cure=f"write EMD-{official} if you mean that entry",
        )
    return f"EMD-{digits}"


def entry_path(emdb_id: str) -> str:
    """Return an entry's folder relative to the root of a mirror: ``structures/EMD-6824``."""
    return f"structures/{parse_emdb_id(emdb_id)}"


def header_path(emdb_id: str) -> str:
    """Return the path of an entry's header XML relative to the root of a mirror."""
    return f"{entry_path(emdb_id)}/header/{emdb_id.lower()}.xml"


def primary_map_name(emdb_id: str) -> str:
    """Return the name of an entry's primary map, the only file name that follows from the id."""
    return f"emd_{emdb_id.removeprefix('EMD-')}.map.gz"


def folder_of(kind: str) -> str:
    """Return the folder inside an entry that holds files of this kind."""
    if kind == "map":
        return "map"
    return "masks" if kind.startswith("mask") else "other"


@dataclass(frozen=True)
class MapFile:
    """One map of an entry, as the archive holds it.

    Parameters
    ----------
    kind : str
        ``map``, ``half_map_1``, ``half_map_2``, ``mask``, ``mask_2``, ..., ``additional_1``, ...
    name : str
        Bare file name, from the metadata.
    path : str
        Relative to the root of a mirror: ``structures/EMD-6824/map/emd_6824.map.gz``.
    md5 : str, optional
        From the holdings; of the file or of its content.
    last_update : str, optional
        Date from the holdings, ``2022-10-12``.

    Raises
    ------
    ArchiveError
        If the name is anything but a bare, harmless file name: names come from outside.
    """

    kind: str
    name: str
    path: str
    md5: str | None = None
    last_update: str | None = None

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise ArchiveError("the archive names an unknown kind of map", got=_short(self.kind))
        if not _NAME.fullmatch(self.name):
            raise ArchiveError(
                "the archive names a file unsafely",
                got=_short(self.name),
                expected="a bare file name of letters, digits and . _ + -",
            )
        parts = self.path.split("/")
        emdb_id = parse_emdb_id(parts[1] if len(parts) > 1 else "")
        if parts != ["structures", emdb_id, folder_of(self.kind), self.name]:
            raise ArchiveError("the archive names a path outside its entry", got=_short(self.path))

    @classmethod
    def of(
        cls, emdb_id: str, kind: str, name: str, *, md5: str | None = None, last_update: str | None = None
    ) -> MapFile:
        """Return the file of this name in the folder where the archive keeps its kind."""
        return cls(kind, name, f"{entry_path(emdb_id)}/{folder_of(kind)}/{name}", md5, last_update)


@dataclass(frozen=True)
class Entry:
    """One record of EMDB with all its maps.

    Parameters
    ----------
    emdb_id : str
        ``EMD-25107``.
    title : str
    method : str or None
        ``singleParticle``, ``helical``, ``subtomogramAveraging``, ``tomography``, ``electronCrystallography``.
    resolution : float or None
        Å, as the authors state it.
    resolution_method : str or None
        Such as ``FSC 0.143 CUT-OFF``.
    contour_level : float or None
        The authors' level, in density units of the primary map.
    status : str
        ``REL`` for a released entry, ``OBS`` for an obsolete one.
    release_date, update_date : str or None
        ``2022-10-12``.
    fitted_pdbs : tuple of str
        Atomic models that belong to the map, lower case.
    point_group : str or None
        Symmetry applied in the reconstruction.
    superseded_by : tuple of str
        Ids of the entries that replace an obsolete one.
    files : mapping of str to MapFile
        By kind.
    """

    emdb_id: str
    title: str = ""
    method: str | None = None
    resolution: float | None = None
    resolution_method: str | None = None
    contour_level: float | None = None
    status: str = "REL"
    release_date: str | None = None
    update_date: str | None = None
    fitted_pdbs: tuple[str, ...] = ()
    point_group: str | None = None
    superseded_by: tuple[str, ...] = ()
    files: Mapping[str, MapFile] = field(default_factory=dict, hash=False)

    def file(self, kind: str) -> MapFile:
        """Return the file of this kind.

        Raises
        ------
        ArchiveError
            If the entry has none.
        """
        if kind not in self.files:
            raise ArchiveError(f"{self.emdb_id} has no {kind} in the archive", got=f"only {', '.join(self.files)}")
        return self.files[kind]

    @property
    def has_half_maps(self) -> bool:
        """Whether both half maps are archived."""
        return {"half_map_1", "half_map_2"} <= self.files.keys()

    def with_files(self, files: Iterable[MapFile]) -> Entry:
        """Return the entry with these files instead of its own."""
        return replace(self, files={file.kind: file for file in files})

    def to_attrs(self) -> dict[str, Any]:
        """Return the entry as JSON values, for the attributes of a store."""
        lists = {"fitted_pdbs": list(self.fitted_pdbs), "superseded_by": list(self.superseded_by)}
        return {**vars(self), **lists, "files": {kind: asdict(file) for kind, file in self.files.items()}}

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any]) -> Entry:
        """Return the entry that :meth:`to_attrs` wrote.

        Raises
        ------
        StoreError
            If the attributes do not describe an entry.
        """
        try:
            files = {kind: MapFile(**file) for kind, file in attrs["files"].items()}
            lists = {name: tuple(attrs[name]) for name in ("fitted_pdbs", "superseded_by")}
            return cls(**{**attrs, **lists, "files": files})
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                "the attributes of a store do not describe an EMDB entry",
                got=repr(error),
                cure="fetch the entry again with --force",
            ) from error

    def _repr_html_(self) -> str:
        resolution = f"{self.resolution:g} Å ({self.resolution_method or '?'})" if self.resolution else None
        facts = {
            "title": self.title,
            "method": self.method,
            "point group": self.point_group,
            "resolution": resolution,
            "contour level": self.contour_level,
            "models": ", ".join(self.fitted_pdbs),
            "released": self.release_date,
            "updated": self.update_date,
            "status": self.status,
            "files": ", ".join(file.name for file in self.files.values()),
        }
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><th {left}>{name}</th><td {left}>{html.escape(str(value))}</td></tr>"
            for name, value in facts.items()
            if value not in (None, "")
        )
        return f"<table><caption>{html.escape(self.emdb_id)}</caption>{rows}</table>"


def _short(value: object) -> str:
    """Return what was met in a form fit for one line of an error message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
