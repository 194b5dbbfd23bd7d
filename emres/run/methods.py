"""Which estimators there are, by the names a user gives them, and how each is called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.attributes import LOCAL_RESOLUTION
from emres.errors import UsageError
from emres.volume.grid import Grid

if TYPE_CHECKING:
    from emres.estimators.estimate import Estimate

Array = np.ndarray[Any, Any]

METHODS = ("fsc", "monores", "monores-half", "resmap")
DEFINITIONS = ("dense", "relion", "blocres")
FSC_THRESHOLD = 0.143
VOLUMES = 12  # float32, at the peak of the estimators of two half maps

_SOFTNESS, _SOFTNESS_VOXELS = 3.0, 2.0  # sigma of a mask's edge, Å, and at least
_WINDOWS = 7.0  # resolutions that a window of a local FSC holds
_MOST_OF_BOX = 0.5  # that a window may take


@dataclass(frozen=True)
class Estimator:
    """One estimator: where its function is, what it reads, and its settings by the names users know.

    Parameters
    ----------
    module, function : str
    halves : bool
        Whether it reads two half maps, or the one map.
    masked : bool
        Whether its function takes a mask.
    settings : mapping
        Name for users -> name of the function's argument.
    whole : sequence of str
        Settings that are whole numbers.
    unresolved : float, optional
        The value that stands for "no resolution found" inside the mask.
    volumes : int
        Float32 volumes in memory at its peak, measured at 160^3 and 192^3.
    """

    module: str
    function: str
    halves: bool
    masked: bool
    settings: Mapping[str, str]
    whole: Sequence[str] = ()
    unresolved: float | None = None
    volumes: int = VOLUMES

    def __call__(self, *arguments: Any, **settings: Any) -> Estimate:
        """Run it; its module, and torch with it, is loaded here."""
        estimate: Estimate = getattr(import_module(self.module), self.function)(*arguments, **settings)
        return estimate


_SWEEP = {"step": "step", "min_resolution": "finest", "max_resolution": "coarsest"}

ESTIMATORS: Mapping[str, Estimator] = {
    "fsc-dense": Estimator("emres.estimators.fsc", "dense_fsc", True, False, {"window": "window"}),
    "fsc-relion": Estimator(
        "emres.estimators.fsc_relion",
        "relion_fsc",
        True,
        False,
        {"sampling": "sampling", "max_resolution": "coarsest"},
        volumes=10,
    ),
    "fsc-blocres": Estimator(
        "emres.estimators.fsc_blocres",
        "blocres_fsc",
        True,
        True,
        {"box": "box_size", "step": "step", "min_resolution": "finest"},
        whole=("box", "step"),
    ),
    "monores": Estimator("emres.estimators.monores", "monores", False, True, _SWEEP, volumes=12),
    "monores-half": Estimator("emres.estimators.monores", "monores_halves", True, True, _SWEEP, volumes=12),
    "resmap": Estimator("emres.estimators.resmap", "resmap", False, True, _SWEEP, unresolved=100.0, volumes=12),
}


@dataclass(frozen=True)
class Recipe:
    """An estimator with its settings: all that decides the numbers beside the maps and the mask.

    Parameters
    ----------
    estimator : str
        ``fsc-dense``, ``fsc-relion``, ``fsc-blocres``, ``monores``, ``monores-half`` or ``resmap``.
    threshold : float, optional
        FSC value; none for estimators that have no FSC.
    settings : mapping
        ``window``, ``sampling``, ``min_resolution``, ``max_resolution`` (Å), ``box`` (voxels), ``step`` (voxels for
        blocres, Å for the others).

    Examples
    --------
    >>> Recipe("fsc-dense", 0.5).name, Recipe("monores").name
    ('fsc-dense@0.5', 'monores')
    """

    estimator: str
    threshold: float | None = None
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the result: the estimator, and the threshold where it is not the usual one."""
        usual = self.threshold in (None, FSC_THRESHOLD)
        return self.estimator if usual else f"{self.estimator}@{self.threshold:g}"

    @property
    def result(self) -> str:
        """Where the store keeps it."""
        return f"{LOCAL_RESOLUTION}/{self.name}"

    @property
    def halves(self) -> bool:
        """Whether two half maps are read, or the one map."""
        return ESTIMATORS[self.estimator].halves

    @property
    def volumes(self) -> int:
        """Float32 volumes that it holds in memory at its peak."""
        return ESTIMATORS[self.estimator].volumes

    def resolved(self, resolution: Array) -> Array:
        """Return a resolution map (Å) with 0 where none was found, too."""
        mark = ESTIMATORS[self.estimator].unresolved
        return resolution if mark is None else np.where(resolution == np.float32(mark), np.float32(0), resolution)

    def run(self, maps: Sequence[Array], grid: Grid, mask: Array, device: str = "cpu") -> Estimate:
        """Estimate the local resolution of one map or of two half maps.

        Parameters
        ----------
        maps : one or two (z, y, x) float32
        grid : Grid
        mask : (z, y, x) bool
        device : str

        Returns
        -------
        Estimate
            0 outside the mask.
        """
        estimator = ESTIMATORS[self.estimator]
        settings: dict[str, Any] = {
            estimator.settings[key]: int(value) if key in estimator.whole else float(value)
            for key, value in self.settings.items()
        }
        if self.threshold is not None:
            settings["threshold"] = self.threshold
        if estimator.masked:
            settings["mask"] = mask
        if self.estimator == "fsc-dense" and "window" not in settings:
            settings["resolution"] = _resolution_for_window(maps, grid, mask, device)
        return estimator(*maps, grid.voxel_size, device=device, **settings).within(mask)


