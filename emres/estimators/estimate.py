"""What every estimator returns: the map, and what one must know to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    limits : (finest, coarsest), optional
        Å, the ends of what the method can answer; voxels at them are capped, those at the coarsest unresolved. Without
        them the two shares already speak of the mask that the method was given.
    """

    resolution: Array
    method: str
    definition: str
    threshold: float
    window: float
    parameters: Mapping[str, Any] = field(default_factory=dict)
    capped_share: float = 0.0
    unresolved_share: float = 0.0
    limits: tuple[float, float] | None = None

    def within(self, mask: Any) -> Estimate:
        """Return the estimate with 0 outside a mask, and its shares counted inside.

        Parameters
        ----------
        mask : (z, y, x) bool

        Examples
        --------
        >>> values = np.array([[[3.0, 8.0, 50.0, 50.0]]], np.float32)
        >>> whole = Estimate(values, "fsc", "relion", 0.143, 25.0, unresolved_share=0.5, limits=(2.0, 50.0))
        >>> inside = whole.within(np.array([[[True, True, True, False]]]))
        >>> inside.resolution.tolist(), round(inside.unresolved_share, 3)
        ([[[3.0, 8.0, 50.0, 0.0]]], 0.333)
        """
        resolution = np.where(mask, self.resolution, np.float32(0))
        if self.limits is None:
            return replace(self, resolution=resolution)
        values = resolution[mask]
        finest, coarsest = self.limits
        without = (values == 0) | (values >= 0.9999 * coarsest)
        capped = without | (values <= 1.0001 * finest)
        return replace(
            self,
            resolution=resolution,
            capped_share=float(capped[values > 0].mean()) if values.any() else 0.0,
            unresolved_share=float(without.mean()) if values.size else 0.0,
        )

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
