"""What was freed goes back to the system: the C library keeps it, and pieces of many sizes leave gaps in it."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any


def give_back() -> None:
    """Give freed memory back, where the C library can be asked to (glibc); elsewhere nothing happens.

    It costs as long as touching that memory anew: some hundredths of a second a block of a large map.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _trim() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
