"""Workers on machines that ``ssh`` reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emres.errors import EmresError
from emres.run.cluster_spec import ClusterSpec

if TYPE_CHECKING:
    from distributed import Client


def start_ssh(spec: ClusterSpec) -> Client:
    """Start workers on hosts and return a client; closing it ends them."""
    raise EmresError("ssh clusters are not there yet")
