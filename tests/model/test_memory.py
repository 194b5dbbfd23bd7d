from __future__ import annotations

from itertools import pairwise

import pytest

from emres.model.memory import Room, box_on_gpu, room_in

GIB = 2**30


@pytest.mark.parametrize("gib", [1, 1.5, 2, 3, 4, 8, 16])
def test_a_process_its_arrays_and_its_box_stay_within_what_it_may_take(gib: float) -> None:
    room = room_in(gib * GIB)
    assert 0.5 * GIB + room.arrays + room.box <= 0.8 * gib * GIB


def test_more_memory_never_means_less_room_and_plenty_is_as_good_as_no_limit() -> None:
    rooms = [room_in(gib * GIB / 4) for gib in range(1, 40)]
    assert all(a.arrays <= b.arrays and a.box <= b.box for a, b in pairwise(rooms))
    assert rooms[0].box > 0
    assert rooms[-1] == room_in(None) == room_in(0) == Room()


def test_a_larger_gpu_takes_larger_boxes_of_which_none_has_more_values_than_kernels_count() -> None:
    boxes = [box_on_gpu(gib * GIB) for gib in (1, 2, 4, 8, 16, 40, 140)]
    assert boxes == sorted(boxes)
    assert all(box <= gib * GIB for box, gib in zip(boxes, (1, 2, 4, 8, 16, 40, 140), strict=True))
    assert boxes[-1] // 4 < 2**31 + 1
