"""When a box does not fit the memory after all: others use it too, and a library keeps some for itself."""

from __future__ import annotations

import torch

from emres.errors import EmresError
from emres.volume.blocks import Box

# What torch says where it raises no error of its own kind: the allocator of the CPU, cuDNN, cuBLAS.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there is no memory left.

    Examples
    --------
    >>> is_out_of_memory(RuntimeError("CUDA error: out of memory")), is_out_of_memory(RuntimeError("a bug"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def halved(box: Box, multiple: int) -> tuple[Box, Box]:
    """Return the two halves of a box along its longest axis, cut at a multiple of the net's.

    Parameters
    ----------
    box : Box
        Aligned to ``multiple``.
    multiple : int

    Raises
    ------
    EmresError
        If it is the smallest already.

    Examples
    --------
    >>> halved(Box((0, 0, 8), (4, 8, 40)), 4)[1]
    Box(start=(0, 0, 24), stop=(4, 8, 40))
    """
    axis = max(range(3), key=lambda axis: box.shape[axis])
    steps = box.shape[axis] // multiple
    if steps < 2:
        raise EmresError(
            "the memory does not hold even the smallest box of the net",
            got="x".join(map(str, box.shape)) + " voxels",
            cure="free some memory, or use another device",
        )
    middle = box.start[axis] + steps // 2 * multiple
    return _moved(box, axis, stop=middle), _moved(box, axis, start=middle)


def _moved(box: Box, axis: int, start: int | None = None, stop: int | None = None) -> Box:
    low, high = list(box.start), list(box.stop)
    low[axis] = low[axis] if start is None else start
    high[axis] = high[axis] if stop is None else stop
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def free_cached() -> None:
    """Give back what torch keeps of a GPU's memory for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
