"""The engine: one plan, one function, two ways to run them.

``run_blocks`` is for batch: one task a block, each of which reads its box, computes, writes its core and marks itself
done, so that whatever was interrupted goes on where it stopped. ``lazy_blocks`` is for notebooks: the same function on
the same blocks as a Dask array, of which only what is sliced is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.scratch import Scratch
from emres.run.heap import give_back
from emres.volume.blocks import BlockPlan
from emres.volume.grid import Shape

if TYPE_CHECKING:
    import dask.array as da
    from distributed import Client

BlockFunction = Callable[..., np.ndarray[Any, Any]]

DONE = "done"


@dataclass(frozen=True)
class BlockJob:
    """What to compute, and between which arrays.

    Parameters
    ----------
    function : callable
        Takes one array (z, y, x) per source, all of a block's read shape, and ``core=``, the box of them that is
        wanted; returns an array of that shape. Small and picklable: it is sent with every task.
    plan : BlockPlan
    scratch : Scratch
        Holds the arrays. With a client it must be on a disk that the workers share.
    sources : names of the arrays that are read
    target : name of the array that is written
    label : str
        Names the tasks, so that the dashboard groups them by map.
    also : tuple of str
        Names of the arrays for the other fields of a structured answer; its first field goes to the target.
    """

    function: BlockFunction
    plan: BlockPlan
    scratch: Scratch
    sources: tuple[str, ...]
    target: str
    label: str = "block"
    also: tuple[str, ...] = ()


def create_target(job: BlockJob, dtype: str = "float32", chunk: int | Shape = 64) -> None:
    """Make the target array and the record of what is done; both exist before any work begins.

    Parameters
    ----------
    job : BlockJob
    dtype : str
    chunk : int or (z, y, x)
        Zarr chunk of the target; every core must hold whole chunks.
    """
    for name in (job.target, *job.also):
        job.scratch.create(name, job.plan.shape, dtype, chunk)
    # One chunk a block: two workers never write the same file.
    job.scratch.create(DONE, job.plan.counts, "uint8", (1, 1, 1))


def blocks_to_do(job: BlockJob) -> list[Shape]:
    """Return the index of every block that is not marked done."""
    done = np.asarray(job.scratch.open(DONE)[...])
    return [block.index for block in job.plan if not done[block.index]]


def write_block(job: BlockJob, index: Shape) -> Shape:
    """Compute one block and write its core; a second time gives the same bytes.

    Returns
    -------
    (z, y, x) index of the block
    """
    if len(job.plan) > 1:
        give_back()  # what the block before left
    block = job.plan.block(index)
    arrays = [np.asarray(job.scratch.open(name)[block.read.slices]) for name in job.sources]
    result = job.function(*arrays, core=block.core)
    for name, field in zip((job.target, *job.also), result.dtype.names or (None,), strict=True):
        values = result if field is None else result[field]
        job.scratch.open(name)[block.write.slices] = values[block.core.slices]
    job.scratch.open(DONE)[index] = 1
    return index


def run_blocks(
    job: BlockJob, client: Client | None = None, *, device: str = "auto", tick: Callable[[], None] = lambda: None
) -> Iterator[Shape]:
    """Compute every block that is not yet done, yielding its index as it is.

    Parameters
    ----------
    job : BlockJob
    client : distributed.Client, optional
        Where to compute; in this process without one.
    device : str
        As for :func:`emres.run.cluster_tasks.run_calls`.
    tick : callable
        Called every second while blocks are under way on a cluster; may raise to end the run.

    Yields
    ------
    (z, y, x) index of a block, in the order they finish

    Raises
    ------
    EmresError
        As :func:`emres.run.cluster_tasks.run_calls`, and whatever a block raises.
    """
    todo = blocks_to_do(job)
    if client is None:
        yield from (write_block(job, index) for index in todo)
        return
    from emres.run.cluster_tasks import Call, run_calls

    name = task_name(job.label)
    calls = (Call(f"{name}-{'-'.join(map(str, index))}", write_block, (job, index), job.label) for index in todo)
    yield from run_calls(client, calls, device=device, retries=2, tick=tick)


def task_name(label: str) -> str:
    """Return what tasks are called so that the dashboard groups them by it: it reads up to the first hyphen.

    Examples
    --------
    >>> task_name("predict-EMD-0001")
    'predict_EMD_0001'
    """
    return label.replace("-", "_")


def lazy_blocks(
    function: BlockFunction,
    arrays: Sequence[da.Array],
    plan: BlockPlan,
    *,
    told: Any = None,
    dtype: Any = np.float32,
) -> da.Array:
    """Return the same computation as a lazy Dask array: slice it, and only those blocks are computed.

    Parameters
    ----------
    function : callable
        As in :class:`BlockJob`.
    arrays : dask arrays of the plan's shape
    plan : BlockPlan
    told : delayed, optional
        What is known of the whole volume once it is computed: the blocks run ``function.told(it)``.
    dtype : dtype
        Of the answer.

    Returns
    -------
    dask.array.Array
        (z, y, x), one chunk a core.
    """
    import dask.array as da

    chunked = [array.rechunk(plan.chunks) for array in arrays]
    return da.map_overlap(
        _OnBlocks(function, plan),
        *chunked,
        # Where there is one block there is nothing to overlap, and a small map is smaller than the halo.
        depth={axis: plan.halo if count > 1 else 0 for axis, count in enumerate(plan.counts)},
        boundary="none",
        trim=True,
        align_arrays=False,
        allow_rechunk=False,
        # Without meta Dask would call the function on empty arrays while it builds the graph.
        meta=np.empty((0, 0, 0), dtype=dtype),
        dtype=dtype,
        **({} if told is None else {"told": told}),
    )


@dataclass(frozen=True)
class _OnBlocks:
    """Tell a block function which part of what Dask gives it is wanted."""

    function: BlockFunction
    plan: BlockPlan

    def __call__(self, *arrays: np.ndarray[Any, Any], block_id: Shape, told: Any = None) -> np.ndarray[Any, Any]:
        function: Any = self.function if told is None else self.function.told(told)  # type: ignore[attr-defined]
        answer: np.ndarray[Any, Any] = function(*arrays, core=self.plan.block(block_id).core)
        return answer
