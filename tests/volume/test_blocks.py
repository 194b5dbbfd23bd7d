"""Blocks: cores that cover a volume once, reads that give every core its context."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emres.errors import UsageError
from emres.volume.blocks import BlockPlan, Box, plan_blocks

Shape = tuple[int, int, int]

shapes = st.tuples(*[st.integers(1, 45)] * 3)


@st.composite
def plans(draw: st.DrawFn) -> BlockPlan:
    multiple = draw(st.sampled_from([1, 2, 4, 8]))
    cores = draw(st.tuples(*[st.integers(1, 6)] * 3))
    core = (cores[0] * multiple, cores[1] * multiple, cores[2] * multiple)
    shape = draw(st.tuples(*[st.integers(1, 5 * side) for side in core]))
    return plan_blocks(shape, core, draw(st.integers(0, 4)) * multiple, multiple)


@given(plans())
def test_cores_cover_the_volume_exactly_once(plan: BlockPlan) -> None:
    count = np.zeros(plan.shape, dtype=int)
    for block in plan:
        count[block.write.slices] += 1
    assert (count == 1).all()


@given(plans())
def test_every_read_starts_on_a_multiple(plan: BlockPlan) -> None:
    assert all(start % plan.multiple == 0 for block in plan for start in block.read.start)


@given(plans())
def test_a_read_is_its_write_with_the_halo_clipped_at_the_faces(plan: BlockPlan) -> None:
    for block in plan:
        for axis in range(3):
            assert block.read.start[axis] == max(0, block.write.start[axis] - plan.halo)
            assert block.read.stop[axis] == min(plan.shape[axis], block.write.stop[axis] + plan.halo)


@given(plans())
def test_the_core_is_where_the_write_lies_in_the_read(plan: BlockPlan) -> None:
    values = np.arange(np.prod(plan.shape)).reshape(plan.shape)
    for block in plan:
        np.testing.assert_array_equal(values[block.read.slices][block.core.slices], values[block.write.slices])


@given(plans())
def test_chunks_are_the_sides_of_the_cores(plan: BlockPlan) -> None:
    assert tuple(sum(sides) for sides in plan.chunks) == plan.shape
    assert tuple(len(sides) for sides in plan.chunks) == plan.counts
    for block in plan:
        assert block.write.shape == tuple(plan.chunks[axis][block.index[axis]] for axis in range(3))


@given(plans())
def test_every_block_is_planned_once_and_found_by_its_index(plan: BlockPlan) -> None:
    blocks = list(plan)
    assert len(blocks) == len(plan)
    assert len({block.index for block in blocks}) == len(plan)
    assert all(plan.block(block.index) == block for block in blocks)


@given(plans())
def test_a_rest_thinner_than_the_halo_joins_its_neighbour(plan: BlockPlan) -> None:
    for sides, core in zip(plan.chunks, plan.core, strict=True):
        assert all(side == core for side in sides[:-1])
        if len(sides) > 1:
            assert min(core, plan.halo) <= sides[-1] < core + max(plan.halo, 1)


def test_a_rest_as_thick_as_the_halo_is_a_block_of_its_own() -> None:
    assert plan_blocks((71, 72, 64), core=64, halo=8, multiple=4).chunks == ((71,), (64, 8), (64,))


@given(shapes, st.sampled_from([1, 2, 4, 8]))
def test_a_core_longer_than_the_volume_gives_one_block_that_is_all_of_it(shape: Shape, multiple: int) -> None:
    (block,) = plan_blocks(shape, core=48, halo=8, multiple=multiple)
    assert block.read == block.write == Box((0, 0, 0), shape)


@pytest.mark.parametrize(
    ("core", "halo", "cure"),
    [(64, 18, "use 20"), (66, 16, "use 68"), ((64, 64, 30), 16, "use 32")],
)
def test_what_is_no_multiple_is_refused_with_the_next_that_is(core: int | Shape, halo: int, cure: str) -> None:
    with pytest.raises(UsageError, match=cure):
        plan_blocks((100, 100, 100), core, halo, multiple=4)


@pytest.mark.parametrize(
    "arguments",
    [{"shape": (0, 5, 5)}, {"core": 0}, {"core": (4, 4, -4)}, {"halo": -4}, {"multiple": 0}],
)
def test_plans_without_voxels_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="no voxels"):
        plan_blocks(**{"shape": (9, 9, 9), "core": 4, "halo": 4, "multiple": 4, **arguments})


corners = st.tuples(*[st.integers(-20, 20)] * 3)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    start, sides = draw(corners), draw(st.tuples(*[st.integers(1, 20)] * 3))
    return Box(start, (start[0] + sides[0], start[1] + sides[1], start[2] + sides[2]))


@given(boxes(), st.integers(1, 8))
def test_an_aligned_box_is_the_smallest_on_multiples_that_contains_it(box: Box, multiple: int) -> None:
    aligned = box.aligned(multiple)
    for axis in range(3):
        assert aligned.start[axis] % multiple == aligned.stop[axis] % multiple == 0
        assert box.start[axis] - multiple < aligned.start[axis] <= box.start[axis]
        assert box.stop[axis] <= aligned.stop[axis] < box.stop[axis] + multiple


@given(boxes(), corners)
def test_moving_there_and_looking_back_changes_nothing(box: Box, by: Shape) -> None:
    frame = Box(by, by)
    assert box.within(frame).moved(by) == box
    assert box.moved(by).shape == box.shape
    assert box.moved(by).voxels == box.voxels == np.prod(box.shape)


@given(boxes(), st.integers(0, 9))
def test_growing_adds_the_halo_on_both_sides(box: Box, halo: int) -> None:
    assert box.grown(halo).shape == tuple(side + 2 * halo for side in box.shape)
    assert box.within(box.grown(halo)).start == (halo, halo, halo)
