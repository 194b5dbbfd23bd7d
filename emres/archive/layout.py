"""Records -> a folder with the archive's layout: what :mod:`emres.archive.emdb` reads, written.

For the archive that ships with emres, for mirrors of one's own maps, and for tests. Headers hold what the record
knows and nothing else, so they are shorter than EMDB's schema asks for.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from emres.archive.entry import Entry, MapFile, header_path, primary_map_name

_PROCESSING = {
    "singleParticle": "singleparticle_processing",
    "helical": "helical_processing",
    "subtomogramAveraging": "subtomogram_averaging_processing",
    "tomography": "tomography_processing",
    "electronCrystallography": "crystallography_processing",
}
_LISTS = {"map": "map", "half": "half_maps", "mask": "masks", "additional": "additional_maps"}


def usual_name(emdb_id: str, kind: str) -> str:
    """Return the name that the archive usually gives to a file of this kind.

    Examples
    --------
    >>> usual_name("EMD-6824", "mask_2")
    'emd_6824_msk_2.map'
    """
    if kind == "map":
        return primary_map_name(emdb_id)
    stem = primary_map_name(emdb_id).removesuffix(".map.gz")
    if kind.startswith("mask"):
        return f"{stem}_msk_{kind.removeprefix('mask').lstrip('_') or 1}.map"
    return f"{stem}_{kind}.map.gz"


def add_entry(root: Path, facts: Entry, maps: Mapping[str, Path], *, last_update: str | None = None) -> Entry:
    """Write an entry: its maps (byte-identical where they already are gzipped, or not, as the name says) and header.

    Parameters
    ----------
    root : Path
        Root of the mirror.
    facts : Entry
        Its files do not matter.
    maps : mapping of str to Path
        Map files by kind.
    last_update : str, optional
        Date of the files in this mirror; default: the entry's ``update_date``.

    Returns
    -------
    Entry
        With the files, their checksums and dates.
    """
    files, last_update = [], last_update or facts.update_date
    for kind, source in maps.items():
        file = MapFile.of(facts.emdb_id, kind, usual_name(facts.emdb_id, kind), last_update=last_update)
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _place(source, target)
        files.append(replace(file, md5=hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest()))
    entry = facts.with_files(files)
    header = root / header_path(entry.emdb_id)
    header.parent.mkdir(parents=True, exist_ok=True)
    header.write_bytes(header_xml(entry))
    return entry


def write_lists(root: Path, entries: Iterable[Entry]) -> None:
    """Write the weekly lists (holdings and status) of a mirror."""
    entries = list(entries)
    folder = root / "status/latest"
    folder.mkdir(parents=True, exist_ok=True)
    holdings = {entry.emdb_id: holdings_record(entry) for entry in entries if entry.status == "REL"}
    status = {entry.emdb_id: status_record(entry) for entry in entries}
    for name, records in (("emdb_released_holdings", holdings), ("emdb_status", status)):
        (folder / f"{name}.json").write_text(f"{json.dumps(records, indent=1, ensure_ascii=False)}\n", encoding="utf-8")


def holdings_record(entry: Entry) -> dict[str, Any]:
    """Return what the archive's list of released holdings says of an entry."""
    update = _last_update(entry)
    header = {
        "file_name": Path(header_path(entry.emdb_id)).name,
        "last_update": update,
        "md5_checksum": hashlib.md5(header_xml(entry), usedforsecurity=False).hexdigest(),
    }
    record: dict[str, Any] = {"entry_last_update": update, "headers": [header]}
    for file in entry.files.values():
        item = {"file_name": file.name, "last_update": file.last_update or update, "md5_checksum": file.md5 or ""}
        record.setdefault(_LISTS[file.kind.split("_")[0]], []).append(item)
    return record


def status_record(entry: Entry) -> dict[str, Any]:
    """Return what the archive's status list says of an entry."""
    successor = {"superseded_by": entry.superseded_by[0]} if entry.superseded_by else {}
    facts = {"status": entry.status, "title": entry.title, "authors": [], "last_update": _last_update(entry)}
    return {**facts, **successor}


def _last_update(entry: Entry) -> str:
    return max((file.last_update or "" for file in entry.files.values()), default=entry.update_date or "")


def header_xml(entry: Entry) -> bytes:
    """Return a header (schema v3) that holds what the record knows; :func:`parse_entry_xml` reads it back."""
    root = Element("emd", emdb_id=entry.emdb_id, version="3.0.1.7")
    _put(root, "admin/current_status/code", entry.status)
    _put(root, "admin/key_dates/map_release", entry.release_date)
    _put(root, "admin/key_dates/update", entry.update_date)
    for successor in entry.superseded_by:
        _put(_add(root, "admin/superseded_by_list", "entry"), "entry", successor)
    _put(root, "admin/title", entry.title)
    for pdb in entry.fitted_pdbs:
        _put(_add(root, "crossreferences/pdb_list", "pdb_reference"), "pdb_id", pdb)
    determination = "structure_determination_list/structure_determination"
    _put(root, f"{determination}/method", entry.method)
    reconstruction = f"{determination}/{_PROCESSING.get(entry.method or '', 'image_processing')}/final_reconstruction"
    _put(root, f"{reconstruction}/applied_symmetry/point_group", entry.point_group)
    _put(root, f"{reconstruction}/resolution", entry.resolution, units="Å", res_type="BY AUTHOR")
    _put(root, f"{reconstruction}/resolution_method", entry.resolution_method)
    for file in entry.files.values():
        _put(_home(root, file.kind), "file", file.name)
    contour = "map/contour_list/contour"
    _put(root, f"{contour}/level", entry.contour_level)
    if (node := root.find(contour)) is not None:
        node.set("primary", "true")
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _home(root: Element, kind: str) -> Element:
    if kind == "map":
        return _reach(root, "map")
    tag = {"half": "half_map", "mask": "segmentation", "additional": "additional_map"}[kind.split("_")[0]]
    return _add(root, f"interpretation/{tag}_list", tag)


def _reach(root: Element, path: str) -> Element:
    node = root
    for tag in path.split("/"):
        found = node.find(tag)
        node = SubElement(node, tag) if found is None else found
    return node


def _add(root: Element, path: str, tag: str) -> Element:
    return SubElement(_reach(root, path), tag)


def _put(root: Element, path: str, value: object, **attributes: str) -> None:
    if value is not None:
        node = _reach(root, path)
        node.text = str(value)
        node.attrib.update(attributes)


def _place(source: Path, target: Path) -> None:
    data = source.read_bytes()
    packed = data.startswith(b"\x1f\x8b")
    if packed == (target.suffix == ".gz"):
        shutil.copyfile(source, target)
    else:
        target.write_bytes(gzip.decompress(data) if packed else gzip.compress(data, mtime=0))
