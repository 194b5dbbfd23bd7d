"""``emres report STORE``: one page for a whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emres.cli.console import Console


def is_store(source: str) -> bool:
    """Tell whether a user's word is a folder of entries, not an entry."""
    path = Path(source)
    return path.is_dir() and path.suffix != ".zarr" and not (path / "zarr.json").exists()


def batch_page(console: Console, store: Path, output: Path | None, *, force: bool, **options: Any) -> int:
    """Write the page of a batch, and its table, and tell what is in them."""
    from emres.run.index_report import write_index

    with console.progress(1, "pages") as progress:
        facts = write_index(store, output or Path("index.html"), force=force, report=progress, **options)
    if console.as_json:
        console.data(facts)
        return 0
    console.say(
        f"{facts['entries']:,} entries, {facts['outliers']:,} far from what is reported, {facts['failed']:,} failed; "
        f"{facts['bytes'] / 1e6:.1f} MB in {facts['seconds']:.1f} s"
    )
    for key in ("output", "table"):
        if key in facts:
            console.say(f"{key}: {facts[key]}")
    return 0


def check_options(source: str, of_entry: Mapping[str, Any], of_store: Mapping[str, Any]) -> bool:
    """Return whether the source is a store, once every option that was given suits what it is.

    Raises
    ------
    UsageError
        If one does not.
    """
    from emres.errors import UsageError

    store = is_store(source)
    given = [name for name, value in (of_entry if store else of_store).items() if value]
    if given:
        what, other = ("a store", "an entry or a map") if store else ("no store", "a store")
        flag = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{source} is {what}, and {flag} is for {other}", cure="leave it out")
    return store
