"""The local model of ResMap: which waves fit into a window, and how far noise alone would get.

At a resolution r a window of side 2R+1 voxels, R = ceil(r / 2 / voxel), is weighted by exp(-|a x|^2) with
a = 2 pi / r * sqrt(2/5), and fitted by a constant, six second and ten third derivatives of a Gaussian, steered to the
axes of an icosahedron and a dodecahedron. What the fit gains over a constant is a quadratic form y' D y of rank 16 at
most: a sum of squares of 16 filters, so it costs 16 convolutions for all voxels at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_ndtr

Array = np.ndarray[Any, np.dtype[np.float64]]

_PHI = (1 + math.sqrt(5)) / 2
_SECOND: list[tuple[float, float, float]] = [
    (1, 0, _PHI),
    (-1, 0, _PHI),
    (0, _PHI, 1),
    (0, _PHI, -1),
    (_PHI, 1, 0),
    (_PHI, -1, 0),
]
_THIRD: list[tuple[float, float, float]] = [
    (1, 1, 1),
    (1, 1, -1),
    (1, -1, 1),
    (-1, 1, 1),
    (0, 1 / _PHI, _PHI),
    (0, -1 / _PHI, _PHI),
    (1 / _PHI, _PHI, 0),
    (-1 / _PHI, _PHI, 0),
    (_PHI, 0, 1 / _PHI),
    (_PHI, 0, -1 / _PHI),
]
# Eigenvalues below this share of the largest are left out of the null distribution.
_KEPT = 0.1
# Values whose probabilities are looked up at once.
_PASS = 2**17


@dataclass(frozen=True)
class LocalModel:
    """What is measured at one resolution.

    Parameters
    ----------
    radius : int
        R, voxels.
    filters : (16, side, side, side) float64
        y' D y is the sum of the squares of their products with the window.
    eigenvalues : (16,) float64
        Of D, descending.
    weights : (side^3,) float64
        Of the window, squared.
    waves : (16, side^3) float64
        Orthonormal in the window, weighted: all that is fitted but the constant.
    """

    radius: int
    filters: Array
    eigenvalues: Array
    weights: Array
    waves: Array

    @property
    def side(self) -> int:
        """Side of the window, voxels."""
        return 2 * self.radius + 1

    def residuals(self, windows: Array) -> Array:
        """Return the variance of white noise from each of some windows (n, side^3) that hold nothing else.

        What is left of a window, less its mean (a slope of the solvent is no noise), after fitting the waves.
        """
        level = windows - windows.mean(1, keepdims=True)
        flat = self.waves.sum(1)
        # The trace of the same form, mean and all: what unit noise would leave.
        unit = self.weights.sum() - (self.waves**2).sum() - (self.weights.sum() - flat @ flat) / self.weights.size
        return np.asarray((level**2 @ self.weights - ((level @ self.waves.T) ** 2).sum(1)) / unit)

    def p_values(self, statistic: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the probability that unit white noise reaches a value of y' D y, as precisely as that is given."""
        kept = self.eigenvalues[self.eigenvalues > _KEPT * self.eigenvalues[0]]
        mean = float(kept.sum())
        # The tail is smooth in log p: a table serves all voxels. Below 1.3 means nothing is ever significant.
        table = np.geomspace(1.3 * mean, max(2 * mean, float(statistic.max(initial=0.0)) * 1.01), 256)
        log_tail = chi_square_tail(table, kept)
        found = np.ones_like(statistic)
        for start in range(0, len(statistic), _PASS):
            some = statistic[start : start + _PASS]
            found[start : start + _PASS] = np.where(some < table[0], 1.0, np.exp(np.interp(some, table, log_tail)))
        return found


def local_model(resolution: float, voxel_size: float) -> LocalModel:
    """Return the model of one resolution, both in Å.

    Examples
    --------
    >>> model = local_model(4.2, 1.0)
    >>> model.side, model.filters.shape
    (7, (16, 7, 7, 7))
    """
    radius = math.ceil(0.5 * resolution / voxel_size)
    ticks = np.arange(-radius, radius + 1) * (voxel_size * 2 * math.pi / resolution * math.sqrt(2 / 5))
    points = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    amplitude = np.exp(-0.5 * (points**2).sum(1))
    basis = amplitude[:, None] * _basis(points)
    everything, constant, waves = (np.linalg.qr(part)[0] for part in (basis, basis[:, :1], basis[:, 1:]))
    beyond = everything - constant @ (constant.T @ everything)
    directions, strength, _ = np.linalg.svd(beyond, full_matrices=False)
    filters, singular, _ = np.linalg.svd(amplitude[:, None] * directions[:, strength > 0.5], full_matrices=False)
    fitted = amplitude[:, None] * waves
    side = 2 * radius + 1
    return LocalModel(radius, (filters * singular).T.reshape(-1, side, side, side), singular**2, amplitude**2, fitted.T)


def _basis(points: Array) -> Array:
    columns = [np.ones(len(points))]
    second, third = (points @ _unit(axes).T for axes in (_SECOND, _THIRD))
    columns.extend((4 * second**2 - 2).T)
    columns.extend((third**3 - 2.254 * third).T)
    return np.stack(columns, axis=1)


def _unit(axes: list[tuple[float, float, float]]) -> Array:
    return np.asarray(np.array(axes) / np.linalg.norm(axes, axis=1, keepdims=True))


def chi_square_tail(values: Array, weights: Array) -> Array:
    """Return the log of P(sum w_i chi2_1 > value), by the saddlepoint formula of Lugannani and Rice.

    Parameters
    ----------
    values : (n,) float64
        Beyond the mean, sum of the weights.
    weights : (k,) float64
        Positive.

    Returns
    -------
    (n,) float64
        Within a few per cent of the probability, however small it is (Kuonen, Biometrika 86, 1999).

    Examples
    --------
    >>> float(np.exp(chi_square_tail(np.array([7.815]), np.ones(3)))[0]).__round__(3)
    0.05
    """
    scale = weights.max()
    unit, target = weights / scale, values / scale
    # K'(s) = target by bisection: K' rises from its mean at s = 0 to infinity at s = 1/2.
    low, high = np.zeros_like(target), np.full_like(target, 0.5)
    for _ in range(60):
        s = (low + high) / 2
        too_small = (unit / (1 - 2 * s[:, None] * unit)).sum(1) < target
        low, high = np.where(too_small, s, low), np.where(too_small, high, s)
    shrunk = 1 - 2 * s[:, None] * unit
    cumulant, curvature = -0.5 * np.log(shrunk).sum(1), 2 * (unit**2 / shrunk**2).sum(1)
    w, v = np.sqrt(2 * (s * target - cumulant)), s * np.sqrt(curvature)
    return np.asarray(log_ndtr(-(w + np.log(v / w) / w)))
