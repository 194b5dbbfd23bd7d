"""What may happen to a patch before a net sees it: each a small function of numbers that were drawn beforehand.

Turning and mirroring change density and target alike. Everything else changes the density alone, and stands for what
maps differ in though their local resolution is the same: sharpening, masks, noise, gain and offset.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft

from emres.errors import UsageError
from emres.volume.masking import grown
from emres.volume.resample import Matrix, apply_matrices
from emres.volume.spectrum import Spectra, shell_counts

Array = np.ndarray[Any, Any]

CONTEXT = 8  # voxels round a patch that are cut too where it is filtered: a filter knows no faces
_BLUR_REACH = 3.0  # sigma
_MOST_GAIN = 3.0  # natural logarithm of what a coefficient may grow to: beyond lies noise that nobody would deposit

# Orders and signs of the three axes whose matrix has determinant +1: the 24 rotations of a cube.
ROTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
    if round(np.linalg.det(np.eye(3)[list(order)] * signs)) == 1
]


@dataclass(frozen=True)
class Augmentation:
    """How strongly patches are varied; the default leaves them as they are.

    Parameters
    ----------
    rotations : bool
        Turn by one of the 24 rotations of a cube.
    mirrors : bool
        Mirror half of the patches. Molecules have a hand, and it shows from about 4 Å on.
    b_factor : (float, float)
        Å^2, the range that a B factor is drawn from: negative sharpens, positive blurs.
    noise : float
        The most white noise that is added, as a share of the rms density in the molecule. It is not in the target: be
        sparing.
    mask : float
        Share of the patches in which everything outside a soft mask is 0, as in a masked deposition.
    gain : float
        Standard deviation of the logarithm of a random gain: no mask is ever quite right, and the scale depends on it.
    offset : float
        Standard deviation of a random offset, in rms densities.
    told : float
        Share of the patches with which the reported resolution of their map is told.
    report : float
        Standard deviation of the logarithm of an error of what is told: authors differ in how they measure it.
    """

    rotations: bool = False
    mirrors: bool = False
    b_factor: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.0
    mask: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    told: float = 0.0
    report: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.b_factor
        strengths = (self.noise, self.gain, self.offset, self.report)
        shares = (self.mask, self.told)
        known = np.isfinite([low, high, *strengths, *shares]).all()
        if not (known and min(*strengths, *shares) >= 0 and max(shares) <= 1 and low <= high):
            raise UsageError(
                "an augmentation is out of range", got=str(self), expected="strengths from 0 up, shares up to 1"
            )

    @property
    def varies(self) -> bool:
        """Whether the density is changed, beyond turning and mirroring."""
        return self.context > 0 or max(self.noise, self.gain, self.offset) > 0

    @property
    def context(self) -> int:
        """Voxels needed round a patch on every side."""
        return CONTEXT if self.mask or self.b_factor != (0.0, 0.0) else 0


# What a net is trained with unless it is told otherwise.
USUAL = Augmentation(rotations=True, b_factor=(-80.0, 80.0), mask=0.2, gain=0.15, offset=0.02, told=0.4, report=0.06)


@dataclass(frozen=True)
class Draw:
    """What is done to one patch: numbers drawn from its seed, in this order whatever is used."""

    b_factor: float
    noise: float
    masked: bool
    gain: float
    offset: float
    growth: int
    softness: float
    told: bool
    report: float


def drawn(plan: Augmentation, seed: int) -> tuple[Draw, np.random.Generator]:
    """Draw what is done to a patch, and return what the noise is to be drawn from."""
    rng, other = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    # Drawn one after the other, so that one strength can be changed without the others.
    b_factor, noise, masked = rng.uniform(*plan.b_factor), plan.noise * rng.random(), rng.random() < plan.mask
    gain, offset = float(np.exp(plan.gain * rng.normal())), float(plan.offset * rng.normal())
    growth, softness = int(rng.integers(2, 6)), float(rng.uniform(0.7, 2.0))
    told, report = bool(other.random() < plan.told), float(np.exp(plan.report * other.normal()))
    return Draw(b_factor, noise, bool(masked), gain, offset, growth, softness, told, report), rng


def rms_gain(spectra: Spectra, b_factor: float, finest: float) -> float:
    """Return the rms of a map in its molecule after a filter, over the rms before."""
    power = np.asarray(spectra.inside) * shell_counts()
    if not power.sum() > 0:
        return 1.0
    gain = b_factor_gain(np.square(spectra.frequency), b_factor, finest)
    return float(np.sqrt((power * gain**2).sum() / power.sum()))


def varied_spectra(spectra: Spectra, plan: Augmentation, finest: float, seed: int) -> Spectra:
    """Return the spectra that the whole map would have after what :func:`vary` does to a patch of it."""
    draw, _ = drawn(plan, seed)
    if draw.b_factor:
        gain = b_factor_gain(np.square(spectra.frequency), draw.b_factor, finest)
        spectra = spectra.filtered(gain / rms_gain(spectra, draw.b_factor, finest))
    if draw.noise:
        spectra = spectra.with_noise(draw.noise**2).scaled(1 / math.sqrt(1 + draw.noise**2))
    if plan.gain:
        spectra = spectra.scaled(draw.gain)
    return spectra.masked() if draw.masked else spectra


def vary(
    density: Array,
    target: Array,
    plan: Augmentation,
    voxel_size: float,
    map_facts: tuple[Spectra, float],
    seed: int,
    context: int = 0,
) -> Array:
    """Vary the density of a patch, and crop it of its context.

    What a whole map would be divided by after the same treatment (its rms in the molecule) is taken from its spectrum:
    a net meets a sharpened map normalised, and so it meets a sharpened patch.

    Parameters
    ----------
    density : (z, y, x) float32
        Normalised.
    target : (z, y, x) float32
        Å, 0 where there is none.
    plan : Augmentation
    voxel_size : float
        Å.
    map_facts : (Spectra, float)
        Of the whole map; and the finest resolution in it, Å: nothing finer is sharpened any further.
    seed : int
    context : int
        Voxels on every side of density and target that are not of the patch.

    Returns
    -------
    (z, y, x) float32
    """
    draw, rng = drawn(plan, seed)
    spectra, finest = map_facts
    if draw.b_factor:
        sharper = filtered(density, draw.b_factor, voxel_size, finest)
        density = sharper / np.float32(rms_gain(spectra, draw.b_factor, finest))
    density = cropped(density, context)
    if draw.noise:
        density = with_noise(density, draw.noise, rng)
    if plan.gain or plan.offset:
        density = density * np.float32(draw.gain) + np.float32(draw.offset)
    if draw.masked:
        density = density * cropped(soft_mask(target, draw.growth, draw.softness), context)
    return np.asarray(density, dtype=np.float32)


def cropped(values: Array, by: int) -> Array:
    """Return what is left when ``by`` voxels are taken off every face."""
    return values[(slice(by, -by),) * 3] if by else values


def rotated(values: Array, turn: int) -> Array:
    """Return one of the 24 rotations of a (z, y, x) cube, as a view."""
    order, signs = ROTATIONS[turn]
    return values.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]


def placed(values: Array, turn: int, mirrored: bool) -> Array:
    """Return a (z, y, x) cube turned and, if asked, mirrored first, in memory of its own."""
    return np.ascontiguousarray(rotated(values[:, :, ::-1] if mirrored else values, turn))


def filtered(density: Array, b_factor: float, voxel_size: float, finest: float = 0.0) -> Array:
    """Multiply every Fourier coefficient by exp(-B s^2 / 4): blurred for B > 0, sharpened for B < 0.

    Parameters
    ----------
    density : (z, y, x) float32
        Periodic: leave off ``CONTEXT`` voxels at the faces of what is no whole map.
    b_factor, voxel_size : Å^2, Å
    finest : float
        Å; frequencies beyond are treated like this one.

    Returns
    -------
    (z, y, x) float32
    """
    z, y, x = density.shape
    along_z, along_y, along_x = fft.fftfreq(z, voxel_size), fft.fftfreq(y, voxel_size), fft.rfftfreq(x, voxel_size)
    square = along_z[:, None, None] ** 2 + along_y[:, None] ** 2 + along_x**2
    gain = b_factor_gain(square, b_factor, finest).astype(np.float32)
    return np.asarray(fft.irfftn(fft.rfftn(density) * gain, s=density.shape), dtype=np.float32)


def b_factor_gain(square: Array, b_factor: float, finest: float = 0.0) -> Array:
    """Return exp(-B s^2 / 4) for squared frequencies (1/Å^2), constant beyond ``finest`` (Å), at most e^3."""
    held = np.minimum(square, 1 / finest**2) if finest > 0 else square
    return np.exp(np.minimum(-b_factor / 4 * held, _MOST_GAIN))


def with_noise(density: Array, share: float, rng: np.random.Generator) -> Array:
    """Add white noise, and divide by what the rms of the molecule (1 before) grows by."""
    noise = rng.standard_normal(density.shape, dtype=np.float32)
    return np.asarray((density + np.float32(share) * noise) / np.float32(np.sqrt(1 + share**2)))


def soft_mask(target: Array, growth: int, softness: float) -> Array:
    """Return a soft mask round where there is a target.

    Parameters
    ----------
    target : (z, y, x) float32
        0 where there is none.
    growth : int
        Voxels that the mask is larger by.
    softness : float
        Sigma of its edge, voxels.

    Returns
    -------
    (z, y, x) float32, 0-1
        Beyond the faces everything goes on as it is at them.
    """
    inside = grown(target > 0, growth).astype(np.float32)
    z, y, x = (_blur_matrix(n, softness) for n in target.shape)
    return np.asarray(np.clip(apply_matrices(inside, (z, y, x)), 0, 1))


def _blur_matrix(n: int, sigma: float) -> Matrix:
    distance = np.abs(np.arange(n)[:, None] - np.arange(n)) / sigma
    matrix = np.where(distance <= _BLUR_REACH, np.exp(-0.5 * distance**2), 0)  # beyond, nothing is to be left
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), dtype=np.float32)
