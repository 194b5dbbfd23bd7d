"""Input that makes a one-map method lie: masked, low-passed or sharpened maps.

MonoRes and ResMap take the noise from the solvent of the map itself. Where somebody has removed the solvent, cut the
spectrum or raised its end, they still answer, only wrongly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from emres.estimators.one_map import magnitude, scaled
from emres.volume.fourier import Curve, as_tensor, radial_power, voxel_sizes
from emres.volume.grid import Triple

# Voxels within this many standard deviations of the value at the faces are constant; a tenth of them is a mask.
_CONSTANT = 1e-3
MASKED_SHARE = 0.1
# A reconstruction in the sphere of its particle is not masked: what is not constant fills a ball round the middle of
# the box (but for a hundredth of it, which may lie astray, and the last of its soft edge) ...
_BALL_FILLED, _BALL_INNER, _BALL_HOLDS = 0.98, 0.97, 0.99
# ... that reaches so far to the faces: then half of the sphere that a one-map method looks for noise in has some.
_BALL_REACHES = 0.8
# A spectrum that falls a hundredfold within a tenth of Nyquist was cut; one that loses 1e6 in its outer half too.
CUT_FACTOR, CUT_WIDTH = 100.0, 0.1
FADED_FACTOR = 1e6
# Power that rises threefold from its minimum beyond 10 Å to its end was raised.
RAISED_FACTOR = 3.0
_SHAPE_ENDS = 10.0


@dataclass(frozen=True)
class Suspicion:
    """What seems to have been done to a map.

    Parameters
    ----------
    constant_share : float
        Share of voxels that hold the same value as the faces of the box.
    in_a_sphere : bool
        Whether all others fill a large ball round the middle of the box, as a reconstruction does, noise and all.
    low_passed_at : float, optional
        Å where the spectrum ends, if before Nyquist.
    power_rise : float
        Power at the end of the spectrum over its minimum beyond 10 Å.
    sentences : tuple of str
        What is wrong and what to do, one a finding; empty where nothing is.
    """

    constant_share: float
    in_a_sphere: bool
    low_passed_at: float | None
    power_rise: float
    sentences: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.sentences)


def suspect(volume: Any, voxel_size: float | Triple) -> Suspicion:
    """Look for masking, low-pass filtering and sharpening.

    Parameters
    ----------
    volume : (z, y, x) float32
    voxel_size : Å, one or (z, y, x)

    Returns
    -------
    Suspicion
    """
    density = as_tensor(volume, "map")
    density = scaled(density, magnitude(density))
    constant, ball = _constant_share(density.numpy())
    frequency, power = radial_power(density, voxel_size)
    end = _end_of_spectrum(power)
    rise = _rise(frequency[: end + 1], power[: end + 1])
    low_passed_at = float(1 / frequency[end]) if end < len(power) - 1 else None
    nyquist = 2 * max(voxel_sizes(voxel_size))
    said = _sentences(0.0 if ball else constant, low_passed_at, rise, nyquist)
    return Suspicion(constant, ball, low_passed_at, rise, tuple(said))


def _sentences(constant: float, low_passed_at: float | None, rise: float, nyquist: float) -> list[str]:
    said = []
    if constant > MASKED_SHARE:
        said.append(
            f"The map looks masked: {constant:.0%} of its voxels hold one value, so its solvent says nothing about "
            "noise and a one-map method answers too fine; use the half maps or the map before masking."
        )
    if low_passed_at is not None:
        said.append(
            f"The map looks low-passed: its spectrum ends at {low_passed_at:.2g} Å, before Nyquist ({nyquist:.2g} Å); "
            "nothing finer can be found, and a one-map method takes the filter for noise; use the unfiltered map or "
            "the half maps."
        )
    if rise > RAISED_FACTOR:
        said.append(
            f"The map looks sharpened: its power rises {rise:.0f}-fold towards its end, noise and signal alike; use "
            "the unsharpened map or the half maps."
        )
    return said


def _constant_share(density: np.ndarray[Any, Any]) -> tuple[float, bool]:
    """Return the share of voxels that hold the value of the faces, and whether all others fill a ball."""
    faces = np.concatenate([density[side].ravel() for axis in range(3) for side in _both_faces(axis)])
    value, near = np.median(faces), _CONSTANT * max(float(density.std()), 1e-30)
    z, y, x = (np.square(np.arange(n) - (n - 1) / 2) for n in density.shape)
    radii = int(np.sqrt(z.max() + y.max() + x.max())) + 1
    everywhere, live = np.zeros((2, radii), dtype=np.int64)
    for plane, above in zip(density, z, strict=True):
        radius = np.sqrt(above + y[:, None] + x).astype(np.int64)
        everywhere += np.bincount(radius.ravel(), minlength=radii)
        live += np.bincount(radius[np.abs(plane - value) >= near], minlength=radii)
    reach = int(np.searchsorted(live.cumsum(), _BALL_HOLDS * live.sum()))
    inner = slice(0, max(1, int(_BALL_INNER * reach)))
    filled = live[inner].sum() / everywhere[inner].sum() >= _BALL_FILLED
    return float(1 - live.sum() / density.size), bool(filled and reach >= _BALL_REACHES * min(density.shape) / 2)


def _both_faces(axis: int) -> list[tuple[Any, ...]]:
    return [(slice(None),) * axis + (index,) for index in (0, -1)]


def _end_of_spectrum(power: Curve) -> int:
    """Return the last shell before the power falls to nothing, the last of all where it does not."""
    log_power = np.log(np.maximum(power, max(float(power.max(initial=0.0)), 1e-200) * 1e-30))
    n = len(log_power)
    if n < 3:
        return n - 1
    width = max(2, round(CUT_WIDTH * n))
    start = n // 5
    falls = log_power[start : n - width] - log_power[start + width :]
    if len(falls) and falls.max() > math.log(CUT_FACTOR):
        steepest = start + int(np.argmax(falls))
        return steepest + int(np.argmin(np.diff(log_power[steepest : steepest + width + 1])))
    middle = log_power[n // 2]
    faded = np.flatnonzero(log_power < middle - math.log(FADED_FACTOR))
    return int(faded[0]) if len(faded) else n - 1


def _rise(frequency: Curve, power: Curve) -> float:
    """Return the power at the end over the smallest beyond 10 Å (or the outer two thirds, where that is coarser)."""
    start = min(int(np.searchsorted(frequency, 1 / _SHAPE_ENDS)), len(power) // 3)
    if len(power) < 3:
        return 1.0
    outer = np.convolve(power[start:], np.ones(3) / 3, mode="valid") if len(power) - start >= 6 else power[start:]
    return float(outer[-1] / max(outer.min(), 1e-300))
