"""Local FSC as RELION defines it: soft spheres on a coarse grid, each one's FSC corrected by phase randomisation.

The definition, found by measuring the program: centres every round(sampling / voxel) voxels from the corner, kept
where a sphere of radius round(sampling / 2 / voxel) lies within the largest sphere of the box; a raised-cosine edge
of round(sampling / voxel) voxels; shells one Fourier pixel of the *box* thick, in which every coefficient of the
half-complex transform counts once; FSC = (FSC_t - FSC_n) / (1 - FSC_n) from two shells beyond the randomised one;
the resolution is that of the last shell before the first one below the threshold, without interpolation, at most
50 Å; a voxel gets the harmonic mean over the spheres that reach it, weighted by their edges.

Why it is fast: beyond its edge a sphere is empty, so its transform is computed in a window round it, and the shells
of the box are read off the coarser transform of the window. Only where that leaves a crossing in doubt (a small
error in the FSC would move it by a lot) is the sphere transformed on the whole box.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch

from emres.errors import UsageError
from emres.estimators.c_random import RAND_MAX, c_rand
from emres.estimators.estimate import Estimate
from emres.estimators.fsc import paired_halves
from emres.estimators.shell_sums import ShellSums
from emres.estimators.side_by_side import side_by_side
from emres.volume.fourier import inverse_transform, radial_frequency, voxel_sizes
from emres.volume.grid import Shape, Triple

# Error of an FSC read off a window (measured, 95 % of shells), and the change of resolution worth a second look.
DOUBT = 0.04
CONSEQUENCE = 1.3
# The outermost part of the raised cosine that a window may cut off: there the mask is below 0.21.
CUT_EDGE = 0.7


@dataclass(frozen=True)
class Spheres:
    """Where RELION looks, and with what mask: all in voxels of a cubic box.

    Parameters
    ----------
    box_size, radius, edge, step : int
    randomised_shell : int
        First Fourier shell whose phases are random.
    """

    box_size: int
    radius: int
    edge: int
    step: int
    randomised_shell: int

    @classmethod
    def of(cls, box_size: int, voxel_size: float, sampling: float, randomise_at: float) -> Spheres:
        """Return the spheres for lengths in Å."""
        half_up = [math.floor(length / voxel_size + 0.5) for length in (sampling / 2, sampling)]
        return cls(box_size, half_up[0], half_up[1], half_up[1], int(box_size * voxel_size / randomise_at))

    @property
    def centres(self) -> list[Shape]:
        """Centres of all spheres, (z, y, x) voxels."""
        middle, reach = self.box_size // 2, self.box_size // 2 - self.radius
        axis = range(0, self.box_size, self.step)
        grid = itertools.product(axis, axis, axis)
        return [centre for centre in grid if math.dist(centre, (middle,) * 3) < reach]

    @property
    def window(self) -> int:
        """Side of a window that holds a sphere, a length that transforms fast."""
        side = 2 * math.ceil(self.radius + CUT_EDGE * self.edge) + 1
        return min(self.box_size, next(n for n in itertools.count(side) if _is_smooth(n)))

    def whole_mask(self, device: torch.device) -> torch.Tensor:
        """Return a sphere's mask in the smallest cube that holds all of it."""
        reach = self.radius + self.edge
        return self.mask(2 * reach + 1, (reach,) * 3, device)

    def mask(self, side: int, centre: Shape, device: torch.device) -> torch.Tensor:
        """Return a sphere's mask in a cube of ``side`` voxels."""
        z, y, x = ((torch.arange(side, device=device) - c).square() for c in centre)
        distance = (z[:, None, None] + y[None, :, None] + x[None, None, :]).sqrt()
        outward = distance.sub_(self.radius).div_(self.edge).clamp_(0.0, 1.0)
        return outward.mul_(math.pi).cos_().mul_(0.5).add_(0.5)


