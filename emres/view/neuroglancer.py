"""What neuroglancer is told: two layers of a local server, the map in gray and on it the resolution in colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emres.view.palette import Palette
from emres.volume.grid import DIMS, Grid
from emres.volume.resolved import NOT_DETERMINED

_METRES = 1e-10  # of one Å
_OPACITY = 0.65  # of the colours over the map
_VIEW = 330  # pixels, about what a panel is high on a small screen

_MAP_SHADER = """\
#uicontrol invlerp normalized
void main() {
  emitGrayscale(normalized());
}
"""

# The colours between two stops are mixed here as Palette mixes them.
_RESOLUTION_SHADER = """\
#uicontrol float finest slider(min=%(first).2f, max=%(last).2f, step=0.05, default=%(low).2f)
#uicontrol float coarsest slider(min=%(first).2f, max=%(last).2f, step=0.05, default=%(high).2f)
const vec3 colours[%(count)d] = vec3[%(count)d](
  %(colours)s
);
void main() {
  float resolution = getDataValue();
  if (!(resolution > 0.0) || resolution == %(missing).1f) {
    emitTransparent();
    return;
  }
  float span = max(coarsest - finest, 0.01);
  if (resolution > coarsest + span) {
    emitRGB(%(gray)s);
    return;
  }
  float place = clamp((resolution - finest) / span, 0.0, 1.0) * %(steps).1f;
  int below = min(int(place), %(steps)d - 1);
  emitRGB(mix(colours[below], colours[below + 1], place - float(below)));
}
"""


@dataclass(frozen=True)
class Layer:
    """One kind of an entry, as a server offers it.

    Parameters
    ----------
    name : str
        What the viewer calls it.
    url : str
        Where its OME-Zarr group is served.
    """

    name: str
    url: str

    @property
    def source(self) -> str:
        """The address in neuroglancer's words."""
        return f"{self.url.rstrip('/')}/|zarr3:"


def viewer_state(
    density: Layer,
    grid: Grid,
    contrast: tuple[float, float],
    resolution: Layer | None = None,
    palette: Palette | None = None,
) -> dict[str, Any]:
    """Return the state that shows a map, and on it its local resolution, in Å.

    Parameters
    ----------
    density : Layer
        The map.
    grid : Grid
        Of the map: the view begins in its middle and shows all of it.
    contrast : (float, float)
        Densities drawn black and white.
    resolution : Layer, optional
    palette : Palette, optional
        How the resolution is coloured; it comes with ``resolution``.

    Returns
    -------
    dict
        JSON values, as neuroglancer keeps them behind ``#!`` in its address.

    Examples
    --------
    >>> state = viewer_state(Layer("map", "http://127.0.0.1:1/map"), Grid((9, 9, 9), (2.0, 2.0, 2.0)), (0.0, 1.0))
    >>> state["position"], state["layers"][0]["source"]
    ([8.0, 8.0, 8.0], 'http://127.0.0.1:1/map/|zarr3:')
    """
    layers = [_map_layer(density, contrast)]
    if resolution is not None and palette is not None:
        layers.append(_resolution_layer(resolution, palette))
    middle = grid.to_angstrom(tuple((n - 1) / 2 for n in grid.shape))  # type: ignore[arg-type]
    return {
        "dimensions": {dim: [_METRES, "m"] for dim in reversed(DIMS)},
        "position": [round(value, 3) for value in reversed(middle)],
        "crossSectionScale": max(grid.extent) / _VIEW,
        "projectionScale": 2 * max(grid.extent),
        "layers": layers,
        "selectedLayer": {"layer": layers[-1]["name"], "visible": True},
        "layout": "4panel",
    }


def resolution_shader(palette: Palette) -> str:
    """Return the shader that colours a local resolution (Å) as every other picture does; sliders set its limits."""
    rgb = [_vec3(colour) for _, colour in palette.stops]
    span = palette.high - palette.low
    return _RESOLUTION_SHADER % {
        "first": max(palette.low - span, 0),
        "last": palette.high + span,
        "low": palette.low,
        "high": palette.high,
        "count": len(rgb),
        "steps": len(rgb) - 1,
        "colours": ",\n  ".join(rgb),
        "gray": _vec3(palette.gray),
        "missing": NOT_DETERMINED,
    }


def _map_layer(layer: Layer, contrast: tuple[float, float]) -> dict[str, Any]:
    low, high = contrast
    reach = high - low
    return {
        "type": "image",
        "name": layer.name,
        "source": layer.source,
        "shader": _MAP_SHADER,
        "shaderControls": {"normalized": {"range": [low, high], "window": [low - reach, high + reach]}},
        "opacity": 1,
    }


def _resolution_layer(layer: Layer, palette: Palette) -> dict[str, Any]:
    return {
        "type": "image",
        "name": layer.name,
        "source": layer.source,
        "shader": resolution_shader(palette),
        "opacity": _OPACITY,
        "tab": "rendering",  # where the sliders are
    }


def _vec3(colour: str) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return f"vec3({red:.4f}, {green:.4f}, {blue:.4f})"
