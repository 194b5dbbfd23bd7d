"""A molecule that goes on beyond its box is told from one that lies free, however mask and padding come."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume.blocks import Box
from emres.volume.faces import Faces

SIDE = 24
WHOLE = Box((0, 0, 0), (SIDE,) * 3)


def ball(middle: float = 11.5) -> np.ndarray:
    """Return a ball of radius 9, its middle so far along z."""
    z, y, x = np.mgrid[:SIDE, :SIDE, :SIDE]
    return np.asarray((z - middle) ** 2 + (y - 11.5) ** 2 + (x - 11.5) ** 2 <= 81)


def cut(mask: np.ndarray, held: Box = WHOLE, thick: int = SIDE) -> float:
    faces = Faces(held)
    for first in range(0, SIDE, thick):
        box = Box((first, 0, 0), (first + thick, SIDE, SIDE))
        faces.add(box, mask[box.slices])
    return faces.cut()


def test_a_ball_that_lies_free_is_not_cut_and_one_that_touches_hardly() -> None:
    assert cut(ball()) == 0
    assert 0 < cut(ball(8.5)) < 0.2


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [1, -1])
def test_half_a_ball_is_cut_by_whichever_face_goes_through_it(axis: int, side: int) -> None:
    turned = np.moveaxis(ball(-0.5)[::side], 0, axis)
    assert cut(turned) == pytest.approx(1.9, abs=0.1)


def test_the_parts_in_which_a_mask_comes_change_nothing() -> None:
    assert cut(ball(2), thick=SIDE) == cut(ball(2), thick=6) == cut(ball(2), thick=1) > 0.5


def test_what_a_box_was_padded_with_does_not_free_a_molecule() -> None:
    half = Box((12, 0, 0), WHOLE.stop)
    inside = ball() & (np.arange(SIDE)[:, None, None] >= 12)
    assert cut(inside) == 0
    assert cut(inside, half, thick=6) == cut(inside, half) == pytest.approx(1.9, abs=0.1)


def test_without_a_molecule_nothing_is_cut() -> None:
    assert cut(np.zeros((SIDE,) * 3, dtype=bool)) == 0
