"""The coloured surface as GLB (binary glTF 2.0), for slides, browsers and 3D programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from emres.view.palette import Palette
from emres.view.surface import Surface

Array = np.ndarray[Any, Any]


def write_glb(path: Path | str, surface: Surface, palette: Palette, *, name: str = "map") -> Path:
    """Write a surface with its colours at the vertices.

    Parameters
    ----------
    path : path
        One that is there is replaced.
    surface : Surface
    palette : Palette
    name : str
        Of the object in the file.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        If the folder cannot be written.

    Notes
    -----
    One unit is 1 Å, at the map's own coordinates x, y, z; programs that take glTF's unit for a metre show a big
    molecule. Colours are linear, as glTF asks, not sRGB as on a screen.
    """
    import trimesh

    mesh = trimesh.Trimesh(
        vertices=surface.vertices[:, ::-1],
        faces=surface.faces,
        vertex_normals=surface.normals[:, ::-1],
        vertex_colors=np.round(255 * linear(palette(surface.resolution))).astype(np.uint8),
        process=False,
        metadata={"unit": "angstrom", "contour_level": surface.level, "local_resolution": palette.to_json()},
    )
    scene = trimesh.Scene()
    scene.add_geometry(mesh, geom_name=name, node_name=name)
    data: bytes = scene.export(file_type="glb", include_normals=True, tree_postprocessor=_made_matt)
    return _put(Path(path), data)


def linear(srgb: Array) -> Array:
    """Return the linear colours of sRGB ones, 0-1 (IEC 61966-2-1).

    Examples
    --------
    >>> linear(np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [0.0, 0.214, 1.0]
    """
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _made_matt(tree: dict[str, Any]) -> None:
    """Give every mesh a matt material: glTF's own default is metal, in which colours drown."""
    matt = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}, "doubleSided": True}
    tree["materials"] = [matt]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0


def _put(path: Path, data: bytes) -> Path:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
