from __future__ import annotations

import torch

from emres.estimators.chosen import how_many, put_at, values_at


def test_what_is_taken_out_and_put_back_is_what_was_there() -> None:
    volume = torch.randn((5, 6, 7), generator=torch.Generator().manual_seed(0))
    chosen = volume > 0
    values = values_at(chosen, volume)
    assert values.equal(volume.masked_select(chosen))
    assert put_at(chosen, torch.zeros_like(volume), values).equal(volume.clamp_min(0))


def test_only_the_chosen_voxels_are_written() -> None:
    chosen = torch.zeros((2, 2, 2), dtype=torch.bool)
    chosen[1, 0, 1] = True
    written = put_at(chosen, torch.ones((2, 2, 2)), torch.tensor([5.0]))
    assert written[1, 0, 1] == 5
    assert how_many(written == 1) == 7


def test_a_mask_can_be_thinned_by_what_holds_at_its_voxels() -> None:
    inside = torch.tensor([[[True, True, False, True]]])
    thinned = put_at(inside.clone(), inside, torch.tensor([True, False, True]))
    assert thinned.tolist() == [[[True, False, False, True]]]
