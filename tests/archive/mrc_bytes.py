"""MRC files built byte by byte from the format's description, without any of the code under test."""

from __future__ import annotations

import struct

import numpy as np

WORD = {
    "nx": 0,
    "ny": 1,
    "nz": 2,
    "mode": 3,
    "nxstart": 4,
    "nystart": 5,
    "nzstart": 6,
    "mx": 7,
    "my": 8,
    "mz": 9,
    "cell_x": 10,
    "cell_y": 11,
    "cell_z": 12,
    "alpha": 13,
    "beta": 14,
    "gamma": 15,
    "mapc": 16,
    "mapr": 17,
    "maps": 18,
    "dmin": 19,
    "dmax": 20,
    "dmean": 21,
    "ispg": 22,
    "nsymbt": 23,
    "nversion": 27,
    "imod_stamp": 38,
    "imod_flags": 39,
    "origin_x": 49,
    "origin_y": 50,
    "origin_z": 51,
    "rms": 54,
    "nlabl": 55,
}
MODE = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}


def raw_map(
    density,
    voxel_size=(1.0, 1.0, 1.0),
    *,
    axes=(1, 2, 3),
    origin=(0, 0, 0),
    nstart=(0, 0, 0),
    order="<",
    extended=b"",
    stamp=None,
    labels=(),
    **words,
):
    """Return the bytes of a map.

    ``density`` is (z, y, x); ``voxel_size``, ``origin`` and ``nstart`` are x, y, z; they are permuted here as the
    format wants them; ``words`` overrides any header word.
    """
    n_xyz = density.shape[::-1]
    stored = density.transpose([3 - axis for axis in reversed(axes)])
    code = density.dtype.str[1:]
    header = {
        **dict(zip(("nx", "ny", "nz"), stored.shape[::-1], strict=True)),
        **dict(zip(("nxstart", "nystart", "nzstart"), (nstart[axis - 1] for axis in axes), strict=True)),
        **dict(zip(("mx", "my", "mz"), n_xyz, strict=True)),
        **{f"cell_{name}": n * size for name, n, size in zip("xyz", n_xyz, voxel_size, strict=True)},
        **dict.fromkeys(("alpha", "beta", "gamma"), 90.0),
        **dict(zip(("mapc", "mapr", "maps"), axes, strict=True)),
        **{f"origin_{name}": float(value) for name, value in zip("xyz", origin, strict=True)},
        "mode": MODE[code],
        "ispg": 1,
        "nsymbt": len(extended),
        "nversion": 20140,
        "nlabl": len(labels),
        **words,
    }
    raw = bytearray(1024)
    for name, value in header.items():
        struct.pack_into(order + ("f" if isinstance(value, float) else "i"), raw, 4 * WORD[name], value)
    raw[208:212] = b"MAP "
    raw[212:216] = stamp if stamp is not None else (b"DD\0\0" if order == "<" else b"\x11\x11\0\0")
    for index, label in enumerate(labels):
        raw[224 + 80 * index : 304 + 80 * index] = label.encode().ljust(80)
    return bytes(raw) + extended + np.ascontiguousarray(stored).astype(order + code).tobytes()


def noise(shape, dtype="f4", seed=0):
    """Return values of any type, all different enough to notice a wrong axis."""
    values = np.random.default_rng(seed).normal(size=shape) * 20 + 40
    return np.clip(values, 0, 127).astype(dtype)
