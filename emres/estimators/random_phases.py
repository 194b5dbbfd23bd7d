"""Volumes with random phases, drawn as RELION draws them: with C's ``rand()``, in the order of memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from emres.estimators.c_random import RAND_MAX, c_rand

# Coefficients whose phases are drawn at a time: more do not stay in a processor's cache.
_AT_A_TIME = 100_000
Ufunc = Callable[[Any], Any]
Function = Callable[[torch.Tensor], torch.Tensor]


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
        drawn = _drawn(kept.tolist(), len(coefficients), seed, number).to(spectrum.device)
        for part, phase in zip(torch.split(coefficients, _AT_A_TIME), torch.split(drawn, _AT_A_TIME), strict=True):
            angle, amplitude = phase.float().mul_(2 * math.pi / RAND_MAX), _by_numpy(np.abs, torch.abs, part)
            # Not polar(), which takes three times as long.
            cosine, sine = _by_numpy(np.cos, torch.cos, angle), _by_numpy(np.sin, torch.sin, angle)
            torch.complex(cosine.mul_(amplitude), sine.mul_(amplitude), out=part)
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


def _drawn(kept: list[int], count: int, seed: int, number: int) -> torch.Tensor:
    """Return the random numbers of a volume's coefficients, and 0 for those that draw none."""
    wanted = count - len(kept)
    drawn, spread = c_rand(wanted, seed, skip=number * wanted).numpy(), np.zeros(count, dtype=np.int32)
    for before, (start, stop) in enumerate(itertools.pairwise([-1, *kept, count])):
        spread[start + 1 : stop] = drawn[start + 1 - before : stop - before]
    return torch.from_numpy(spread)


def _by_numpy(function: Ufunc, otherwise: Function, values: torch.Tensor) -> torch.Tensor:
    # numpy takes a ninth of torch's time for the absolute of complex numbers, half of it for sine and cosine.
    return torch.from_numpy(function(values.numpy())) if values.device.type == "cpu" else otherwise(values)
