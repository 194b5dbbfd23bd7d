"""Volumes with random phases, drawn as RELION draws them: with C's ``rand()``, in the order of memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np
import torch

from emres.estimators.c_random import RAND_MAX, c_rand

# Coefficients whose phases are drawn at a time: more do not stay in a processor's cache.
_AT_A_TIME = 100_000


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
    kept = _kept(shape[0], shell, cubes[0].device)

    def turned(number: int) -> torch.Tensor:
        spectrum = torch.fft.rfftn(cubes[number])
        coefficients = spectrum.view(-1)
        untouched = coefficients[kept]
        drawn = _with_gaps(kept.tolist(), len(coefficients), seed, number).to(spectrum.device)
        for part, phase in zip(torch.split(coefficients, _AT_A_TIME), torch.split(drawn, _AT_A_TIME), strict=True):
            angle, amplitude = phase.float().mul_(2 * math.pi / RAND_MAX), _absolute(part)
            # Not polar(), which takes three times as long.
            torch.complex(angle.cos().mul_(amplitude), angle.sin_().mul_(amplitude), out=part)
        coefficients[kept] = untouched
        columns = torch.fft.ifftn(spectrum, dim=(0, 1))
        # Before the last step makes a third volume.
        del spectrum, coefficients
        volume: torch.Tensor = torch.fft.irfft(columns, n=shape[2], dim=2)
        return volume

    return list(each(turned, range(len(cubes))))


def _kept(side: int, shell: int, device: torch.device) -> torch.Tensor:
    """Return where the coefficients lie whose phases stay, in the order of memory."""
    square = torch.fft.fftfreq(side, 1 / side, device=device).round_().square_()
    near = torch.nonzero(square <= shell**2)[:, 0]
    x = near[near <= side // 2]
    stays = (square[near][:, None, None] + square[near][:, None] + square[x]).sqrt_() <= shell - 1e-3
    return ((near[:, None, None] * side + near[:, None]) * (side // 2 + 1) + x)[stays]


def _with_gaps(gaps: list[int], count: int, seed: int, number: int) -> torch.Tensor:
    """Return the random numbers of a volume's coefficients, and 0 for those that draw none."""
    wanted = count - len(gaps)
    drawn = c_rand(wanted, seed, skip=number * wanted)
    starts = [0, *(gap - before for before, gap in enumerate(gaps)), wanted]
    gap = drawn.new_zeros(1)
    pieces = torch.split(drawn, [stop - start for start, stop in itertools.pairwise(starts)])
    return torch.cat([pieces[0], *(part for piece in pieces[1:] for part in (gap, piece))])


def _absolute(values: torch.Tensor) -> torch.Tensor:
    # numpy takes a ninth of torch's time.
    return torch.from_numpy(np.abs(values.numpy())) if values.device.type == "cpu" else values.abs()
