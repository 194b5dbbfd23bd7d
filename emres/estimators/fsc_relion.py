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

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from emres.errors import UsageError
from emres.estimators.estimate import Estimate
from emres.estimators.fsc import fsc_halves
from emres.estimators.random_phases import randomise_phases
from emres.estimators.relion_spheres import KnownSpheres, Spheres, known_spheres, overlap
from emres.estimators.shell_sums import Curve
from emres.estimators.side_by_side import Each, side_by_side
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
    voxel = sum(voxel_sizes(voxel_size)) / 3
    if not 2 * voxel <= sampling:
        raise UsageError(
            "the sampling is too fine", got=f"{sampling:g} Å", expected=f"at least {2 * voxel:g} Å, 2 voxels"
        )
    with side_by_side(torch.device(device)) as each:
        # In here, too: torch's own threads look for more work for a while, in the way of ours.
        halves = fsc_halves(half_map_1, half_map_2, device)
        shape, box_size = halves[0].shape, max(halves[0].shape)
        spheres = Spheres.of(box_size, voxel, sampling, randomise_at)
        if not spheres.centres:
            raise UsageError(
                "no sphere fits into the box",
                got=f"sampling {sampling:g} Å in {box_size * voxel:g} Å",
                cure="pass a smaller sampling",
            )
        scan = _Scan(spheres, [_pad_to_cube(half) for half in halves], threshold, seed, each)
        limits = [min(coarsest, box_size * voxel / max(shell, 1)) for shell in scan.last_shells(spheres.centres)]
        local_resolution = _spread(limits, scan.known, each)[_centred(shape, box_size)]
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
        What maps the work over halves and spheres.
    """

    def __init__(self, spheres: Spheres, cubes: list[torch.Tensor], threshold: float, seed: int, each: Each) -> None:
        self.threshold, self._each, self._first = threshold, each, spheres.randomised_shell + 2
        self._volumes = cubes + randomise_phases(cubes, spheres.randomised_shell, seed, each)
        self.known = known_spheres(spheres, str(cubes[0].device))

    def last_shells(self, centres: list[Shape]) -> list[int]:
        """Return, of every sphere, the last Fourier shell of the box before the FSC falls below the threshold."""
        found = list(self._each(self._in_the_window, centres))
        doubtful = {place: late for place, (_, late) in enumerate(found) if late is not None}
        sure = self._on_the_box({place: (centres[place], late) for place, late in doubtful.items()})
        return [sure.get(place, last) for place, (last, _) in enumerate(found)]

    def _in_the_window(self, centre: Shape) -> tuple[int, int | None]:
        """Return the last shell by the window, and the last it may be where that leaves it in doubt."""
        mask = self.known.window_mask
        target, source = overlap(centre, len(mask) // 2, len(mask), self._volumes[0].shape)
        room = torch.zeros_like(mask)
        reached, mask = room[source], mask[source]

        def spheres(pair: list[torch.Tensor]) -> Iterator[torch.Tensor]:
            for volume in pair:
                torch.mul(volume[target], mask, out=reached)
                yield room

        shells = self.known.window_shells
        for curves in zip(*(shells.fsc(spheres(pair)) for pair in self._pairs), strict=True):
            curve = self._corrected(*curves)
            early, last, late = (_shells_above(curve, self.threshold + doubt) for doubt in (DOUBT, 0.0, -DOUBT))
            # Whatever further shells hold, it has crossed before.
            if late < len(curve) - 1:
                break
        return last, late if late > CONSEQUENCE * max(early, 1) else None

    def _on_the_box(self, expected: dict[int, tuple[Shape, int]]) -> dict[int, int]:
        """Return the same from the transform of the whole box, of which most is not looked at: first a few shells."""
        half = self.known.spheres.box_size // 2
        step, found = max(1, half // 8), {}
        todo = {place: (centre, min(half, step * (late // step + 1))) for place, (centre, late) in expected.items()}
        while todo:
            jobs = [(centre, last, pair) for centre, last in todo.values() for pair in self._pairs]
            curves = iter(self._each(self._box_curve, jobs))
            above = [_shells_above(self._corrected(*pair), self.threshold) for pair in zip(curves, curves, strict=True)]
            for (place, (centre, last)), shell in zip(list(todo.items()), above, strict=True):
                found[place], todo[place] = shell, (centre, min(half, last + step))
                if shell < last or last == half:
                    del todo[place]
        return found

    def _box_curve(self, job: tuple[Shape, int, list[torch.Tensor]]) -> Curve:
        centre, last, pair = job
        mask = self.known.whole_mask
        target, source = overlap(centre, len(mask) // 2, len(mask), pair[0].shape)
        *_, curve = self.known.box_shells(last).fsc(volume[target] * mask[source] for volume in pair)
        return curve

    @property
    def _pairs(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return self._volumes[:2], self._volumes[2:]

    def _corrected(self, total: Curve, noise: Curve) -> Curve:
        beyond = noise[self._first :]
        total[self._first :] -= beyond
        total[self._first :] /= 1 - beyond
        return total


def _shells_above(curve: Curve, threshold: float) -> int:
    below = curve[1:] < threshold
    first = int(below.argmax())
    return first if below[first] else len(curve) - 1


def _spread(limits: list[float], known: KnownSpheres, each: Each) -> torch.Tensor:
    """Return the weighted harmonic mean of the spheres' resolutions at every voxel, 0 where none reaches."""
    frequency, weight = known.summed([1 / limit for limit in limits], each), known.weight(each)

    def divide(first: int) -> None:
        part = frequency[first : first + SLAB]
        # Where no sphere reaches both are 0.
        torch.div(weight[first : first + SLAB], part.clamp_min_(1e-30), out=part)

    list(each(divide, range(0, len(weight), SLAB)))
    return frequency


def _counted(resolution: Volume, finest: float, coarsest: float, each: Each) -> tuple[int, int]:
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
