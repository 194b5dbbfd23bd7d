"""Volumes with random phases, drawn as RELION draws them: with C's ``rand()``, in the order of memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from emres.estimators.c_random import RAND_MAX, Numbers, c_rand
from emres.estimators.slab_transform import SLAB, half_complex, sections

Places = np.ndarray[Any, np.dtype[np.int64]]
# Draws that become phases at a time: what that takes in passing is a dozen times as much.
_AT_A_TIME = 2**16
Part = tuple[slice, Places, torch.Tensor]


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

    def turned(number: int) -> torch.Tensor:
        spectrum = half_complex(cubes[number])
        coefficients = spectrum.view(-1)
        for place, stay, phase in _phases(shape[0], shell, seed, number):
            part = coefficients[place]
            untouched, amplitude = part[stay], _absolute(part)
            cosine, sine = phase.to(part.device) * amplitude
            # Not polar(), which takes three times as long.
            torch.complex(cosine, sine, out=part)
            part[stay] = untouched
        # The volume takes the place of its transform.
        volume = torch.view_as_real(spectrum).flatten(-2)[..., : shape[2]]
        for target, slab in zip(torch.split(volume, SLAB), sections(spectrum, shape), strict=True):
            target.copy_(slab)
        return volume

    return list(each(turned, range(len(cubes))))


def _phases(side: int, shell: int, seed: int, number: int) -> Iterator[Part]:
    """Yield, part after part: which coefficients, which of them stay, and cosine and sine of what the others draw."""
    kept, start = _kept(side, shell), 0
    wanted = side * side * (side // 2 + 1) - len(kept)
    drawn_before = kept - np.arange(len(kept))
    for drawn in _in_parts(c_rand(wanted, seed, skip=number * wanted)):
        stop = start + len(drawn)
        first, last = np.searchsorted(drawn_before, (start, stop))
        spread = np.insert(drawn, drawn_before[first:last] - start, 0)
        angle = spread.astype(np.float32) * np.float32(2 * math.pi / RAND_MAX)
        phase = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)]))
        yield slice(start + first, stop + last), kept[first:last] - (start + first), phase
        start = stop


def _in_parts(numbers: Iterable[Numbers]) -> Iterator[Numbers]:
    for drawn in numbers:
        for start in range(0, len(drawn), _AT_A_TIME):
            yield drawn[start : start + _AT_A_TIME]


def _kept(side: int, shell: int) -> Places:
    """Return where the coefficients lie whose phases stay, in the order of memory."""
    square = np.round(np.fft.fftfreq(side, 1 / side)) ** 2
    near = np.flatnonzero(square <= shell**2)
    x = near[near <= side // 2]
    stays = np.sqrt(square[near][:, None, None] + square[near][:, None] + square[x]) <= shell - 1e-3
    kept: Places = ((near[:, None, None] * side + near[:, None]) * (side // 2 + 1) + x)[stays]
    return kept


def _absolute(values: torch.Tensor) -> torch.Tensor:
    # numpy takes a ninth of torch's time.
    return torch.from_numpy(np.abs(values.numpy())) if values.device.type == "cpu" else values.abs()