def warnings_of(recipe: Recipe, maps: Sequence[Array], grid: Grid) -> list[str]:
    """Return what makes an answer doubtful: one map given twice, or one that was treated before a one-map method."""
    if recipe.halves:
        same = "the two half maps are the same map: nothing can be said of its resolution; pass the other half, too"
        return [same] if np.array_equal(maps[0], maps[1]) else []
    from emres.estimators.suspicion import suspect

    return list(suspect(maps[0], grid.voxel_size).sentences)


def make_recipe(
    method: str, definition: str | None = None, threshold: float | None = None, **settings: float | None
) -> Recipe:
    """Check a user's words and return them as a recipe.

    Parameters
    ----------
    method : str
        One of ``METHODS``, or the name of a result: ``fsc-relion``, ``fsc-dense@0.5``.
    definition : str, optional
        Of ``fsc``: ``dense`` (the default), ``relion`` or ``blocres``.
    threshold : float, optional
        Of ``fsc``: 0.143 by default.
    **settings
        See :class:`Recipe`; those that are None are left to the estimator.

    Raises
    ------
    UsageError
        If a word is unknown, or the method has no such setting.

    Examples
    --------
    >>> make_recipe("fsc").name, make_recipe("fsc", "relion", 0.5).name, make_recipe("fsc-relion@0.5").name
    ('fsc-dense', 'fsc-relion@0.5', 'fsc-relion@0.5')
    """
    name, _, told = method.partition("@")
    if told:
        threshold = _number(told, method)
    if name == "fsc":
        name = f"fsc-{definition or DEFINITIONS[0]}"
    elif definition is not None:
        raise UsageError(f"{method} has one definition", got=definition, cure="leave the definition out, or use fsc")
    if name not in ESTIMATORS:
        raise UsageError("unknown method", got=definition or method, expected=", ".join(ESTIMATORS))
    if name.startswith("fsc"):
        threshold = FSC_THRESHOLD if threshold is None else threshold
        if not 0 < threshold < 1:
            raise UsageError("an FSC threshold is out of range", got=f"{threshold:g}", expected="between 0 and 1")
    elif threshold is not None:
        raise UsageError(f"{name} has no FSC threshold", got=f"{threshold:g}", cure="leave the threshold out")
    given = {key: value for key, value in settings.items() if value is not None}
    _check_settings(name, given)
    return Recipe(name, threshold, given)


def is_method(word: str) -> bool:
    """Tell whether a word names an estimator (``fsc``, ``fsc-relion@0.5``, ``monores``, …), not a net."""
    return word.partition("@")[0] in (*METHODS, *ESTIMATORS)


def _number(word: str, method: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise UsageError("unknown method", got=method, expected="a threshold behind @, as in fsc-relion@0.5") from error


def _check_settings(name: str, settings: Mapping[str, float]) -> None:
    estimator = ESTIMATORS[name]
    for key, value in settings.items():
        words, whole = key.replace("_", " "), key in estimator.whole
        if key not in estimator.settings:
            raise UsageError(f"{name} has no {words}", expected=f"one of its settings: {', '.join(estimator.settings)}")
        if not (math.isfinite(value) and value > 0) or (whole and value != int(value)):
            kind = "a positive whole number" if whole else "a positive number"
            raise UsageError(f"the {words} is not usable", got=f"{value:g}", expected=kind)
    finest, coarsest = (settings.get(f"{end}_resolution") for end in ("min", "max"))
    if finest and coarsest and finest >= coarsest:
        raise UsageError(
            "the sweep has no resolutions",
            got=f"{finest:g} to {coarsest:g} Å",
            cure="the min resolution is the finest one, the smaller number",
        )


def _resolution_for_window(maps: Sequence[Array], grid: Grid, mask: Array, device: str) -> float:
    """Return the resolution of the whole molecule, which decides how wide a window must be; Å."""
    from emres.estimators.global_fsc import resolution_at, shell_correlation
    from emres.volume.fourier import as_tensor, gaussian_filter

    weight = gaussian_filter(as_tensor(mask, "mask", device), max(_SOFTNESS / grid.mean_voxel_size, _SOFTNESS_VOXELS))
    first, second = (as_tensor(half, f"half map {k}", device) * weight for k, half in enumerate(maps, start=1))
    found = resolution_at(*shell_correlation(first, second, grid.voxel_size), FSC_THRESHOLD)
    # To a tenth of an Å, so that the last digit of a transform cannot move the window.
    return round(min(found, _MOST_OF_BOX * min(grid.extent) / _WINDOWS), 1)
