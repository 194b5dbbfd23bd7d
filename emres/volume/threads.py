"""How many threads torch computes on, for a while, and numpy's products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Have torch compute on so many threads of this process meanwhile, and then on as many as before.

    Examples
    --------
    >>> import torch
    >>> with torch_threads(1):
    ...     torch.get_num_threads()
    1
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_blas_thread() -> Any:
    """Keep numpy's products to one thread of this process: for good, or as long as a ``with`` of what is returned is.

    Small ones are faster so, and on some processors the last digit of a product depends on how many threads share it.

    Examples
    --------
    >>> import numpy as np
    >>> with one_blas_thread():
    ...     float(np.ones(3) @ np.ones(3))
    3.0
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")
