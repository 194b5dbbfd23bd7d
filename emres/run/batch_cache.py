"""Maps that a batch fetched for itself alone: they go when they have served and the room is needed.

What tells a result from any other (the file its map came from, the map's grid, the entry) stays behind, so that a map
that has gone is not fetched again for a result that is there.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from emres.archive.attributes import ANSWERS
from emres.archive.store import EntryGroup, Store
from emres.errors import BusyError
from emres.run.batch_claim import FOLDER, claimed

_LOOK = 1.0  # seconds between two looks


class Cache:
    """The maps that a run has fetched, and the room that they take.

    Parameters
    ----------
    store : Store
    limit : int, optional
        Bytes; without it every map stays.
    """

    def __init__(self, store: Store, limit: int | None = None) -> None:
        self._store, self._limit = store, limit
        self._changed = threading.Condition()
        self._sizes: dict[str, int] = {}  # in the order in which they came
        self._served: dict[str, bool] = {}  # name -> whether there is a result
        self._coming = 0

    def await_room(self, tick: Callable[[], None]) -> None:
        """Wait until another map may be fetched: as long as others that will go take up the room."""
        while self._limit is not None:
            self._make_room()
            with self._changed:
                busy = len(self._sizes) - len(self._served) + self._coming
                if not busy or self._used(coming=1) <= self._limit:
                    self._coming += 1
                    return
                self._changed.wait(_LOOK)
            tick()

    def came(self, group: EntryGroup | None) -> None:
        """Note that a map is there which was waited for with :meth:`await_room`; None where it could not be had."""
        if self._limit is None:
            return
        if group is not None:
            mark = _mark(self._store, group.name)
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        with self._changed:
            self._coming -= 1
            if group is not None:
                self._sizes[group.name] = _size(group)
            self._changed.notify_all()

    def served(self, group: EntryGroup, result: str | None) -> None:
        """Note that an entry's work has ended, with a result or without one.

        Parameters
        ----------
        group : EntryGroup
        result : str, optional
        """
        if self._limit is None:
            return
        with self._changed:
            if group.name not in self._sizes:
                if not _mark(self._store, group.name).exists():
                    return  # a map that the user fetched, or brought
                self._sizes[group.name] = _size(group)
            self._served[group.name] = result is not None
            self._changed.notify_all()
        self._make_room()

    def _used(self, coming: int = 0) -> float:
        """Return the bytes of all that is there, and of what is under way, of the size that maps have had so far."""
        usual = max(self._sizes.values(), default=0)
        return sum(self._sizes.values()) + usual * (self._coming + coming)

    def _make_room(self) -> None:
        while True:
            with self._changed:
                over = self._limit is not None and self._used(coming=bool(self._coming)) > self._limit
                name = next((name for name in self._sizes if name in self._served), None) if over else None
                if name is None:
                    return
                del self._sizes[name]
                has_result = self._served.pop(name)
            with suppress(BusyError):  # another run has a use for it
                release(self._store.entry(name), remember=has_result)
            with self._changed:
                self._changed.notify_all()


def release(group: EntryGroup, *, remember: bool = True) -> None:
    """Remove the maps of an entry, and keep what its results are told by.

    Parameters
    ----------
    group : EntryGroup
    remember : bool
        Whether to keep it: not where there is no result.

    Raises
    ------
    BusyError
        If another run is at it.
    """
    store = Store(group.path.parent)
    with claimed(store, group.name):
        maps = _maps(group)
        if remember and maps:
            _remember(group, maps)
        for kind in maps:
            # Out of sight in one step: nobody ever meets a map of which a part is gone.
            gone = group.work / f"released-{kind}"
            gone.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(gone, ignore_errors=True)
            os.replace(group.path / kind, gone)
            shutil.rmtree(gone, ignore_errors=True)
        group.tidy()
        _mark(store, group.name).unlink(missing_ok=True)


def _remember(group: EntryGroup, maps: list[str]) -> None:
    shadow = remembered(group)
    for kind in ("", *maps):
        (shadow.path / kind).mkdir(parents=True, exist_ok=True)
    # The entry's own last: with it there is something that is remembered.
    for kind in (*maps, ""):
        shutil.copyfile(group.path / kind / "zarr.json", shadow.path / kind / "zarr.json")


def remembered(group: EntryGroup) -> EntryGroup:
    """Return an entry group that knows what an entry's released maps were, but does not hold them; it may not exist."""
    return EntryGroup(group.path.parent / FOLDER / "released" / group.path.name)


def _mark(store: Store, name: str) -> Path:
    return store.path / FOLDER / "fetched" / name


def _maps(group: EntryGroup) -> list[str]:
    return [kind for kind in group.kinds() if kind.partition("/")[0] not in ANSWERS]


def _size(group: EntryGroup) -> int:
    files = (file for kind in _maps(group) for file in (group.path / kind).rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())
