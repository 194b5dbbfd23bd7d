"""Numbers of maps that are kept beside a data set's manifest: taken once a map, not once a worker."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any

from emres.archive.disk import replaced_file
from emres.archive.manifest import DataSet
from emres.errors import EmresError
from emres.model.patch_source import MapFacts
from emres.volume.contrast import PARTS, Contrast
from emres.volume.density import Normalisation
from emres.volume.spectrum import Spectra

FILE = "patches.json"

FORMAT = 13  # of the numbers, and of how they are taken
_SECONDS = 30.0  # of work that a kill may cost


def read_facts(dataset: DataSet, file: str = FILE) -> dict[str, MapFacts]:
    """Read the numbers of maps that were kept beside the manifest; none where there are none, or they are damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads((dataset.folder / file).read_text(encoding="utf-8"))
        return {
            key: MapFacts(
                Normalisation(**value["normalisation"]),
                _spectra(value["spectra"]),
                value["shown"],
                stripped=value.get("stripped", False),  # older files do not say
            )
            for key, value in found["maps"].items()
            if found["format_version"] == FORMAT
        }
    return {}


def _spectra(found: dict[str, Any]) -> Spectra:
    contrast = found["contrast"] and _contrast(found["contrast"])
    return Spectra(found["voxel_size"], tuple(found["inside"]), tuple(found["outside"]), contrast, found["sampling"])


def _contrast(found: dict[str, Any]) -> Contrast:
    parts: dict[str, Any] = {name: tuple(found[name]) for name in PARTS}
    return Contrast(**parts, cells=found["cells"])


def _record(facts: MapFacts) -> dict[str, Any]:
    return {
        "normalisation": asdict(facts.normalisation),
        "spectra": asdict(facts.spectra),
        "shown": facts.shown,
        "stripped": facts.stripped,
    }


class KeptFacts:
    """Numbers of maps, and their file: what is taken inside a ``with`` is there the next time, whatever ends it.

    Parameters
    ----------
    dataset : DataSet
        In whose folder they are; one in a place that cannot be written is used all the same.
    file : str
    """

    def __init__(self, dataset: DataSet, file: str = FILE) -> None:
        self.facts = read_facts(dataset, file)
        self._path = dataset.folder / file
        self._written, self._known = time.monotonic(), len(self.facts)

    def keep(self, key: str, facts: MapFacts) -> None:
        """Keep the numbers of one more map."""
        self.facts[key] = facts
        if time.monotonic() > self._written + _SECONDS:
            self._write()

    def __enter__(self) -> KeptFacts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()

    def _write(self) -> None:
        if len(self.facts) > self._known:
            lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(_record(value))}" for key, value in self.facts.items())
            with suppress(OSError, EmresError), replaced_file(self._path) as part:
                part.write_text(f'{{"format_version": {FORMAT}, "maps": {{\n{lines}\n}}}}\n', encoding="utf-8")
        self._written, self._known = time.monotonic(), len(self.facts)
