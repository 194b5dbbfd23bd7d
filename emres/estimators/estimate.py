"""What every estimator returns: the map, and what one must know to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Estimate:
    """A local-resolution map and how it was made.

    Parameters
    ----------
    resolution : (z, y, x) float32, Å
        0 where the method gives no value.
    method : str
        ``fsc``, ``monores`` or ``resmap``.
    definition : str
        Whose definition of the method: ``dense``, ``blocres``, ``relion``, ``monores``, ``resmap``.
    threshold : float
        FSC value, confidence or p-value, as the method has it.
    window : float
        Å: extent of the region one value speaks of; 0 where it changes with the resolution.
    parameters : mapping of str to JSON values
        Everything else that decides the numbers.
    capped_share : float
        Share of voxels with a value that sit at the finest or coarsest value the method can give.
    unresolved_share : float
        Share of voxels asked for that got no resolution of their own.
    """

    resolution: Array
    method: str
    definition: str
    threshold: float
    window: float
    parameters: Mapping[str, Any] = field(default_factory=dict)
    capped_share: float = 0.0
    unresolved_share: float = 0.0

    def label(self) -> str:
        """Return one line of at most 80 characters for a header.

        Examples
        --------
        >>> empty = np.zeros((1, 1, 1), np.float32)
        >>> Estimate(empty, "fsc", "relion", 0.143, 25.0).label()
        'emres fsc definition relion threshold 0.143 window 25.0 A'
        """
        text = f"emres {self.method} definition {self.definition} threshold {self.threshold:g}"
        return f"{text} window {self.window:.1f} A"[:80]
