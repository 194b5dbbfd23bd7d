"""emres: local resolution of cryo-EM maps, one or sixty thousand of them.

The names below are resolved on first use (PEP 562), so that ``import emres`` loads neither torch nor distributed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# What type checkers and editors see; at run time the table below is what counts (a test holds one against the other).
if TYPE_CHECKING:
    from emres.archive.emdb import Mirror as Mirror
    from emres.archive.emdb import embedded_mirror as embedded_mirror
    from emres.archive.emdb import search as search
    from emres.archive.entry import Entry as Entry
    from emres.archive.manifest import read_dataset as read_dataset
    from emres.archive.mrc import read_mrc as read_mrc
    from emres.archive.mrc_write import write_mrc as write_mrc
    from emres.archive.store import Store as Store
    from emres.archive.store import open_entry as open_entry
    from emres.archive.store import open_volume as open_volume
    from emres.errors import EmresError as EmresError
    from emres.run.api import batch_predict as batch_predict
    from emres.run.api import fetch as fetch
    from emres.run.cluster import connect as connect
    from emres.run.eager import estimate as estimate
    from emres.run.fetch import find_entry as find_entry
    from emres.run.global_fsc import fsc_of_entry as fsc_of_entry
    from emres.run.global_fsc import write_fsc as write_fsc
    from emres.run.index_report import write_index as write_index
    from emres.run.ingest import import_half_maps as import_half_maps
    from emres.run.ingest import import_map as import_map
    from emres.run.lazy import load_model as load_model
    from emres.run.lazy import predict as predict
    from emres.run.learn import evaluate as evaluate
    from emres.run.learn import train as train
    from emres.run.outcome import Outcome as Outcome
    from emres.run.patches import patches as patches
    from emres.run.report import report as report
    from emres.run.simulate import simulate_maps as simulate_maps
    from emres.run.sources import build_dataset as build_dataset
    from emres.volume.blocks import plan_blocks as plan_blocks
    from emres.volume.grid import Grid as Grid
    from emres.volume.grid import grid_of as grid_of
    from emres.volume.grid import make_volume as make_volume

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
    "open_entry": "emres.archive.store",
    "Mirror": "emres.archive.emdb",
    "embedded_mirror": "emres.archive.emdb",
    "search": "emres.archive.emdb",
    "fetch": "emres.run.api",
    "batch_predict": "emres.run.api",
    "load_model": "emres.run.lazy",
    "predict": "emres.run.lazy",
    "estimate": "emres.run.eager",
    "connect": "emres.run.cluster",
    "import_map": "emres.run.ingest",
    "import_half_maps": "emres.run.ingest",
    "Outcome": "emres.run.outcome",
    "patches": "emres.run.patches",
    "simulate_maps": "emres.run.simulate",
    "build_dataset": "emres.run.sources",
    "read_dataset": "emres.archive.manifest",
    "train": "emres.run.learn",
    "evaluate": "emres.run.learn",
    "report": "emres.run.report",
    "find_entry": "emres.run.fetch",
    "fsc_of_entry": "emres.run.global_fsc",
    "write_fsc": "emres.run.global_fsc",
    "write_index": "emres.run.index_report",
}

__all__ = ["__version__", *_HOMES]

# What hands out volumes or entries brings along how they look in a notebook.
_LOOKS = {
    **dict.fromkeys(("make_volume", "read_mrc", "open_volume", "predict", "estimate"), "emres.view.accessor"),
    **dict.fromkeys(
        ("Store", "open_entry", "find_entry", "import_map", "import_half_maps", "fetch", "batch_predict"),
        "emres.run.notebook",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'emres' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
    value = getattr(import_module(_HOMES[name]), name)
    if name in _LOOKS:
        import_module(_LOOKS[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
