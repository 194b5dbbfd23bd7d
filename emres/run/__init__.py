"""Where it happens: Dask, and the only wing that sees both archive and model."""
