"""Build the small archive that ships with emres: ``build_embedded_archive.py MAPS_FOLDER [ARCHIVE_FOLDER]``.

MAPS_FOLDER holds ``emd_6824.map.gz``, ... and ``maps.tsv``, which says what each is. The maps are copied byte by byte;
of an entry only what the table states is written down, so there are no contour levels and no borrowed titles.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from emres.archive.emdb import embedded_mirror
from emres.archive.entry import Entry
from emres.archive.layout import add_entry, write_lists

BUILT = "2026-11-23"
MAPS = {
    "emd_6824.map.gz": "EMD-6824 (whole entry, as archived)",
    "emd_1832.map.gz": "EMD-1832 (whole entry, as archived)",
    "emd_1439.map.gz": "EMD-1439 (whole entry, as archived)",
    "emd_3197.map.gz": "EMD-3197 (whole entry, as archived)",
    "emd_1461_crop.map.gz": "[crop] EMD-1461 (rotavirus VP6, a part cut out of the entry's map)",
}
METHODS = {"EMD-3197": "subtomogramAveraging"}


def build(maps: Path, root: Path) -> list[str]:
    """Write the archive below ``root``; return the ids in it."""
    with (maps / "maps.tsv").open(encoding="utf-8", newline="") as table:
        rows = {row["file"]: row for row in csv.DictReader(table, delimiter="\t")}
    entries = []
    for name, title in MAPS.items():
        emdb_id, resolution = rows[name]["emdb_id"], rows[name]["reported_resolution_A"]
        facts = Entry(emdb_id, title, METHODS.get(emdb_id), float(resolution) if resolution else None)
        entries.append(add_entry(root, facts, {"map": maps / name}, last_update=BUILT))
    write_lists(root, entries)
    return [entry.emdb_id for entry in entries]


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(embedded_mirror().root)
    print(f"{', '.join(build(Path(sys.argv[1]), folder))} -> {folder}")
