"""EMDB's own documents (header XML, REST JSON, holdings) -> Entry.

They come from outside and vary: numbers are strings, lists of one are bare, whole branches are missing, file
names are only claims. XML and JSON are brought to one tree first, so each fact is looked up in one place.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from emres.archive.entry import Entry, MapFile, parse_emdb_id, primary_map_name
from emres.errors import ArchiveError, EmresError, UsageError

log = logging.getLogger(__name__)

#: Real headers have some 30 kB and are 15 elements deep.
LARGEST_DOCUMENT = 32 * 2**20
_DEEPEST = 100

_DETERMINATION = "structure_determination_list/structure_determination"
_RECONSTRUCTION = f"{_DETERMINATION}//final_reconstruction"


def parse_entry_xml(document: bytes) -> Entry:
    """Return the entry that a header XML (schema v3) describes.

    Raises
    ------
    ArchiveError
        If it is not such a document, declares a DTD or entities, is absurdly large or deep, or names files
        unsafely.
    """
    return _entry(_tree_of_xml(document))


def parse_entry_json(document: Mapping[str, Any]) -> Entry:
    """Return the entry that a record of EMDB's REST API describes.

    Raises
    ------
    ArchiveError
        If it is not such a record, or names files unsafely.
    """
    if not isinstance(document, Mapping):
        raise ArchiveError("this is not a record of EMDB's API", expected="a JSON object")
    return _entry(_tree_of_json("emd", document))


def merge_holdings(entry: Entry, record: Mapping[str, Any]) -> Entry:
    """Return the entry with its files as the holdings list them: with checksum and date.

    Where the holdings speak of a category (half maps, masks, ...) they are the truth and replace what the
    header says; a record that cannot be used is left out with a warning.
    """
    files = [file for category in _CATEGORIES for file in _category_files(entry, record, category)]
    return entry.with_files(files)


_CATEGORIES = {"map": "map", "half_maps": "half_map", "masks": "mask", "additional_maps": "additional"}


def _category_files(entry: Entry, record: Mapping[str, Any], category: str) -> list[MapFile]:
    stem = _CATEGORIES[category]
    known = [file for kind, file in entry.files.items() if re.fullmatch(rf"{stem}(_\d+)?", kind)]
    listed = record.get(category)
    if not isinstance(listed, list):
        return known
    named = {str(item.get("file_name")): item for item in listed if isinstance(item, Mapping)}
    files = []
    for kind, name in _kinds(stem, named):
        try:
            md5, last_update = _md5(named[name]), _date(named[name])
            files.append(MapFile.of(entry.emdb_id, kind, name, md5=md5, last_update=last_update))
        except EmresError as error:
            log.warning("holdings of %s: %s", entry.emdb_id, error)
    return files if len(files) == len(listed) else [*{file.kind: file for file in (*known, *files)}.values()]


def _md5(item: Mapping[str, Any]) -> str | None:
    md5 = str(item.get("md5_checksum", "")).strip().lower()
    return md5 if re.fullmatch(r"[0-9a-f]{32}", md5) else None


def _date(item: Mapping[str, Any]) -> str | None:
    return str(item["last_update"])[:10] if item.get("last_update") else None


def _kinds(stem: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pair names with kinds: by the number in the name (``emd_1_msk_2.map``) if all have one, else in order."""
    names = list(names)
    matches = [re.search(r"_([1-9]\d{0,2})\.map(\.gz)?$", name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    if len(set(numbers)) < len(names):
        numbers = list(range(1, len(names) + 1))
    for number, name in zip(numbers, names, strict=True):
        bare = stem == "map" or (stem == "mask" and number == 1)
        yield (stem if bare else f"{stem}_{number}"), name


def _entry(root: Element) -> Entry:
    try:
        emdb_id = parse_emdb_id(root.get("emdb_id") or "")
    except UsageError as error:
        raise ArchiveError(
            "this document describes no EMDB entry",
            got=f"<{root.tag[:40]}> without a good id",
            expected="<emd emdb_id=...>",
        ) from error
    pdbs = (_text_of(node) for node in root.iterfind("crossreferences/pdb_list/pdb_reference/pdb_id"))
    successors = (_text_of(node) for node in root.iterfind(".//superseded_by_list//entry"))
    return Entry(
        emdb_id=emdb_id,
        title=_text(root, "admin/title") or "",
        method=_text(root, f"{_DETERMINATION}/method"),
        resolution=_positive(_number(root, f"{_RECONSTRUCTION}/resolution")),
        resolution_method=_text(root, f"{_RECONSTRUCTION}/resolution_method"),
        contour_level=_contour_level(root),
        status=_text(root, "admin/current_status/code") or "REL",
        release_date=_day(root, "admin/key_dates/map_release"),
        update_date=_day(root, "admin/key_dates/update"),
        fitted_pdbs=tuple(dict.fromkeys(pdb.lower() for pdb in pdbs if pdb)),
        point_group=_text(root, f"{_RECONSTRUCTION}/applied_symmetry/point_group"),
        superseded_by=tuple(dict.fromkeys(name for name in successors if re.fullmatch(r"EMD-\d{4,6}", name))),
        files={file.kind: file for file in _files(emdb_id, root)},
    )


def _files(emdb_id: str, root: Element) -> Iterator[MapFile]:
    primary = _text(root, "map/file") or primary_map_name(emdb_id)
    yield MapFile.of(emdb_id, "map", primary)
    masks = (
        _text(node, "file") or _text(node, "mask_details/file")
        for node in root.iterfind("interpretation/segmentation_list/segmentation")
    )
    halves = (_text(node, "file") for node in root.iterfind("interpretation/half_map_list/half_map"))
    extras = root.iterfind("interpretation/additional_map_list/additional_map")
    others = (_text(node, "file") for node in extras)
    for stem, names in (("half_map", halves), ("mask", masks), ("additional", others)):
        # Some old headers (EMD-0001) give the primary map's name to the mask: there is no such mask.
        for kind, name in _kinds(stem, (name for name in names if name and name != primary)):
            yield MapFile.of(emdb_id, kind, name)


def _contour_level(root: Element) -> float | None:
    contours = root.findall("map/contour_list/contour")
    contours.sort(key=lambda contour: (contour.get("primary") or "").lower() != "true")
    levels = (_number(contour, "level") for contour in contours)
    return next((level for level in levels if level is not None), None)


def _text_of(node: Element) -> str:
    return " ".join((node.text or "").split())


def _text(root: Element, path: str) -> str | None:
    return next((text for node in root.iterfind(path) if (text := _text_of(node))), None)


def _day(root: Element, path: str) -> str | None:
    text = _text(root, path)
    return text[:10] if text and re.match(r"\d{4}-\d\d-\d\d", text) else None


def _number(root: Element, path: str) -> float | None:
    try:
        number = float(_text(root, path) or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _positive(number: float | None) -> float | None:
    return number if number is not None and number > 0 else None


def _tree_of_json(tag: str, value: Any, depth: int = 0) -> Element:
    """Return JSON as the XML it was made from: keys are children and attributes, ``valueOf_`` is the text."""
    if depth > _DEEPEST:
        raise ArchiveError("a record of EMDB's API is too deep", expected=f"at most {_DEEPEST} levels")
    node = Element(tag)
    if not isinstance(value, Mapping):
        node.text = _scalar(value)
        return node
    for key, child in value.items():
        if key == "valueOf_":
            node.text = _scalar(child)
            continue
        if not isinstance(child, Mapping | list):
            node.set(key, _scalar(child))
        items = child if isinstance(child, list) else [child]
        node.extend([_tree_of_json(key, item, depth + 1) for item in items])
    return node


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or isinstance(value, list) else str(value)


def _tree_of_xml(document: bytes) -> Element:
    """Parse XML without DTD and entities: the usual parsers expand them, which can fill the memory."""
    if len(document) > LARGEST_DOCUMENT:
        raise ArchiveError(
            "a header XML is too large", got=f"{len(document)} bytes", expected=f"at most {LARGEST_DOCUMENT}"
        )
    builder, parser, depth = TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ArchiveError("a header XML is nested too deeply", expected=f"at most {_DEEPEST} levels")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def doctype(name: str, *_: object) -> None:
        raise ArchiveError(
            "a header XML is not what it should be",
            got="a web page" if name.lower() == "html" else "a document with a DTD",
            expected="plain XML (schema v3)",
            cure="check the mirror's address",
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(document, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ArchiveError("a header XML cannot be read", got=str(error), expected="schema v3") from error
