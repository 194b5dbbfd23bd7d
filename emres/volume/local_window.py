"""The window of a local FSC, as the dense definition has it: of two half maps, and of what one map shows of theirs."""

from __future__ import annotations

import math

# Standard deviation of a Hann window, in units of its full width.
HANN_SIGMA = math.sqrt(1 / 12 - 1 / (2 * math.pi**2))
# The skirt of the window: times as broad as its core, share of its weight. Both, and the width of the last average
# in units of the core's sigma, are where agreement with RELION and with cctbx is best on simulated half maps
# (tests/estimators/test_agreement.py); a breadth of 3-4 is within 0.01 in Spearman of it. The broader the skirt, the
# farther strong signal tells on voxels that have none.
SKIRT_BREADTH = 3.5
SKIRT_SHARE = 0.3
AVERAGE_BREADTH = 1.6


def default_window(voxel_size: float, resolution: float | None = None) -> float:
    """Return a window in Å: 30 Å, at least 17 voxels, at least 7 times the global resolution.

    Examples
    --------
    >>> default_window(1.0), default_window(3.0), default_window(1.0, resolution=8.0)
    (30.0, 51.0, 56.0)
    """
    return max(30.0, 17 * voxel_size, 7 * (resolution or 0.0))
