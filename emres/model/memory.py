"""What the arrays of a map may take of a memory, and what a net holds at once: a model, in numbers.

What a process with torch holds before its first map (0.3 GiB, measured with the CPU's build) and what others may want
of the memory are left alone. Of GPUs nothing was measured: their share is careful, and a box that does not fit after
all is halved (`emres.model.out_of_memory`).
"""

from __future__ import annotations

from dataclasses import dataclass

_GIB = 1 << 30
_BASE = _GIB // 2  # of a process before its first map, with room for what libraries keep
_SHARE = 0.8  # of a worker's limit: Dask pauses a worker there
_MOST_ARRAYS, _MOST_BOX = _GIB, 5 * _GIB // 4  # the net that ships takes a block of 192^3 with its halo as one box
_LEAST = _GIB // 16

_GPU_SHARE = 0.6  # of a GPU's memory: its allocator breaks it up, and its libraries want workspaces
_GPU_CONTEXT = _GIB
_GPU_MOST = 8 * _GIB  # 2^31 float32: kernels of convolutions count voxels with 32 bits


@dataclass(frozen=True)
class Room:
    """What the memory is for.

    Parameters
    ----------
    arrays : int
        Bytes for the arrays of one map: a map that fits is one task, one that does not goes through files, in blocks.
    box : int
        Bytes for what the net holds at once.
    """

    arrays: int = _MOST_ARRAYS
    box: int = _MOST_BOX


def room_in(memory_bytes: float | None) -> Room:
    """Return the room in the memory of a process that computes one map at a time.

    Parameters
    ----------
    memory_bytes : float, optional
        What the process may take; unknown or without a limit: as much as is of use.

    Examples
    --------
    >>> room_in(64e9) == room_in(None)
    True
    >>> room = room_in(2e9)
    >>> room.arrays + room.box < 1.2e9
    True
    """
    if not memory_bytes:
        return Room()
    rest = int(_SHARE * memory_bytes) - _BASE
    box = min(_MOST_BOX, max(_LEAST, rest // 2))
    return Room(min(_MOST_ARRAYS, max(_LEAST, rest - box)), box)


def box_on_gpu(total_bytes: int) -> int:
    """Return the bytes that the net may take at once on a GPU of so much memory.

    Examples
    --------
    >>> [round(box_on_gpu(size << 30) / 2**30, 1) for size in (4, 8, 16, 80)]
    [1.4, 3.8, 8.0, 8.0]
    """
    return min(_GPU_MOST, max(_LEAST, int(_GPU_SHARE * total_bytes) - _GPU_CONTEXT))
