"""emres: local resolution of cryo-EM maps, one or sixty thousand of them.

The names below are resolved on first use (PEP 562), so that ``import emres`` loads neither torch nor distributed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "EmresError": "emres.errors",
    "Grid": "emres.volume.grid",
    "make_volume": "emres.volume.grid",
    "grid_of": "emres.volume.grid",
    "plan_blocks": "emres.volume.blocks",
    "Entry": "emres.archive.entry",
    "read_mrc": "emres.archive.mrc",
    "write_mrc": "emres.archive.mrc_write",
    "Store": "emres.archive.store",
    "open_volume": "emres.archive.store",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the table is the one place where names are kept


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'emres' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
