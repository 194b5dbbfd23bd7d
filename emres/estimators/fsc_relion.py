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

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

import numpy as np
import torch

from emres.errors import UsageError
from emres.estimators.estimate import Estimate
from emres.estimators.fsc import fsc_halves
from emres.estimators.random_phases import randomise_phases
from emres.estimators.relion_spheres import Spheres, overlap
from emres.estimators.shell_sums import ShellSums
from emres.estimators.side_by_side import side_by_side
from emres.estimators.slab_transform import SLAB
from emres.volume.fourier import voxel_sizes
from emres.volume.grid import Shape, Triple

# Error of an FSC read off a window (measured, 95 % of shells), and the change of resolution worth a second look.
DOUBT = 0.04
CONSEQUENCE = 1.3

Volume = np.ndarray[Any, np.dtype[np.float32]]


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
    MapError
        If a half map is constant or holds NaN.
    """
    halves = fsc_halves(half_map_1, half_map_2, device)
    voxel = sum(voxel_sizes(voxel_size)) / 3
    shape, box_size = halves[0].shape, max(halves[0].shape)
    if not 2 * voxel <= sampling:
        raise UsageError(
            "the sampling is too fine", got=f"{sampling:g} Å", expected=f"at least {2 * voxel:g} Å, 2 voxels"
        )
    spheres = Spheres.of(box_size, voxel, sampling, randomise_at)
    if not spheres.centres:
        raise UsageError(
            "no sphere fits into the box",
            got=f"sampling {sampling:g} Å in {box_size * voxel:g} Å",
            cure="pass a smaller sampling",
        )
    with side_by_side(halves[0].device) as each:
        scan = _Scan(spheres, [_pad_to_cube(half) for half in halves], threshold, seed, each)
        shells = each(scan.last_shell, spheres.centres)
        limits = [min(coarsest, box_size * voxel / max(shell, 1)) for shell in shells]
        local_resolution = _spread(limits, spheres, scan.whole_mask, each)[_centred(shape, box_size)]
        answer = local_resolution.contiguous().cpu().numpy()
        reached, capped = _counted(answer, 2.0001 * voxel, 0.9999 * coarsest, each)
    return Estimate(
        resolution=answer,
        method="fsc",
        definition="relion",
        threshold=threshold,
        window=3 * sampling,
        parameters={"sampling": sampling, "randomise_at": randomise_at, "seed": seed, "points": len(limits)},
        capped_share=capped / max(reached, 1),
        unresolved_share=1 - reached / answer.size,
        limits=(2 * voxel, coarsest),
    )


class _Scan:
    """FSC curves of spheres: in a window first, on the whole box where in doubt.

    Parameters
    ----------
    spheres : Spheres
    cubes : two (n, n, n) float32
        The halves.
    threshold : float
    seed : int
        Of the random phases.
    each : callable
        What maps the work over the halves.
    """

    def __init__(
        self,
        spheres: Spheres,
        cubes: list[torch.Tensor],
        threshold: float,
        seed: int,
        each: Callable[..., Iterable[torch.Tensor]],
    ) -> None:
        self.spheres, self.threshold = spheres, threshold
        self.volumes = cubes + randomise_phases(cubes, spheres.randomised_shell, seed, each)
        side, device = spheres.window, cubes[0].device
        self._window_mask = spheres.mask(side, (side // 2,) * 3, device)
        self._window_shells = ShellSums.of_window(side, spheres.box_size, device)
        self.whole_mask = spheres.whole_mask(device)
        self._box: dict[int, ShellSums] = {}
        self._lock = Lock()

    def last_shell(self, centre: Shape) -> int:
        """Return the index of the last Fourier shell of the box before the FSC falls below the threshold."""
        curve = self._in_the_window(centre)
        early, late = (_shells_above(curve, self.threshold + doubt) for doubt in (DOUBT, -DOUBT))
        if late > CONSEQUENCE * max(early, 1):
            return self._last_on_the_box(centre, late)
        return _shells_above(curve, self.threshold)

    def _in_the_window(self, centre: Shape) -> torch.Tensor:
        mask = self._window_mask
        target, source = overlap(centre, len(mask) // 2, len(mask), self.volumes[0].shape)
        room = torch.zeros_like(mask)

        def sphere(volume: torch.Tensor) -> torch.Tensor:
            torch.mul(volume[target], mask[source], out=room[source])
            return room

        return self._corrected(self._window_shells, sphere)

    def _last_on_the_box(self, centre: Shape, expected: int) -> int:
        """Return the same from the transform of the whole box, of which most is not looked at: first a few shells."""
        mask, half = self.whole_mask, self.spheres.box_size // 2
        target, source = overlap(centre, len(mask) // 2, len(mask), self.volumes[0].shape)
        step = max(1, half // 8)
        for last in (*range(step * (expected // step + 1), half, step), half):
            curve = self._corrected(self._on_the_box(last), lambda volume: volume[target] * mask[source])
            found = _shells_above(curve, self.threshold)
            if found < last:
                break
        return found

    def _on_the_box(self, last: int) -> ShellSums:
        """Return the shells of the box up to one."""
        with self._lock:
            if last not in self._box:
                self._box[last] = ShellSums.of_box(self.spheres.box_size, self.whole_mask.device, last)
        return self._box[last]

    def _corrected(self, shells: ShellSums, sphere: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        pairs = (self.volumes[:2], self.volumes[2:])
        total, noise = (shells.fsc(*(shells.coefficients(sphere(volume)) for volume in pair)) for pair in pairs)
        first = self.spheres.randomised_shell + 2
        total[first:] = (total[first:] - noise[first:]) / (1 - noise[first:])
        return total


def _shells_above(curve: torch.Tensor, threshold: float) -> int:
    below = torch.nonzero(curve[1:] < threshold)
    return int(below[0]) if len(below) else len(curve) - 1


def _spread(
    limits: list[float], spheres: Spheres, mask: torch.Tensor, each: Callable[..., Iterable[Any]]
) -> torch.Tensor:
    """Return the weighted harmonic mean of the spheres' resolutions at every voxel, 0 where none reaches."""
    n, centres = spheres.box_size, spheres.centres
    mean = torch.empty((n, n, n), device=mask.device)

    def fill(first: int) -> None:
        part = mean[first : first + SLAB]
        weight, frequency = torch.zeros((2, *part.shape), device=mask.device)
        for (z, y, x), limit in zip(centres, limits, strict=True):
            target, source = overlap((z - first, y, x), len(mask) // 2, len(mask), part.shape)
            weight[target] += mask[source]
            frequency[target].add_(mask[source], alpha=1 / limit)
        # Where no sphere reaches both are 0.
        torch.div(weight, frequency.clamp_min_(1e-30), out=part)

    list(each(fill, range(0, n, SLAB)))
    return mean


def _counted(resolution: Volume, finest: float, coarsest: float, each: Callable[..., Iterable[Any]]) -> tuple[int, int]:
    """Return how many voxels have an answer, and how many of these are at a limit."""

    def count(first: int) -> tuple[int, int]:
        part = resolution[first : first + SLAB]
        reached, coarse, fine = (int(np.count_nonzero(x)) for x in (part > 0, part >= coarsest, part <= finest))
        # Those without an answer are below the finest, too.
        return reached, coarse + fine - (part.size - reached)

    reached, capped = zip(*each(count, range(0, len(resolution), SLAB)), strict=True)
    return sum(reached), sum(capped)


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
