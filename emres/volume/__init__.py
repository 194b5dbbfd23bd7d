"""The ground floor: what a map is. No files, no Dask, no network."""
