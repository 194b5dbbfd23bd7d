"""What a cluster did and when, as a page of Dask's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.disk import replaced_file
from emres.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def reporting(client: Client | None, path: Path | None) -> Iterator[None]:
    """Write Dask's performance report of what a cluster does meanwhile, also where that ends with an error.

    Parameters
    ----------
    client : distributed.Client, optional
    path : Path, optional
        An HTML file, replaced if it is there; without it nothing is written.

    Raises
    ------
    UsageError
        If there is no cluster, or nothing to draw with.
    StoreError
        If the file cannot be written.
    """
    if path is None:
        yield
        return
    if client is None:
        raise UsageError("there is no cluster to report on", cure="pass --cluster beside --performance-report")
    if find_spec("bokeh") is None:
        raise UsageError("the report is drawn by bokeh, which is not installed", cure="pip install bokeh")
    from distributed import performance_report

    with replaced_file(path) as part:
        report: Any = performance_report(filename=str(part))
        with client.as_current():
            report.__enter__()
        try:
            yield
        finally:
            if client.status == "running":  # what a lost cluster did nobody knows any more
                with client.as_current():
                    report.__exit__(None, None, None)
