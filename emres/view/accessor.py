"""``volume.emres``: what emres can show of a volume in a notebook, hung on xarray when this module is loaded."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from emres.errors import UsageError
from emres.view.density_slices import draw_density_slices
from emres.view.palette import PALETTE, palette_for
from emres.view.progress import notebook_bars
from emres.view.slices import draw_slices, figure_width, make_slices
from emres.volume.grid import Grid, grid_of

_HEIGHT = 3.6  # inches
_DPI = 100
_MOST = 256  # voxels along an edge of what histogram and mask are taken from


class InlineFigure(Figure):
    """A figure that shows itself in a notebook, whether or not pyplot was ever loaded."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


@xr.register_dataarray_accessor("emres")  # type: ignore[no-untyped-call]
class VolumeAccessor:
    """What emres adds to a volume.

    Parameters
    ----------
    volume : xarray.DataArray
        (z, y, x) with coordinates in Å.

    Examples
    --------
    >>> import numpy as np
    >>> from emres.volume.grid import make_volume
    >>> volume = make_volume(np.ones((4, 5, 6), dtype=np.float32), Grid((4, 5, 6), (1.5, 1.5, 1.5)))
    >>> volume.emres.grid.extent
    (6.0, 7.5, 9.0)
    """

    def __init__(self, volume: xr.DataArray) -> None:
        self._volume = volume

    @property
    def grid(self) -> Grid:
        """The grid of the volume.

        Raises
        ------
        UsageError
            If the array is no volume.
        """
        return grid_of(self._volume)

    def plot(
        self,
        other: xr.DataArray | None = None,
        *,
        palette: str = PALETTE,
        reported: float | None = None,
        title: str | None = None,
    ) -> InlineFigure:
        """Draw three slices and the histogram.

        Parameters
        ----------
        other : DataArray, optional
            To a map its local resolution, or to a local resolution its map: both are drawn together.
        palette : str
            ``rainbow``, ``viridis``, ``cividis`` or another of Matplotlib's.
        reported : float, optional
            The resolution reported for the whole map, Å, drawn as a line.
        title : str, optional
            The entry and the kind by default.

        Returns
        -------
        matplotlib.figure.Figure
            It shows itself in a notebook; ``figure.savefig("a.png")`` keeps it.

        Raises
        ------
        UsageError
            If an array is no volume, the two lie on different grids, or are of one sort.
        MapError
            If no voxel is resolved.
        """
        density, resolution = self._sorted(other)
        figure = InlineFigure(figsize=(10, _HEIGHT), layout="constrained", dpi=_DPI)
        if resolution is None:
            figure.set_figwidth(draw_density_slices(figure, self._volume, _thinned(self._volume), _HEIGHT))
        else:
            # A resolution alone is drawn in full colour where it is determined.
            under = resolution.copy(data=resolution.data > 0) if density is None else density
            slices = make_slices(under, resolution, _thinned(resolution))
            figure.set_figwidth(figure_width(slices, _HEIGHT))
            draw_slices(figure, slices, palette_for(slices.resolved, palette, reported), reported)
        figure.suptitle(title or _title(self._volume, other), fontsize=11)
        return figure

    def compute(self) -> xr.DataArray:
        """Compute a lazy volume, with a progress bar in a notebook; the same as ``volume.compute()`` otherwise."""
        from dask.callbacks import Callback

        name, done = _title(self._volume, None) or "volume", 0
        with notebook_bars(1, "volume") as report:

            def count(key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
                nonlocal done
                done += 1
                waiting = sum(len(state[part]) for part in ("ready", "waiting", "running"))
                report(name, "compute", done, done + waiting)

            with Callback(posttask=count):
                computed = self._volume.compute()
            report(name, "done", 1, 1)
        return computed

    def _sorted(self, other: xr.DataArray | None) -> tuple[xr.DataArray | None, xr.DataArray | None]:
        """Return (map, local resolution), of which one may be missing."""
        ours = _is_resolution(self._volume)
        if other is not None and _is_resolution(other) == ours:
            got = "two local resolutions" if ours else "two maps"
            raise UsageError("a map and its local resolution are drawn together", got=got, cure="plot them one by one")
        return (other, self._volume) if ours else (self._volume, other)


def _is_resolution(volume: xr.DataArray) -> bool:
    grid_of(volume)
    return str(volume.attrs.get("kind", "")).startswith("local_resolution")


def _thinned(volume: xr.DataArray) -> xr.DataArray:
    """Return every n-th voxel of a volume too big to be looked at whole."""
    step = -(-max(volume.shape) // _MOST)
    return volume[::step, ::step, ::step].assign_attrs(voxel_size=[step * size for size in grid_of(volume).voxel_size])


def _title(volume: xr.DataArray, other: xr.DataArray | None) -> str:
    names = [volume.attrs.get("emdb_id"), *(part.attrs.get("kind") for part in (volume, other) if part is not None)]
    return ", ".join(str(name).removeprefix("local_resolution/") for name in names if name)
