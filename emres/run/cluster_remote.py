"""What ``ssh`` runs on another machine: one worker, told over its standard input what to be.

The credentials come that way too: on a command line every user of the machine could read them. When the input ends
(the client has closed, was killed, or the network is gone), the worker ends, so that none is ever left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any


def main() -> None:
    """Read one line of JSON, be that worker, and end with the input or with the worker."""
    told = json.loads(sys.stdin.buffer.readline())
    asyncio.run(_work(told))
    # Dask's threads may still hang on a lost network: nothing of them is worth keeping.
    os._exit(0)


async def _work(told: dict[str, Any]) -> None:
    from distributed import Nanny, Security

    from emres.run.cluster_local import KEPT_MEMORY

    for name, value in KEPT_MEMORY.items():
        os.environ.setdefault(name, value)
    security = Security(require_encryption=True, **told["security"]) if told["security"] else None
    nanny = Nanny(told["scheduler"], security=security, **told["options"])
    started = asyncio.create_task(_until_finished(nanny))
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    done, _ = await asyncio.wait({started, ended}, return_when=asyncio.FIRST_COMPLETED)
    if started in done:
        started.result()
    await asyncio.wait_for(nanny.close(timeout=5), 15)
    # The thread that reads the input cannot be cancelled.
    os._exit(0)


async def _until_finished(nanny: Any) -> None:
    await nanny
    print("ready", flush=True)  # noqa: T201
    await nanny.finished()


if __name__ == "__main__":
    main()