def relion_fsc(
    half_map_1: Any,
    half_map_2: Any,
    voxel_size: float | Triple,
    *,
    threshold: float = 0.143,
    sampling: float = 25.0,
    randomise_at: float = 25.0,
    coarsest: float = 50.0,
    seed: int = 0,
    device: str = "cpu",
) -> Estimate:
    """Estimate local resolution as ``relion_postprocess --locres`` does.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
        A box that is no cube is padded with zeros to one, and the answer cropped: RELION itself counts shells in
        Fourier pixels of each axis there and answers wrongly.
    voxel_size : Å, one or (z, y, x)
        RELION knows one; of three the mean is taken.
    threshold : float
    sampling : float
        Å, distance of the spheres and width of their edge; twice their radius.
    randomise_at : float
        Å from which on phases are random in the noise estimate.
    coarsest : float
        Å, the limit.
    seed : int
        Of C's random numbers, RELION's ``--random_seed``.
    device : str

    Returns
    -------
    Estimate
        Resolution in Å, 0 where no sphere reaches.

    Raises
    ------
    UsageError
        If the half maps differ in shape, or no sphere fits into the box.
    """
    halves = paired_halves(half_map_1, half_map_2, device)
    voxel = sum(voxel_sizes(voxel_size)) / 3
    shape, box_size = halves[0].shape, max(halves[0].shape)
    spheres = Spheres.of(box_size, voxel, sampling, randomise_at)
    if not spheres.centres:
        raise UsageError(
            "no sphere fits into the box",
            got=f"sampling {sampling:g} Å in {box_size * voxel:g} Å",
            cure="pass a smaller sampling",
        )
    cubes = [_pad_to_cube(half) for half in halves]
    with side_by_side(cubes[0].device) as each:
        randomised = randomise_phases(cubes, spheres.randomised_shell, seed, each)
        last_shells = each(_Scan(spheres, cubes + randomised, threshold).last_shell, spheres.centres)
        limits = [min(coarsest, box_size * voxel / max(shell, 1)) for shell in last_shells]
        local_resolution = _spread(limits, spheres, cubes[0].device)[_centred(shape, box_size)]
    inside = local_resolution > 0
    capped = inside & ((local_resolution >= 0.9999 * coarsest) | (local_resolution <= 2.0001 * voxel))
    return Estimate(
        resolution=local_resolution.contiguous().cpu().numpy(),
        method="fsc",
        definition="relion",
        threshold=threshold,
        window=3 * sampling,
        parameters={"sampling": sampling, "randomise_at": randomise_at, "seed": seed, "points": len(limits)},
        capped_share=float(capped.sum() / inside.sum()),
        unresolved_share=float((~inside).float().mean()),
        limits=(2 * voxel, coarsest),
    )


