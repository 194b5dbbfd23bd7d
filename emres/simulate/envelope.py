"""How an experiment weakens the signal with frequency: B factor, contrast transfer, detector."""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.simulate.recipe import Envelope

Array = np.ndarray[Any, Any]

# A 300 kV microscope: wavelength, spherical aberration (Å), and the share of contrast that is amplitude's.
WAVELENGTH, SPHERICAL_ABERRATION, AMPLITUDE_CONTRAST = 0.0197, 2.7e7, 0.1
# Noise over signal that the Wiener filter assumes.
_WIENER = 0.1
_DEFOCI, _FREQUENCIES = 512, 512


def envelope_gain(square: Array, envelope: Envelope, nyquist: float) -> Array:
    """Return what remains of the signal at every frequency.

    Parameters
    ----------
    square : float32
        Squared frequency, 1/Å^2.
    envelope : Envelope
    nyquist : float
        1/Å.

    Returns
    -------
    float32, of the same shape
        exp(-B s^2 / 4), times the contrast that averaging over defoci leaves, times a detector's transfer that falls
        from 1 in a straight line.
    """
    frequency = np.linspace(0, nyquist, _FREQUENCIES)
    transfer = averaged_contrast(frequency, envelope) * (1 - (1 - envelope.detector) * frequency / nyquist)
    gain = np.interp(np.sqrt(square), frequency, transfer).astype(np.float32)
    gain *= np.exp(square * np.float32(-envelope.b_factor / 4))
    return np.asarray(gain)


def averaged_contrast(frequency: Array, envelope: Envelope) -> Array:
    """Return the signal left after correction for contrast transfer, averaged evenly over the defoci.

    Parameters
    ----------
    frequency : (n,) 1/Å
    envelope : Envelope

    Returns
    -------
    (n,)
        1 for ``none``; mean |CTF| for ``flipped``; <CTF^2> / (<CTF^2> + 0.1), over its value where contrast is whole,
        for ``wiener``. CTF = sin(pi lambda D s^2 - pi/2 Cs lambda^3 s^4 + asin(A)) at 300 kV, Cs = 2.7 mm, A = 0.1.
    """
    if envelope.ctf == "none":
        return np.ones_like(frequency)
    defocus = np.linspace(*envelope.defocus, _DEFOCI)[:, None]
    phase = np.pi * WAVELENGTH * defocus * frequency**2
    phase -= np.pi / 2 * SPHERICAL_ABERRATION * WAVELENGTH**3 * frequency**4
    contrast = np.sin(phase + np.arcsin(AMPLITUDE_CONTRAST))
    if envelope.ctf == "flipped":
        return np.asarray(np.abs(contrast).mean(axis=0))
    power = (contrast**2).mean(axis=0)
    return np.asarray(power / (power + _WIENER) * (1 + _WIENER))
