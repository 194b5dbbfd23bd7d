"""How many threads numpy's products have."""

from __future__ import annotations

from threadpoolctl import threadpool_info


def blas_threads() -> set[int]:
    """Return how many threads the libraries of products that are loaded compute on."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
