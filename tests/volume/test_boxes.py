"""Boxes that cover a mask: complete, disjoint, aligned, within memory, and cheap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emres.errors import UsageError
from emres.volume.blocks import Box
from emres.volume.boxes import BOX_OVERHEAD, cover_mask, total_voxels

blobs = st.lists(st.tuples(*[st.integers(0, 59)] * 3, *[st.integers(1, 30)] * 3), min_size=1, max_size=4)


def painted(shape: tuple[int, int, int], parts: list[tuple[int, ...]]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for z, y, x, depth, height, width in parts:
        mask[z : z + depth, y : y + height, x : x + width] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(parts=blobs, multiple=st.sampled_from([1, 4, 8]), halo=st.sampled_from([0, 8, 24]))
def test_boxes_cover_the_mask_once_on_multiples(parts: list[tuple[int, ...]], multiple: int, halo: int) -> None:
    mask = painted((70, 65, 61), parts)
    boxes = cover_mask(mask, multiple=multiple, halo=halo)
    count = np.zeros(tuple(n + 8 for n in mask.shape), dtype=int)
    for box in boxes:
        count[box.slices] += 1
        assert box == box.aligned(multiple)
    inside = Box((0, 0, 0), mask.shape).slices
    assert (count[inside][mask] == 1).all()
    assert count.max(initial=0) <= 1


@settings(max_examples=40, deadline=None)
@given(parts=blobs)
def test_never_dearer_than_one_box(parts: list[tuple[int, ...]]) -> None:
    mask = painted((70, 65, 61), parts)
    inside = np.argwhere(mask)
    if not len(inside):
        return
    one = Box(tuple(inside.min(0)), tuple(inside.max(0) + 1)).aligned(4)
    boxes = cover_mask(mask, multiple=4, halo=8)
    price = total_voxels(boxes, 8, (72, 68, 64)) + BOX_OVERHEAD * len(boxes)
    assert price <= total_voxels([one], 8, (72, 68, 64)) + BOX_OVERHEAD


def test_two_far_apart_molecules_get_a_box_each() -> None:
    mask = painted((200, 80, 80), [(0, 0, 0, 20, 20, 20), (180, 60, 60, 20, 20, 20)])
    boxes = cover_mask(mask, multiple=4, halo=24)
    assert len(boxes) == 2
    assert total_voxels(boxes, 24, mask.shape) < 0.2 * mask.size


def test_memory_bounds_every_box_with_its_halo() -> None:
    mask = np.ones((120, 120, 120), dtype=bool)
    boxes = cover_mask(mask, multiple=4, halo=8, largest=60_000)
    assert all(box.grown(8).clipped(mask.shape).voxels <= 60_000 for box in boxes)
    assert sum(box.voxels for box in boxes) == mask.size


def test_memory_that_holds_no_box_is_refused() -> None:
    with pytest.raises(UsageError, match="smallest box"):
        cover_mask(np.ones((100, 100, 100), dtype=bool), multiple=4, halo=24, largest=1000)


@given(arrays(bool, (5, 6, 7), elements=st.just(False)))
@settings(max_examples=1)
def test_an_empty_mask_needs_no_box(mask: np.ndarray) -> None:
    assert cover_mask(mask, multiple=4, halo=8) == []