def randomise_phases(
    cubes: list[torch.Tensor], shell: int, seed: int, each: Callable[..., Iterable[torch.Tensor]] = map
) -> list[torch.Tensor]:
    """Return volumes with random phases from a Fourier shell on, amplitudes kept.

    Parameters
    ----------
    cubes : list of (n, n, n) float32
    shell : int
        Fourier pixels.
    seed : int
        The draws run through one volume after the other, in the order of memory.
    each : callable
        What maps the work over the cubes.

    Returns
    -------
    list of (n, n, n) float32
    """
    shape = cubes[0].shape
    random = radial_frequency(shape, 1 / shape[0], str(cubes[0].device)) > shell - 1e-3
    counts = random.sum((1, 2)).tolist()
    draws = torch.from_numpy(c_rand(sum(counts) * len(cubes), seed).view("int32")).chunk(len(cubes))

    def turned(cube: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfftn(cube)
        # Plane by plane, in place: a transform and its answer are all that is held.
        for plane, where, phase in zip(spectrum, random, torch.split(drawn, counts), strict=True):
            angle = phase.to(cube.device).float().mul_(2 * math.pi / RAND_MAX)
            plane.masked_scatter_(where, torch.polar(plane.masked_select(where).abs(), angle))
        return inverse_transform(spectrum, shape)

    return list(each(lambda pair: turned(*pair), zip(cubes, draws, strict=True)))


class _Scan:
    """FSC curves of spheres: in a window first, on the whole box where in doubt.

    Parameters
    ----------
    spheres : Spheres
    volumes : four (n, n, n) float32
        Both halves, and both with random phases.
    threshold : float
    """

    def __init__(self, spheres: Spheres, volumes: list[torch.Tensor], threshold: float) -> None:
        self.spheres, self.volumes, self.threshold = spheres, volumes, threshold
        side, device = spheres.window, volumes[0].device
        self._window_mask = spheres.mask(side, (side // 2,) * 3, device)
        self._window_shells = ShellSums.of_window(side, spheres.box_size, device)
        self._box: tuple[ShellSums, torch.Tensor] | None = None
        self._lock = Lock()

    def last_shell(self, centre: Shape) -> int:
        """Return the index of the last Fourier shell of the box before the FSC falls below the threshold."""
        curve = self._corrected(self._window_shells, [self._cut(volume, centre) for volume in self.volumes])
        early, late = (_shells_above(curve, self.threshold + doubt) for doubt in (DOUBT, -DOUBT))
        if late > CONSEQUENCE * max(early, 1):
            curve = self._corrected(*self._on_the_box(centre))
        return _shells_above(curve, self.threshold)

    def _cut(self, volume: torch.Tensor, centre: Shape) -> torch.Tensor:
        """Return a sphere cut out of a volume, zero beyond the faces."""
        side = self.spheres.window
        cube = torch.zeros_like(self._window_mask)
        target, source = _overlap(centre, side // 2, side, self.spheres.box_size)
        torch.mul(volume[target], self._window_mask[source], out=cube[source])
        return cube

    def _on_the_box(self, centre: Shape) -> tuple[ShellSums, list[torch.Tensor]]:
        """Return the shells of the box, and whole spheres for them."""
        with self._lock:
            if self._box is None:
                device = self.volumes[0].device
                self._box = ShellSums.of_box(self.spheres.box_size, device), self.spheres.whole_mask(device)
        shells, mask = self._box
        target, source = _overlap(centre, len(mask) // 2, len(mask), self.spheres.box_size)
        return shells, [volume[target] * mask[source] for volume in self.volumes]

    def _corrected(self, shells: ShellSums, cubes: list[torch.Tensor]) -> torch.Tensor:
        total, noise = (shells.fsc(*pair) for pair in (cubes[:2], cubes[2:]))
        first = self.spheres.randomised_shell + 2
        total[first:] = (total[first:] - noise[first:]) / (1 - noise[first:])
        return total


def _shells_above(curve: torch.Tensor, threshold: float) -> int:
    below = torch.nonzero(curve[1:] < threshold)
    return int(below[0]) if len(below) else len(curve) - 1


def _overlap(centre: Shape, middle: int, side: int, box_size: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return what a cube and the box share, in the box and in the cube, with the cube's middle on a centre."""
    low = [c - middle for c in centre]
    target = tuple(slice(max(a, 0), min(a + side, box_size)) for a in low)
    return target, tuple(slice(s.start - a, s.stop - a) for s, a in zip(target, low, strict=True))


def _spread(limits: list[float], spheres: Spheres, device: torch.device) -> torch.Tensor:
    """Return the weighted harmonic mean of the spheres' resolutions at every voxel, 0 where none reaches."""
    n = spheres.box_size
    weight, frequency = torch.zeros((2, n, n, n), device=device)
    mask = spheres.whole_mask(device)
    for centre, limit in zip(spheres.centres, limits, strict=True):
        target, source = _overlap(centre, len(mask) // 2, len(mask), n)
        weight[target] += mask[source]
        frequency[target].add_(mask[source], alpha=1 / limit)
    # Where no sphere reaches both are 0.
    mean: torch.Tensor = weight.div_(frequency.clamp_min_(1e-30))
    return mean


def _pad_to_cube(volume: torch.Tensor) -> torch.Tensor:
    side = max(volume.shape)
    if tuple(volume.shape) == (side,) * 3:
        return volume
    cube = torch.zeros((side,) * 3, device=volume.device)
    cube[_centred(volume.shape, side)] = volume
    return cube


def _centred(shape: tuple[int, ...], side: int) -> tuple[slice, ...]:
    starts = [(side - n) // 2 for n in shape]
    return tuple(slice(a, a + n) for a, n in zip(starts, shape, strict=True))


def _is_smooth(n: int) -> bool:
    for factor in (2, 3, 5):
        while n % factor == 0:
            n //= factor
    return n == 1
